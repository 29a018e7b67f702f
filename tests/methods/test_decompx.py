"""DecompX splits the logit: its shares add up on every architecture, and are those of the published algorithm."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from expnet.attention.intercept import Layer, run
from expnet.errors import UnsupportedModelError
from expnet.methods.families.decompx import decompx
from expnet.methods.layers import between_layers
from expnet.text.encoding import Encoding
from expnet.text.texts import Text
from tests.models import ARCHITECTURES
from tests.naive import NaiveBert, gelu, shaken_classifier

TEXTS = ("a good film", "bad", "the first one is long, but short")


def encode(classifier, *texts: str) -> Encoding:
    """Windows in which special tokens count as text, and so get scores."""
    encoding = classifier.encode([Text.of(text) for text in texts or TEXTS])
    return replace(encoding, special=torch.zeros_like(encoding.special))


def logits(classifier, encoding: Encoding) -> torch.Tensor:
    with torch.no_grad():
        return classifier.model(**encoding.inputs()).logits


def published(bert: NaiveBert, ids: list[int], bias: str) -> np.ndarray:
    """The shares of each token (row) in each logit, as the algorithm of the paper's repository finds them."""
    record = bert(bert.words(ids))
    tokens = range(len(ids))

    def spread(vectors: list[np.ndarray], b: np.ndarray) -> list[np.ndarray]:
        if bias == "none":
            return vectors
        sizes = [abs(v @ b) for v in vectors]
        return [v + size / (sum(sizes) + 1e-12) * b for v, size in zip(vectors, sizes, strict=True)]

    def norm(name: str, vectors: list[np.ndarray], total: np.ndarray) -> list[np.ndarray]:
        scaled = [(v - v.mean()) / bert.deviation(total) * bert.matrix(name) for v in vectors]
        return spread(scaled, bert.bias(name))

    def linear(name: str, vectors: list[np.ndarray]) -> list[np.ndarray]:
        return spread([bert.matrix(name) @ v for v in vectors], bert.bias(name))

    def attend(layer: int, step, parts: list[list[np.ndarray]], i: int) -> list[np.ndarray]:
        name, size = f"bert.encoder.layer.{layer}.attention", len(parts[0][0]) // bert.heads
        vectors = [v.copy() for v in parts[i]]
        for source in tokens:
            for h in range(bert.heads):
                rows = bert.matrix(f"{name}.self.value")[h * size : (h + 1) * size]
                for j in tokens:
                    vectors[source] += step.attention[h][i][j] * (bert.head(layer, h) @ (rows @ parts[j][source]))
        together = bert.linear(f"{name}.output.dense", bert.bias(f"{name}.self.value"))
        return spread(vectors, together)

    hidden = record.steps[0].hidden
    parts = [[hidden[i] if i == source else np.zeros_like(hidden[i]) for source in tokens] for i in tokens]
    for layer, step in enumerate(record.steps):
        name, following = f"bert.encoder.layer.{layer}", []
        for i in tokens:
            inner = norm(f"{name}.attention.output.LayerNorm", attend(layer, step, parts, i), step.totals[i])
            slope = gelu(step.before[i]) / step.before[i]
            ends = linear(f"{name}.output.dense", [v * slope for v in linear(f"{name}.intermediate.dense", inner)])
            ends = [end + v for end, v in zip(ends, inner, strict=True)]
            following.append(norm(f"{name}.output.LayerNorm", ends, step.ends[i]))
        parts = following
    slope = np.tanh(record.before_tanh) / record.before_tanh
    return np.array(linear("classifier", [v * slope for v in linear("bert.pooler.dense", parts[0])]))


@pytest.mark.parametrize("bias", ["absdot", "none"])
def test_it_is_the_published_algorithm_on_a_bert_written_out(bias):
    classifier = shaken_classifier("bert")
    encoding = encode(classifier, *TEXTS[:2])
    actual = torch.stack([decompx(classifier, encoding, torch.tensor([t, t]), bias=bias) for t in range(3)], dim=-1)
    for row, ids in enumerate(encoding.ids):
        length = int(encoding.mask[row].sum())
        expected = torch.from_numpy(published(NaiveBert(classifier), ids[:length].tolist(), bias))
        # Rounding of float32 through three layers.
        assert_close(actual[row, :length].double(), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "gemma2"])
