"""BERT written out in float64, token by token, for one text: what methods that look inside are compared with."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from expnet.model.classifier import Classifier
from tests.classifiers import tiny_classifier


@dataclass
class Step:
    """What one layer computed; lists run over tokens."""

    hidden: list[np.ndarray]
    attention: list[list[list[float]]]  # heads, from, to
    values: list[list[np.ndarray]]  # heads, tokens
    totals: list[np.ndarray]
    attended: list[np.ndarray]
    before: list[np.ndarray]  # the activation
    ends: list[np.ndarray]
    output: list[np.ndarray]


@dataclass
class Record:
    words: list[np.ndarray]
    summed: list[np.ndarray]  # embeddings before their norm
    steps: list[Step]
    before_tanh: np.ndarray
    logits: np.ndarray


class NaiveBert:
    def __init__(self, classifier: Classifier) -> None:
        self.weights = {name: tensor.double().numpy() for name, tensor in classifier.model.state_dict().items()}
        self.layers = classifier.model.config.num_hidden_layers
        self.heads = classifier.model.config.num_attention_heads
        self.eps = classifier.model.config.layer_norm_eps

    def matrix(self, name: str) -> np.ndarray:
        return self.weights[f"{name}.weight"]

    def bias(self, name: str) -> np.ndarray:
        return self.weights[f"{name}.bias"]

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return self.matrix(name) @ x + self.bias(name)

    def deviation(self, x: np.ndarray) -> float:
        return math.sqrt(((x - x.mean()) ** 2).mean() + self.eps)

    def norm(self, name: str, x: np.ndarray, held: np.ndarray | None = None) -> np.ndarray:
        """`held`: the vector whose deviation is used instead."""
        deviation = self.deviation(x if held is None else held)
        return (x - x.mean()) / deviation * self.matrix(name) + self.bias(name)

    def head(self, layer: int, head: int) -> np.ndarray:
        """The columns of the output projection that belong to a head."""
        matrix = self.matrix(f"bert.encoder.layer.{layer}.attention.output.dense")
        size = matrix.shape[1] // self.heads
        return matrix[:, head * size : (head + 1) * size]

    def words(self, ids: list[int]) -> list[np.ndarray]:
        return [self.matrix("bert.embeddings.word_embeddings")[token] for token in ids]

    def __call__(self, words: list[np.ndarray], held: Record | None = None) -> Record:
        """Run on word embeddings; with `held`, under the attention and the deviations of another run."""
        name = "bert.embeddings"
        rest = self.matrix(f"{name}.token_type_embeddings")[0]
        summed = [w + rest + self.matrix(f"{name}.position_embeddings")[i] for i, w in enumerate(words)]
        hidden = [self.norm(f"{name}.LayerNorm", x, held and held.summed[i]) for i, x in enumerate(summed)]
        steps = []
        for layer in range(self.layers):
            steps.append(self.layer(layer, hidden, held and held.steps[layer]))
            hidden = steps[-1].output
        before = self.linear("bert.pooler.dense", hidden[0])
        return Record(words, summed, steps, before, self.linear("classifier", np.tanh(before)))

    def layer(
        self, layer: int, hidden: list[np.ndarray], held: Step | None = None, *, without: int | None = None
    ) -> Step:
        """`without`: a token whose values are zero."""
        name = f"bert.encoder.layer.{layer}"
        tokens, size = range(len(hidden)), len(hidden[0]) // self.heads
        split = {
            part: [
                [self.linear(f"{name}.attention.self.{part}", x)[h * size : (h + 1) * size] for x in hidden]
                for h in range(self.heads)
            ]
            for part in ("query", "key", "value")
        }
        attention = held.attention if held else self._attention(split["query"], split["key"])
        for value in split["value"] if without is not None else ():
            value[without] = np.zeros(size)
        step = Step(hidden, attention, split["value"], [], [], [], [], [])
        for i in tokens:
            mixed = [sum(attention[h][i][j] * split["value"][h][j] for j in tokens) for h in range(self.heads)]
            total = self.linear(f"{name}.attention.output.dense", np.concatenate(mixed)) + hidden[i]
            step.totals.append(total)
            step.attended.append(self.norm(f"{name}.attention.output.LayerNorm", total, held and held.totals[i]))
            step.before.append(self.linear(f"{name}.intermediate.dense", step.attended[i]))
            step.ends.append(self.linear(f"{name}.output.dense", gelu(step.before[i])) + step.attended[i])
            step.output.append(self.norm(f"{name}.output.LayerNorm", step.ends[i], held and held.ends[i]))
        return step

    def _attention(self, query: list, key: list) -> list[list[list[float]]]:
        attentions = []
        for h in range(self.heads):
            rows = []
            for q in query[h]:
                powers = [math.exp(q @ k / math.sqrt(len(k))) for k in key[h]]
                rows.append([power / sum(powers) for power in powers])
            attentions.append(rows)
        return attentions


def gelu(x: np.ndarray) -> np.ndarray:
    return x * np.array([(1 + math.erf(value / math.sqrt(2))) / 2 for value in x])


def shaken_classifier(architecture: str = "bert", *, seed: int = 0, **changes) -> Classifier:
    """A tiny classifier whose biases are not zero, and whose norms do not weigh all alike."""
    classifier = tiny_classifier(architecture, seed=seed, **changes)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in classifier.model.parameters():
            if weight.ndim == 1:
                weight += 0.3 * torch.randn(weight.shape, generator=generator)
    return classifier
