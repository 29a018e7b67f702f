"""What is declared of each input is true of its values; the lists are those that saved networks were trained on."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch.testing import assert_close

from expnet.attention.capture import Trace
from expnet.errors import InputError
from expnet.network.channels import PATTERNS, TIERS, Pattern, RelativeSignals, Tier
from expnet.network.features import ATTENTION, GRADIENT, FeatureConfig
from expnet.network.heads import HeadSetConfig, head_features
from tests.signals import random_signals

LENGTHS = (9, 5, 3)
SIGNALS, MASK, REAL = random_signals(3, 2, LENGTHS)
RELATIVE = RelativeSignals.of(SIGNALS, MASK.sum(1))
TOKENS = (len(LENGTHS), max(LENGTHS))


def test_every_name_has_a_declaration():
    assert tuple(PATTERNS) == get_args(Pattern)
    assert tuple(TIERS) == get_args(Tier)


def test_the_usual_patterns_are_of_their_tier():
    assert {PATTERNS[name].tier for name in ATTENTION} == {"attention"}
    assert {PATTERNS[name].tier for name in GRADIENT} == {"gradient"}
    for tier in TIERS:
        assert FeatureConfig().with_tier(tier).tier == tier
        assert FeatureConfig().with_tier("difference").with_tier(tier) == FeatureConfig().with_tier(tier)


@pytest.mark.parametrize(
    ("tier", "widths"), [("attention", (5, 32, 20)), ("gradient", (8, 73, 6)), ("difference", (8, 81, 8))]
)
def test_saved_networks_read_as_many_numbers_as_when_they_were_trained(tier, widths):
    config = HeadSetConfig(tier=tier)
    assert (config.channels, config.descriptors, config.scalars) == widths


@pytest.mark.parametrize("tier", TIERS)
def test_values_are_as_wide_as_they_are_declared(tier):
    for rule in (*TIERS[tier].rules, *TIERS[tier].compared):
        assert rule.values(RELATIVE).shape == (*TOKENS, rule.width), rule.name
    for channel in TIERS[tier].channels:
        values = channel.values(RELATIVE)
        assert values.shape == SIGNALS.rows.shape, channel.name
        described = channel.about.values(values.flatten(1, 2).transpose(1, 2), REAL)
        assert described.shape == (len(LENGTHS), 6, channel.about.width), channel.name


@pytest.mark.parametrize("tier", TIERS)
def test_names_within_a_tier_differ(tier):
    for entries in (TIERS[tier].channels, TIERS[tier].rules, TIERS[tier].compared):
        names = [entry.name for entry in entries]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_has_values_for_each_head_or_for_the_token_as_declared(name):
    trace = Trace(SIGNALS.logits, SIGNALS.rows, SIGNALS.columns, SIGNALS.received.exp())
    values = PATTERNS[name].values(trace, SIGNALS.evidence)
    assert values.shape == (SIGNALS.rows.shape if PATTERNS[name].per_head else TOKENS)
    assert FeatureConfig(patterns=(name,)).width(3, 2) == (6 if PATTERNS[name].per_head else 1)


def test_signals_are_relative_to_uniform_attention_and_never_infinite():
    uniform = replace(SIGNALS, rows=(MASK / MASK.sum(1, keepdim=True)).log()[:, None, None].expand_as(SIGNALS.rows))
    rows = RelativeSignals.of(uniform, MASK.sum(1)).rows
    everywhere = MASK[:, None, None].expand_as(rows)
    assert_close(rows[everywhere], torch.zeros(int(everywhere.sum())), atol=1e-6, rtol=0)  # a logarithm in float32
    assert_close(rows[~everywhere].exp(), torch.full((int((~everywhere).sum()),), 1e-9), atol=1e-12, rtol=1e-5)


def test_a_tier_with_gradients_needs_a_backward_pass():
    with pytest.raises(InputError, match=r"of a forward pass only.*gradient_signals"):
        head_features(replace(SIGNALS, evidence=None), MASK, REAL, HeadSetConfig(tier="gradient"))


def test_a_tier_with_differences_does_not_make_do_with_gradients():
    of_gradients = replace(SIGNALS, evidence=replace(SIGNALS.evidence, differences=None))
    with pytest.raises(InputError, match=r"of gradients: take them by `difference_signals`"):
        head_features(of_gradients, MASK, REAL, HeadSetConfig(tier="difference"))