def test_the_shares_of_all_tokens_sum_to_the_logit_and_a_text_scores_alike_alone(architecture):
    classifier = shaken_classifier(architecture)
    encoding, target = encode(classifier), torch.tensor([0, 1, 2])
    together = decompx(classifier, encoding, target)
    # Exact in real numbers; shares of a size of 1 to 10 are summed in float32.
    assert_close(together.sum(1), logits(classifier, encoding)[torch.arange(3), target], atol=1e-4, rtol=1e-4)
    for index, text in enumerate(TEXTS):
        alone = decompx(classifier, encode(classifier, text), target[index : index + 1])[0]
        assert_close(together[index, : len(alone)], alone, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    "activation", ["relu", "silu", "gelu", "gelu_new", "gelu_fast", "gelu_python", "gelu_pytorch_tanh", "quick_gelu"]
)
def test_activations_that_are_written_out_have_the_same_slope(activation):
    classifier = shaken_classifier("gpt2", activation_function=activation)
    encoding, target = encode(classifier), torch.tensor([0, 1, 2])
    actual = decompx(classifier, encoding, target)
    assert_close(actual.sum(1), logits(classifier, encoding)[torch.arange(3), target], atol=1e-4, rtol=1e-4)


SETTINGS = {
    "roberta": {"attn_implementation": "eager"},
    "gpt2": {"activation_function": "relu"},
    "modernbert-mean": {"classifier_activation": "relu"},
    "mpnet": {},
    "llama": {},
}


@pytest.mark.parametrize("architecture", SETTINGS)
def test_without_biases_it_is_input_times_gradient_where_the_layers_begin_in_a_model_that_is_held(architecture):
    classifier = shaken_classifier(architecture, **SETTINGS[architecture])
    encoding, target = encode(classifier), torch.tensor([0, 1, 2])
    actual = decompx(classifier, encoding, target, bias="none")
    assert_close(actual, held_gradient(classifier, encoding, target), atol=1e-4, rtol=1e-3)


def held_gradient(classifier, encoding: Encoding, target: torch.Tensor) -> torch.Tensor:
    gates = "llama" in classifier.architecture or "modernbert" in classifier.architecture
    leaves = []

    def activate(func, x, *args, **kwargs):
        y = func(x, *args, **kwargs).detach()
        gate = gates and x.shape[-1] > 32
        return y if gate else x * (y / x).detach().nan_to_num()

    def norm(_func, x, _shape, weight=None, bias=None, eps=1e-5):
        y = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + eps).sqrt().detach()
        return y * weight + (0 if bias is None else bias)

    def enter(index: int, hidden: torch.Tensor) -> torch.Tensor:
        leaves.append(hidden.detach().requires_grad_())
        return leaves[0] if index == 0 else hidden

    rules = {
        F.layer_norm: norm,
        torch.rsqrt: lambda func, x: func(x).detach(),
        **dict.fromkeys((F.gelu, F.silu, F.relu, torch.tanh), activate),
    }
    with between_layers(classifier.model, enter=enter):
        done = run(
            classifier.model,
            encoding.inputs(),
            attend=lambda _, layer: Layer(layer.probabilities.detach(), layer.value),
            rules=rules,
        )
    chosen = done.logits[torch.arange(len(target)), target].sum()
    return (torch.autograd.grad(chosen, leaves[0])[0] * leaves[0]).sum(-1).detach()


def test_with_one_class_a_bias_that_no_token_points_at_is_left_over():
    """Dot products that are all 0 say nothing of shares, and so the shares miss the logit by that bias."""
    classifier = shaken_classifier("bert", num_labels=1)
    with torch.no_grad():
        classifier.model.classifier.weight.zero_()
        classifier.model.classifier.bias.fill_(2.0)
    actual = decompx(classifier, encode(classifier), torch.tensor([0, 0, 0]))
    assert_close(actual, torch.zeros_like(actual))


def test_an_unknown_nonlinearity_is_refused_with_the_gap():
    classifier = shaken_classifier("bert", hidden_act="relu2")
    with pytest.raises(UnsupportedModelError, match=r"miss the model's logit by \d"):
        decompx(classifier, encode(classifier), torch.tensor([0, 1, 2]))
