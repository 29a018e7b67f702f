"""Mixings equal what loops over BERT written out give; elsewhere, what taking tokens out of attention gives."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers as tf
from torch.testing import assert_close

from expnet.attention.intercept import Layer, run
from expnet.errors import UnsupportedModelError
from expnet.methods.families import blocks, decomposition
from expnet.methods.families.attention import anchor_row
from expnet.methods.families.decomposition import alti, globenc, value_zeroing
from expnet.methods.layers import between_layers
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding
from expnet.text.texts import Text
from tests.models import ARCHITECTURES, VOCABULARY, tokenizer
from tests.naive import NaiveBert, shaken_classifier

TEXTS = ("a good film", "bad", "the first one is long, but short")
METHODS = (value_zeroing, alti, globenc)


def encode(classifier, *texts: str, special: bool = False) -> Encoding:
    """Windows; with `special`, special tokens count as text and so get scores."""
    encoding = classifier.encode([Text.of(text) for text in texts or TEXTS])
    return replace(encoding, special=torch.zeros_like(encoding.special)) if special else encoding


def scores(method, classifier, encoding) -> torch.Tensor:
    return method(classifier, encoding, torch.zeros(len(encoding), dtype=torch.long))


def rolled(row: np.ndarray, mixings: list[np.ndarray], *, shares: bool = True) -> torch.Tensor:
    for mixing in reversed(mixings):
        row = row @ (mixing / mixing.sum(1, keepdims=True) if shares else mixing)
    return torch.from_numpy(row / row.sum())


def cosine_distance(x: np.ndarray, y: np.ndarray) -> float:
    return 1 - x @ y / np.sqrt((x @ x) * (y @ y))


def turned(bert: NaiveBert, layer: int, step) -> np.ndarray:
    tokens = range(len(step.hidden))
    without = [bert.layer(layer, step.hidden, without=j).output for j in tokens]
    return np.array([[cosine_distance(step.output[i], without[j][i]) for j in tokens] for i in tokens])


def vector(bert: NaiveBert, layer: int, step, i: int, j: int) -> np.ndarray:
    """What token j contributes to the first norm's output for token i."""
    part = np.zeros_like(step.hidden[0])
    for h in range(bert.heads):
        part = part + step.attention[h][i][j] * (bert.head(layer, h) @ step.values[h][j])
    part = part + step.hidden[i] if i == j else part
    name = f"bert.encoder.layer.{layer}.attention.output.LayerNorm"
    return (part - part.mean()) / bert.deviation(step.totals[i]) * bert.matrix(name)


def near(bert: NaiveBert, layer: int, step) -> np.ndarray:
    def nearness(i: int, j: int) -> float:
        whole = step.attended[i]
        return max(0.0, abs(whole).sum() - abs(whole - vector(bert, layer, step, i, j)).sum())

    tokens = range(len(step.hidden))
    return np.array([[nearness(i, j) for j in tokens] for i in tokens])


def long(bert: NaiveBert, layer: int, step) -> np.ndarray:
    def length(i: int, j: int) -> float:
        part = vector(bert, layer, step, i, j)
        part = (part - part.mean()) / bert.deviation(step.ends[i])
        return float(np.sqrt(((part * bert.matrix(f"bert.encoder.layer.{layer}.output.LayerNorm")) ** 2).sum()))

    tokens = range(len(step.hidden))
    return np.array([[length(i, j) for j in tokens] for i in tokens])


@pytest.mark.parametrize(
    ("method", "mixing", "shares"), [(value_zeroing, turned, True), (alti, near, True), (globenc, long, False)]
)
def test_it_is_what_loops_over_a_bert_written_out_give(method, mixing, shares):
    classifier = shaken_classifier("bert")
    bert = NaiveBert(classifier)
    encoding = encode(classifier, special=True)
    actual = scores(method, classifier, encoding).double()
    for row, ids in enumerate(encoding.ids):
        words = bert.words(ids[encoding.mask[row]].tolist())
        mixings = [mixing(bert, layer, step) for layer, step in enumerate(bert(words).steps)]
        expected = rolled(np.eye(len(words))[0], mixings, shares=shares)
        # Rounding of float32 through three layers.
        assert_close(actual[row, : len(words)], expected, atol=1e-5, rtol=1e-3)


