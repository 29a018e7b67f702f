"""Signals of heads against their definitions, entry by entry, and against the methods that are made of them."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from expnet.attention import fused
from expnet.attention.capture import each_layer
from expnet.attention.fused_layer import FusedLayer
from expnet.attention.intercept import run
from expnet.attention.kernels import Scores, fused_attention
from expnet.attention.signals import attention_signals, gradient_signals
from expnet.errors import UnsupportedModelError
from expnet.methods.families import attention, attention_gradient, gradient
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier
from tests.models import ARCHITECTURES

TEXTS = ("A good film.", "bad", "The first one is long, but another is short!")
NAMES = ("rows", "columns", "received", "own", "norms")


def case(architecture):
    classifier = tiny_classifier(architecture)
    encoding = classifier.encode([Text.of(text) for text in TEXTS])
    return classifier, encoding, encoding.inputs("cpu")


def naive(classifier, encoding, row):
    """One text alone, from the matrices of attention in the open: each head and token by itself."""
    alone = classifier.encode([encoding.texts[row]])
    with torch.no_grad():
        layers = run(classifier.model, alone.inputs("cpu"), attend=lambda _, layer: layer).layers
    length, anchor = alone.ids.shape[1], classifier.support.anchor
    pools = {"first": [0], "last": [length - 1], "mean": range(length)}[anchor]
    found = {name: np.zeros((len(layers), layers[0].value.shape[1], length)) for name in NAMES}
    carried = np.zeros((len(layers), length))
    for number, layer in enumerate(layers):
        a, v, w = (each.double().numpy() for each in (layer.probabilities[0], layer.value[0], layer.projection))
        width = v.shape[-1]
        for token in range(length):
            sent = np.zeros(len(w))
            for head in range(len(a)):
                at = number, head, token
                found["rows"][at] = np.mean([a[head, i, token] for i in pools])
                found["columns"][at] = np.mean([a[head, token, i] for i in pools])
                found["received"][at] = a[head, :, token].mean()
                found["own"][at] = a[head, token, token]
                passed = w[:, head * width : (head + 1) * width] @ v[head, token]
                found["norms"][at] = np.linalg.norm(passed)
                sent += found["rows"][at] * passed
            carried[number, token] = np.linalg.norm(sent)
    return length, found, carried


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_signals_are_what_the_definitions_say_of_each_text_alone(architecture):
    classifier, encoding, inputs = case(architecture)
    support = classifier.support
    signals = attention_signals(classifier.model, inputs, anchor=support.anchor, backend=support.backend)
    for row in range(len(TEXTS)):
        length, found, carried = naive(classifier, encoding, row)
        for name in NAMES:
            # float32 against float64, through an exponential
            ours = getattr(signals, name)[row, :, :, :length].exp()
            assert_close(ours, torch.from_numpy(found[name]).float(), atol=1e-5, rtol=1e-3)
        assert_close(signals.carried[row, :, :length].exp(), torch.from_numpy(carried).float(), atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_pass_with_gradients_says_the_same_of_attention_as_the_pass_without(architecture):
    classifier, encoding, inputs = case(architecture)
    anchor, backend = classifier.support.anchor, classifier.support.backend
    without = attention_signals(classifier.model, inputs, anchor=anchor, backend=backend)
    within = gradient_signals(classifier.model, inputs, torch.tensor([0, 1, 2]), anchor=anchor)
    real = encoding.mask[:, None, None].expand(without.rows.shape)
    for name in NAMES:
        assert_close(getattr(within, name)[real].exp(), getattr(without, name)[real].exp(), atol=1e-5, rtol=1e-4)
    assert_close(within.logits, without.logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_evidence_is_that_of_the_gradient_methods(architecture):
    classifier, encoding, inputs = case(architecture)
    target = torch.tensor([2, 0, 1])
    found = gradient_signals(classifier.model, inputs, target, anchor=classifier.support.anchor).evidence
    pairs = {
        "saliency": (found.slopes, gradient.saliency(classifier, encoding, target)),
        "generic relevance": (found.relevance, attention_gradient.generic_relevance(classifier, encoding, target)),
        "grad_sam": (found.received.mean((1, 2)), attention_gradient.grad_sam(classifier, encoding, target)),
        "attention x gradient": (
            found.products.mean((1, 2)),
            attention_gradient.attention_x_gradient(classifier, encoding, target, layers="all"),
        ),
        "attention gradient": (
            found.gradients.mean((1, 2)),
            attention_gradient.attention_gradient(classifier, encoding, target, layers="all"),
        ),
    }
    for name, (ours, theirs) in pairs.items():
        scale = float(theirs.abs().max())
        # rounding of sums in another order
        assert_close(
            ours * encoding.real, theirs, atol=1e-4 * scale, rtol=1e-3, msg=lambda text, n=name: f"{n}: {text}"
        )


def test_what_is_carried_is_value_norm_attention():
    classifier, encoding, inputs = case("bert")
    signals = attention_signals(classifier.model, inputs, anchor="first", backend="fused")
    theirs = attention.value_norm_attention(classifier, encoding, torch.zeros(3, dtype=torch.long), layers="all")
    assert_close(signals.carried.exp().mean(1) * encoding.real, theirs, atol=1e-5, rtol=1e-4)


def test_without_a_projection_values_count_as_they_are(monkeypatch):
    classifier, encoding, inputs = case("bert")
    values = []

    def refuse(layer):
        values.append(layer.value)
        raise UnsupportedModelError("none follows")

    monkeypatch.setattr(FusedLayer, "output_projection", refuse)
    signals = attention_signals(classifier.model, inputs, anchor="first", backend="fused")
    for number, value in enumerate(values):
        for token in range(int(encoding.mask[0].sum())):
            for head in range(value.shape[1]):
                expected = math.sqrt(sum(x * x for x in value[0, head, token].tolist()))
                assert signals.norms[0, number, head, token].exp().item() == pytest.approx(expected, rel=1e-4)


def test_a_target_changes_the_evidence_and_nothing_else():
    classifier, _, inputs = case("bert")
    one, two = (gradient_signals(classifier.model, inputs, torch.full((3,), index), anchor="first") for index in (0, 1))
    assert torch.equal(one.rows, two.rows)
    assert torch.equal(one.norms, two.norms)
    assert (one.evidence.slopes - two.evidence.slopes).abs().max() > 1e-3


def test_what_a_token_pays_to_itself_follows_from_the_scores_under_any_bias():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, 5, 4, generator=generator) for _ in range(3))
    for shape in ((2, 3, 5, 5), (1, 3, 5, 5), (2, 1, 1, 5)):
        scores = Scores(query, key, 0.5, torch.randn(shape, generator=generator))
        _, lse = fused_attention(scores, value)
        matrix = (query @ key.transpose(2, 3) * 0.5 + scores.bias).softmax(-1)
        found = FusedLayer(scores, lse, value).log_own().exp()
        for token in range(5):
            assert_close(found[:, :, token], matrix[:, :, token, token], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "mpnet"])  # gpt2 keeps its matrices the other way round
def test_output_projections_are_looked_for_once_and_read_anew(architecture, monkeypatch):
    classifier, _, inputs = case(architecture)
    model = classifier.model

    def projections():
        layers = []
        each_layer(model, inputs, layers.append, project=True)
        return [layer.output_projection() for layer in layers]

    looked_for = projections()

    def refuse(_self):
        raise AssertionError("looked for again")

    with monkeypatch.context() as patch:
        patch.setattr(fused._Projections, "__enter__", refuse)
        assert all(map(torch.equal, looked_for, projections()))
        owner = next(module for module in model.modules() if holds(module, looked_for[0]))
        owner.weight.data = owner.weight.data * 2  # which leaves no trace
        assert_close(projections()[0], looked_for[0] * 2)
    parent, name = next((m, n) for m in model.modules() for n, child in m.named_children() if child is owner)
    setattr(parent, name, copy.deepcopy(owner))
    getattr(parent, name).weight.data *= 2
    assert_close(projections()[0], looked_for[0] * 4)


def holds(module, matrix):
    return getattr(module, "weight", None) is not None and module.weight.data_ptr() == matrix.data_ptr()
