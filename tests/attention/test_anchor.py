"""Every pooling against its definition by hand: which tokens it takes, and what their attention is."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch.testing import assert_close

from expnet.attention import fused_layer, kernels
from expnet.attention.anchor import POOLINGS, Anchor, AnchorReading, PooledTokens, anchor_weights
from expnet.attention.capture import capture, each_layer
from expnet.attention.intercept import run
from expnet.attention.probe import find_anchor, probe
from expnet.attention.signals import attention_signals
from expnet.explainer import Explainer
from expnet.model.classifier import Classifier
from expnet.network.universal import universal
from tests.models import PAD, build, inputs, pooling, tokenizer

# Positions of the pooled tokens of a text whose real tokens stand at these positions.
POOLED = {
    "first": lambda real: real[:1],
    "last": lambda real: real[-1:],
    "mean": lambda real: real,
}
LENGTHS = (12, 9, 5)


def by_hand(anchor, mask):
    """The weights of each text, one token at a time."""
    weights = torch.zeros(mask.shape)
    for row, text in enumerate(mask.bool()):
        pooled = POOLED[anchor](text.nonzero().flatten().tolist())
        for position in pooled:
            weights[row, position] = 1 / len(pooled)
    return weights


def pooling_bert(anchor):
    return pooling(lambda hidden, mask: (hidden * by_hand(anchor, mask)[..., None]).sum(1))


def test_every_pooling_has_a_name_and_a_case_here():
    assert tuple(POOLINGS) == get_args(Anchor) == tuple(POOLED)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("anchor", POOLINGS)
def test_weights_are_equal_shares_of_the_pooled_tokens(anchor, side):
    batch = inputs(LENGTHS, side=side)
    mask = batch["attention_mask"].bool()
    weights = anchor_weights(batch["input_ids"], mask, anchor, PAD)
    assert torch.equal(weights, by_hand(anchor, mask))
    assert_close(weights.sum(1), torch.ones(3), atol=1e-6, rtol=0)  # a dozen shares in float32


def test_the_last_token_is_the_last_that_is_not_the_padding_id_and_the_first_if_there_is_none():
    ids = torch.tensor([[7, 8, PAD, PAD], [7, PAD, 8, 9], [PAD, PAD, PAD, PAD]])
    mask = torch.tensor([[True, True, True, False], [True, True, True, True], [True, True, False, False]])
    assert anchor_weights(ids, mask, "last", PAD).argmax(1).tolist() == [1, 3, 0]
    assert anchor_weights(ids, mask, "last", None).argmax(1).tolist() == [2, 3, 1]


@pytest.mark.parametrize("backend", ["fused", "eager"])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("anchor", POOLINGS)
def test_the_anchor_s_attention_is_the_weighted_sum_of_rows_and_of_columns(anchor, side, backend):
    model, batch = build("bert"), inputs((150, 131, 97), side=side)  # more tokens than one block
    mask = batch["attention_mask"].bool()
    weights = by_hand(anchor, mask)
    with torch.no_grad():
        layers = run(model, batch, attend=lambda _, layer: layer).layers
    maps = torch.stack([layer.probabilities for layer in layers], 1)
    trace = capture(model, batch, anchor=anchor, backend=backend, received=True)
    hidden = ~mask[:, None, None]
    rows = torch.einsum("bi,blhij->blhj", weights, maps).masked_fill(hidden, 0)
    columns = torch.einsum("blhij,bj->blhi", maps, weights).masked_fill(hidden, 0)
    received = torch.einsum("bi,blhij->blhj", mask / mask.sum(1, keepdim=True), maps)
    # float32 sums of 150 numbers up to 1 in another order, through an exponential
    for ours, expected in ((trace.rows, rows), (trace.columns, columns), (trace.received, received)):
        assert_close(ours, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("anchor", POOLINGS)
@pytest.mark.parametrize("architecture", ["bert", "llama", "modernbert"])
def test_a_pooling_of_some_tokens_says_the_same_as_the_shortcuts(anchor, architecture, monkeypatch):
    monkeypatch.setattr(kernels, "BLOCK", 4)
    model, batch = build(architecture), inputs(LENGTHS)
    quick = PooledTokens.of(model, batch, anchor)
    plain = replace(quick, extent="some")
    readings = [AnchorReading(pooled, received=False) for pooled in (quick, plain)]
    each_layer(model, batch, lambda layer: [reading.add(layer) for reading in readings])
    real = batch["attention_mask"].bool()[:, None, None].expand(-1, 3, 4, -1)
    ours, theirs = (reading.attention() for reading in readings)
    assert ours.received is None
    for one, other in zip(ours[:2], theirs[:2], strict=True):
        assert_close(one.exp()[real], other.exp()[real], atol=1e-5, rtol=1e-4)  # float32, through an exponential


@pytest.mark.parametrize("architecture", ["bert", "llama", "modernbert", "modernbert-mean", "mpnet", "gemma2"])
def test_layers_read_together_say_what_each_says_alone(architecture, monkeypatch):
    model, batch = build(architecture), inputs(LENGTHS)
    anchor = find_anchor(model, batch)
    readings = []
    for most in (2**17, 0):
        monkeypatch.setattr(fused_layer, "_TOGETHER", most)
        signals = attention_signals(model, batch, anchor=anchor, backend="fused")
        trace = capture(model, batch, anchor=anchor, received=True)
        names = ("rows", "columns", "received", "own", "norms", "carried")
        readings.append([*(getattr(signals, name) for name in names), trace.log_rows, trace.log_columns])
    real = batch["attention_mask"].bool()
    for together, alone in zip(*readings, strict=True):
        places = real.view(3, *[1] * (together.ndim - 2), -1).expand_as(together)
        assert_close(together[places], alone[places], atol=1e-6, rtol=1e-6)  # float32, products in other batches


@pytest.mark.parametrize("anchor", POOLINGS)
def test_a_classifier_that_pools_like_this_is_recognised_captured_and_explained(anchor):
    model = pooling_bert(anchor)
    assert find_anchor(model, inputs(LENGTHS)) == anchor
    assert probe(model, inputs(LENGTHS)).backend == "fused"
    explainer = Explainer(Classifier(model, tokenizer()), universal("attention"))
    assert explainer.classifier.support.anchor == anchor
    alone = explainer.explain("a good film")
    together = explainer.explain(["a good film", "the first text is another one"])[0]
    # sums in another order; a head that is constant over a short text is scaled up with its rounding
    assert [word.score for word in together.words] == pytest.approx([word.score for word in alone.words], abs=1e-3)
    ruled = explainer.explain("a good film", method="raw_attention")
    assert all(0 < word.score < 1 for word in ruled.words)
