"""Features by hand, and the laws of normalisation."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.testing import assert_close

from expnet.attention.capture import Trace
from expnet.attention.signals import Evidence
from expnet.errors import InputError, MismatchError
from expnet.network.features import FeatureConfig, attention_features, normalise_within_text


def trace(rows, columns):
    """One text, one layer; rows and columns are given as heads × tokens."""
    return Trace(torch.zeros(1, 2), torch.tensor(rows)[None, None].log(), torch.tensor(columns)[None, None].log())


MASK = torch.tensor([[True, True, True, False]])
REAL = torch.tensor([[False, True, True, False]])
ROWS = [[0.5, 0.25, 0.25, 0.0], [0.2, 0.6, 0.2, 0.0]]
COLUMNS = [[1 / 3, 1 / 3, 1 / 3, 0.0], [0.1, 0.2, 0.4, 0.0]]


@pytest.fixture
def as_they_are(monkeypatch):
    """Features before they are normalised within the text; 0 outside of it, as normalised ones are."""
    monkeypatch.setattr(
        "expnet.network.features.normalise_within_text",
        lambda features, real: features.masked_fill(~real[..., None], 0),
    )


@pytest.mark.usefixtures("as_they_are")
def test_features_are_the_logarithm_of_attention_against_uniform_ordered_by_pattern_layer_head():
    config = FeatureConfig()
    features = attention_features(trace(ROWS, COLUMNS), MASK, REAL, config)
    first = [math.log(3 * a) for a in (0.25, 0.6, 1 / 3, 0.2)]
    second = [math.log(3 * a) for a in (0.25, 0.2, 1 / 3, 0.4)]
    zeros = [0.0] * 4
    # float32 logarithms of numbers near 1
    assert_close(features, torch.tensor([[zeros, first, second, zeros]]), atol=1e-6, rtol=0)


@pytest.mark.usefixtures("as_they_are")
def test_received_attention_is_a_feature_where_the_trace_holds_it():
    config = FeatureConfig(patterns=("received",))
    without = trace(ROWS, COLUMNS)
    received = Trace(without.logits, without.log_rows, without.log_columns, torch.tensor(COLUMNS)[None, None])
    features = attention_features(received, MASK, REAL, config)
    assert_close(features[0, 1], torch.tensor([math.log(3 / 3), math.log(3 * 0.2)]), atol=1e-6, rtol=0)
    with pytest.raises(InputError, match="received=True"):
        attention_features(without, MASK, REAL, config)


@pytest.mark.usefixtures("as_they_are")
def test_averaging_heads_gives_one_feature_per_layer_and_pattern():
    config = FeatureConfig(heads="mean", patterns=("rows",))
    features = attention_features(trace(ROWS, COLUMNS), MASK, REAL, config)
    expected = (math.log(3 * 0.25) + math.log(3 * 0.6)) / 2
    assert features.shape[-1] == config.width(layers=1, heads=2) == 1
    assert features[0, 1, 0].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.usefixtures("as_they_are")
@pytest.mark.parametrize("little", [0.0, 1e-6, 3e-5])
def test_attention_below_the_floor_is_all_the_same(little):
    config = FeatureConfig(patterns=("rows",))
    features = attention_features(trace([[0.8, little, 0.2, 0.0]], [[0.1] * 4]), MASK, REAL, config)
    # up to 3e-5 * 3 lies at the floor, 0.2 * 3 above it
    assert_close(features[0, 1:3, 0], torch.tensor([1e-4, 0.6]).log(), atol=1e-6, rtol=0)


def test_normalisation_by_hand_gives_plus_and_minus_one_to_two_tokens():
    features = attention_features(trace(ROWS, COLUMNS), MASK, REAL, FeatureConfig())
    assert_close(features[0, 1], torch.tensor([0.0, 1.0, 0.0, -1.0]), atol=1e-5, rtol=0)
    assert_close(features[0, 2], torch.tensor([0.0, -1.0, 0.0, 1.0]), atol=1e-5, rtol=0)
    assert features[0, [0, 3]].abs().max() == 0


@given(st.integers(1, 12), st.integers(0, 5), st.integers(0, 2**31 - 1))
@example(2, 0, 108052)  # two numbers that differ little beside their size
def test_normalised_features_have_mean_zero_deviation_one_whatever_the_padding(length, padding, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(1, length, 3, generator=generator) * 5 + 2
    real = torch.ones(1, length, dtype=torch.bool)
    alone = normalise_within_text(values, real)
    padded = normalise_within_text(
        torch.nn.functional.pad(values, (0, 0, 0, padding), value=7.0), torch.nn.functional.pad(real, (0, padding))
    )
    assert_close(padded[:, :length], alone, atol=1e-5, rtol=0)
    assert padded[:, length:].abs().sum() == 0
    assert_close(alone.mean(1), torch.zeros(1, 3), atol=1e-5, rtol=0)  # float32 sums of a dozen numbers
    if length > 1:
        assert_close(alone.square().mean(1), torch.ones(1, 3), atol=1e-4, rtol=0)
    else:
        assert alone.abs().max() == 0


@given(st.floats(0.1, 10), st.floats(-5, 5))
def test_normalisation_forgets_scale_and_shift(scale, shift):
    values = torch.tensor([[[0.3], [1.9], [-0.7], [0.4]]])
    real = torch.ones(1, 4, dtype=torch.bool)
    assert_close(
        normalise_within_text(values * scale + shift, real), normalise_within_text(values, real), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patterns": ()}, "patterns"),
        ({"patterns": ("rows", "rows")}, "each once"),
        ({"floor": 1e-3}, "floor=0.001, expected 0.0001"),
    ],
)
def test_features_that_cannot_be_computed_are_refused(options, message):
    with pytest.raises(MismatchError, match=message):
        FeatureConfig(**options)


@pytest.mark.usefixtures("as_they_are")
def test_features_with_gradients_by_hand_as_they_are_saliency_as_its_logarithm():
    values = torch.tensor([[0.0, 0.5, -0.25, 0.0], [0.0, 0.125, 2.0, 0.0]])[None, None]  # one layer of two heads
    evidence = Evidence(
        gradients=torch.zeros_like(values),
        products=values,
        received=values.abs(),
        relevance=torch.tensor([[9.0, 0.75, 0.5, 9.0]]),
        slopes=torch.tensor([[9.0, 1.0, math.e, 9.0]]),
    )
    config = FeatureConfig(patterns=("saliency", "products", "relevance", "rows"))
    features = attention_features(trace(ROWS, COLUMNS), MASK, REAL, config, evidence)
    first = [0.0, 0.5, 0.125, 0.75, math.log(3 * 0.25), math.log(3 * 0.6)]
    second = [1.0, -0.25, 2.0, 0.5, math.log(3 * 0.25), math.log(3 * 0.2)]
    assert_close(features, torch.tensor([[[0.0] * 6, first, second, [0.0] * 6]]), atol=1e-6, rtol=0)
    mean = attention_features(
        trace(ROWS, COLUMNS), MASK, REAL, replace(config, patterns=("grad_sam", "relevance"), heads="mean"), evidence
    )
    assert_close(mean[0, 1], torch.tensor([0.3125, 0.75]))
    with pytest.raises(InputError, match="pass its evidence"):
        attention_features(trace(ROWS, COLUMNS), MASK, REAL, config)