def attended(classifier, encoding, layer: int, without: int | None = None) -> torch.Tensor:
    """Attention's output in one layer, with the values of one token taken away there."""
    outputs = []
    (stack,) = [m for m in classifier.model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == 3]
    module = next(m for name, m in stack[layer].named_children() if name in ("attn", "self_attn"))

    def attend(index: int, state: Layer) -> Layer:
        value = state.value.clone()
        if index == layer and without is not None:
            value[:, :, without] = 0
        return Layer(state.probabilities, value)

    hook = module.register_forward_hook(lambda _module, _args, output: outputs.append(output[0]))
    with torch.no_grad():
        run(classifier.model, encoding.inputs(), attend=attend)
    hook.remove()
    return outputs[0][0].double()


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "modernbert", "modernbert-mean"])
def test_where_norms_stand_before_attention_tokens_contribute_to_the_plain_sum_with_the_residual(architecture):
    classifier = shaken_classifier(architecture)
    encoding = encode(classifier, TEXTS[0], special=True)
    tokens, layers = range(encoding.ids.shape[1]), range(3)
    near, long = np.zeros((2, 3, len(tokens), len(tokens)))
    residuals = []

    def enter(_index, hidden):
        residuals.append(hidden)
        return hidden

    with torch.no_grad(), between_layers(classifier.model, enter=enter):
        classifier.model(**encoding.inputs())
    for layer in layers:
        output, residual = attended(classifier, encoding, layer), residuals[layer][0].double()
        whole = output + residual
        for j in tokens:
            parts = output - attended(classifier, encoding, layer, j)
            parts[j] += residual[j]
            near[layer, :, j] = (whole.abs().sum(1) - (whole - parts).abs().sum(1)).clamp(min=0)
            long[layer, :, j] = parts.norm(dim=1)
    row = anchor_row(encoding, classifier.support.anchor)[0].double().numpy()
    # Differences of float32 outputs.
    assert_close(scores(alti, classifier, encoding)[0].double(), rolled(row, [*near]), atol=1e-4, rtol=1e-3)
    actual = scores(globenc, classifier, encoding)[0].double()
    assert_close(actual, rolled(row, [*long], shares=False), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_shares_of_all_tokens_sum_to_1_and_a_text_scores_alike_alone_and_in_a_batch(method, architecture):
    classifier = shaken_classifier(architecture)
    together = scores(method, classifier, encode(classifier, special=True))
    assert_close(together.sum(1), torch.ones(3), atol=1e-5, rtol=0)
    for index, text in enumerate(TEXTS):
        alone = scores(method, classifier, encode(classifier, text, special=True))
        # Rounding of float32, as padding changes the order of sums.
        assert_close(together[index, : alone.shape[1]], alone[0], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_the_size_of_pieces_does_not_matter(method, monkeypatch):
    classifier = shaken_classifier("bert")
    encoding = encode(classifier)
    expected = scores(method, classifier, encoding)
    monkeypatch.setattr(decomposition, "budget", lambda _, **__: 2 * encoding.ids.numel())
    monkeypatch.setattr(blocks, "_HELD", 2 * encoding.ids.numel() * 32)
    assert_close(scores(method, classifier, encoding), expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("method", [alti, globenc])
def test_a_norm_between_attention_and_residual_is_refused_as_the_parts_do_not_add_up(method):
    classifier = shaken_classifier("gemma2")
    with pytest.raises(UnsupportedModelError, match=r"misses it by \d.* of its size"):
        scores(method, classifier, encode(classifier))


def test_value_zeroing_needs_no_sum_and_so_takes_it():
    classifier = shaken_classifier("gemma2")
    assert_close(scores(value_zeroing, classifier, encode(classifier, special=True)).sum(1), torch.ones(3))


@pytest.mark.parametrize("method", METHODS)
def test_a_layer_that_runs_twice_counts_as_two_layers_of_the_same_weights(method):
    shared, copied = shaken_classifier("bert"), shaken_classifier("bert")
    layers = shared.model.bert.encoder.layer
    layers[1] = layers[0]
    copied.model.bert.encoder.layer[1].load_state_dict(copied.model.bert.encoder.layer[0].state_dict())
    both = [scores(method, classifier, encode(classifier)) for classifier in (shared, copied)]
    assert both[0].any()
    assert_close(*both, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_albert_is_its_group_of_layers_run_again_and_again(method):
    """With as many groups as layers nothing is shared; the same weights in each of them are one group that is."""
    settings = {"embedding_size": 16, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
    models = [
        tf.AlbertForSequenceClassification(
            tf.AlbertConfig(
                vocab_size=len(VOCABULARY), num_hidden_layers=2, num_hidden_groups=groups, pad_token_id=0, **settings
            )
        ).eval()
        for groups in (1, 2)
    ]
    weights = models[0].state_dict()
    models[1].load_state_dict(
        {name: weights[name.replace("layer_groups.1", "layer_groups.0")] for name in models[1].state_dict()}
    )
    both = [Classifier(model, tokenizer()) for model in models]
    assert_close(*(scores(method, classifier, encode(classifier)) for classifier in both), rtol=0, atol=1e-6)


def test_layers_that_do_not_run_in_order_are_refused_and_no_hook_stays(monkeypatch):
    classifier = shaken_classifier("bert")
    first, second, _ = classifier.model.bert.encoder.layer
    own = first.forward

    def with_a_look_at_the_second(*args, **kwargs):
        second(*args, **kwargs)
        return own(*args, **kwargs)

    monkeypatch.setattr(first, "forward", with_a_look_at_the_second)
    expected = pytest.raises(UnsupportedModelError, match=r"its 3 layers in the order \[0, 1, 1, 2\]")
    with expected, between_layers(classifier.model), torch.no_grad():
        classifier.model(**encode(classifier).inputs("cpu"))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in classifier.model.modules())
