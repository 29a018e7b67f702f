"""Sets of heads against a naive second implementation, and the laws of a set."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from expnet.errors import InputError, MismatchError
from expnet.methods.families.attention import raw_attention
from expnet.methods.families.attention_gradient import generic_relevance, grad_sam
from expnet.methods.families.gradient import saliency
from expnet.network.features import FeatureConfig
from expnet.network.heads import HeadSetConfig, head_features
from expnet.network.inputs import read_features
from expnet.network.sets import HeadFeatures, stack
from expnet.text.texts import Text
from tests.classifiers import HEAD_SET, random_network, tiny_classifier
from tests.models import WORDS
from tests.signals import random_signals

TIERS = ("attention", "gradient", "difference")


def naive(signals, row, length, places, tier, floor=1e-4):
    """One text in double precision, one head and one rule at a time."""
    layers, heads = signals.rows.shape[1:3]
    evidence = signals.evidence
    least = math.log(1e-9)

    def at(tensor):
        return tensor[row][..., places].double().numpy()

    def relative(tensor):
        return np.maximum(at(tensor) + math.log(length), least)

    def standard(values):
        spread = max(values.std(), 1e-4)
        return np.clip((values - values.mean()) / spread, -5, 5)

    def log_mean(values, axis):
        return np.log(np.exp(values).mean(axis))

    rows, columns, received, own = (relative(getattr(signals, n)) for n in ("rows", "columns", "received", "own"))
    carried = np.maximum(at(signals.carried), least)
    low = math.log(floor)
    channels = [np.maximum(x, low) for x in (rows, columns, received)]
    channels += [rows + np.maximum(at(signals.norms), least), np.maximum(own, low)]
    each_layer = [log_mean(rows, 1), log_mean(columns, 1), carried, log_mean(received, 1)]
    whole = [log_mean(x, 0) for x in each_layer]
    cuts = [(i * layers // 3, -((i + 1) * -layers // 3)) for i in range(3)]
    rules = [x[a:b].mean(0) for x in each_layer for a, b in cuts] + [x[-1] for x in each_layer] + whole
    if tier != "attention":
        products, gradients = at(evidence.products), at(evidence.gradients)
        taken, slopes = at(evidence.received) * length, at(evidence.slopes)
        channels += [products, taken, gradients]
        relevance, sam = at(evidence.relevance), taken.mean((0, 1))
        logs = [np.log(np.maximum(x, e)) for x, e in ((slopes, 1e-9), (relevance, 1e-6), (sam, 1e-7))]
        rules = [logs[0], logs[1], relevance, logs[2], sam, products.mean((0, 1))]
        whole = [*whole, logs[1], logs[2], logs[0]]
    if tier == "difference":
        added = at(evidence.differences)
        rules += [added, np.log(np.maximum(np.abs(added), 1e-6))]
        whole.append(added)
    compared = [standard(x) for x in whole]
    about = np.zeros((layers * heads, 0))
    seen = np.zeros((len(places), layers * heads, len(channels)))
    for c, channel in enumerate(channels):
        columns_of = []
        sizes = [max(np.abs(channel[i, h]).mean(), 1e-9) for i in range(layers) for h in range(heads)]
        for head, size in enumerate(sizes):
            values = channel[head // heads, head % heads]
            seen[:, head, c] = standard(values)
            if c < 5:
                described = [values.mean() / 3, values.std()]
            else:
                strength = np.clip(math.log(size) - np.log(sizes).mean(), -4, 4) / 2
                described = [strength] if c == 6 else [strength, values.mean() / size]
            columns_of.append(described + [(standard(values) * rule).mean() for rule in compared])
        about = np.concatenate([about, np.array(columns_of)], 1)
    depth = np.repeat(np.linspace(0, 1, layers), heads)
    about = np.concatenate([about, np.stack([depth, 4 * (depth - 0.5) ** 2], 1)], 1)
    return seen, about, np.stack([standard(x) for x in rules], 1)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (2, 3), (3, 2), (6, 4), (7, 2)])
def test_features_are_what_a_naive_implementation_says(tier, layers, heads):
    signals, mask, real = random_signals(layers, heads, (9, 5, 3))
    features = head_features(signals, mask, real, HeadSetConfig(tier=tier))
    for row in range(3):
        places = real[row].nonzero().flatten()
        expected = naive(signals, row, int(mask[row].sum()), places, tier)
        found = features.heads[row, places], features.about[row], features.tokens[row, places]
        for ours, theirs in zip(found, expected, strict=True):
            assert_close(ours, torch.from_numpy(theirs).float(), atol=2e-4, rtol=1e-3)  # float32 against float64
    assert not features.heads[~real].any()
    assert not features.tokens[~real].any()


@pytest.mark.parametrize("tier", TIERS)
def test_the_configuration_knows_how_many_features_there_are(tier):
    config = HeadSetConfig(tier=tier)
    features = head_features(*random_signals(3, 2, (6, 4)), config)
    widths = features.heads.shape[-1], features.about.shape[-1], features.tokens.shape[-1]
    assert widths == (config.channels, config.descriptors, config.scalars)


def with_heads(signals, order):
    """The same signals with other heads in each layer."""

    def pick(thing, names):
        return replace(thing, **{name: getattr(thing, name)[:, :, order] for name in names})

    evidence = pick(signals.evidence, ("gradients", "products", "received"))
    return replace(pick(signals, ("rows", "columns", "received", "own", "norms")), evidence=evidence)


@pytest.mark.parametrize("tier", TIERS)
@given(order=st.permutations(range(4)), seed=st.integers(0, 2**16))
@settings(max_examples=15)
def test_the_order_of_heads_within_a_layer_means_nothing(tier, order, seed):
    signals, mask, real = random_signals(2, 4, (7, 5), seed)
    config = HeadSetConfig(tier=tier)
    network = random_network(replace(HEAD_SET, features=config))
    one = head_features(signals, mask, real, config)
    two = head_features(with_heads(signals, list(order)), mask, real, config)
    places = [layer * 4 + head for layer in range(2) for head in order]
    # sums in another order
    assert_close(two.heads, one.heads[:, :, places], atol=1e-4, rtol=0)
    assert_close(two.about, one.about[:, places], atol=1e-4, rtol=0)
    assert_close(network.score(two), network.score(one), atol=1e-5, rtol=0)


@pytest.mark.parametrize("tier", TIERS)
def test_the_number_of_heads_means_nothing_when_each_comes_twice(tier):
    signals, mask, real = random_signals(3, 2, (8, 4))
    config = HeadSetConfig(tier=tier)
    network = random_network(replace(HEAD_SET, features=config))
    once = network.score(head_features(signals, mask, real, config))
    twice = network.score(head_features(with_heads(signals, [0, 1, 0, 1]), mask, real, config))
    assert_close(twice, once, atol=1e-5, rtol=0)


@given(words=st.lists(st.sampled_from([*WORDS, ""]), max_size=8), tier=st.sampled_from(TIERS))
@settings(max_examples=15)
def test_a_text_has_the_same_features_and_scores_alone_and_in_a_batch(words, tier):
    classifier, config = CLASSIFIER, HeadSetConfig(tier=tier)
    network = random_network(replace(HEAD_SET, features=config))
    texts = [Text.of(" ".join(words)), Text.of("the first text is another one, long and bad!")]
    batch, alone = classifier.encode(texts), classifier.encode(texts[:1])
    target = torch.tensor([1, 0])
    logits, among = read_features(classifier, batch, config, target=target)
    own_logits, single = read_features(classifier, alone, config, target=target[:1])
    length = alone.ids.shape[1]
    assert_close(logits[:1], own_logits, atol=1e-5, rtol=1e-5)
    # A head that is all but constant over a text is scaled up to 1 with its rounding: 1e-4 is the least deviation.
    assert_close(among.window(0, length).heads, single.heads[0], atol=2e-2, rtol=0)
    assert_close(network.score(among)[0, :length], network.score(single)[0], atol=1e-3, rtol=0)
    assert not among.heads[~batch.real].any()
    assert not among.tokens[~batch.real].any()


CLASSIFIER = tiny_classifier("bert")


def test_windows_of_classifiers_with_other_heads_share_a_batch():
    config = HeadSetConfig()
    network = random_network(HEAD_SET)
    parts = [head_features(*random_signals(*size), config) for size in ((2, 3, (6,)), (3, 4, (9,)))]
    both = network.score(stack([parts[0].window(0, 6), parts[1].window(0, 9)]))
    assert_close(both[0, :6], network.score(parts[0])[0], atol=1e-6, rtol=0)
    assert_close(both[1], network.score(parts[1])[0], atol=1e-6, rtol=0)


def test_the_gate_sums_over_heads_what_their_descriptions_weigh():
    network = random_network(HEAD_SET)
    generator = torch.Generator().manual_seed(3)
    config = HEAD_SET.features
    features = HeadFeatures(
        torch.randn(1, 2, 3, config.channels, generator=generator),
        torch.randn(1, 3, config.descriptors, generator=generator),
        torch.randn(1, 2, config.scalars, generator=generator),
        torch.tensor([[True, False, True]]),
    )
    found = network.gate(features)
    weights = [network.gate.weigh(features.about[0, head]).view(config.channels, config.summed) for head in range(3)]
    for token in range(2):
        sums = sum(features.heads[0, token, head] @ weights[head] for head in (0, 2)) / 2 * 8
        assert_close(found[0, token], torch.cat([sums, features.tokens[0, token]]), atol=1e-5, rtol=1e-5)


def test_features_with_gradients_need_a_target():
    encoding = CLASSIFIER.encode([Text.of("bad")])
    with pytest.raises(InputError, match="pass a target for each window"):
        read_features(CLASSIFIER, encoding, HeadSetConfig(tier="gradient"))


@pytest.mark.parametrize("options", [{"floor": 1e-3}, {"gate": 0}, {"summed": 0}, {"head_dropout": 1.0}])
def test_features_that_cannot_be_computed_are_refused(options):
    with pytest.raises(MismatchError, match=next(iter(options))):
        HeadSetConfig(**options)


@pytest.fixture
def as_they_are(monkeypatch):
    """Vectors of tokens before they are normalised within the text."""
    monkeypatch.setattr(
        "expnet.network.features.normalise_within_text",
        lambda features, real: features.masked_fill(~real[..., None], 0),  # as normalised ones are
    )


@pytest.mark.usefixtures("as_they_are")
def test_plain_features_are_those_of_the_trace():
    encoding = CLASSIFIER.encode([Text.of("a good film"), Text.of("bad")])
    logits, features = read_features(CLASSIFIER, encoding, FeatureConfig())
    trace = CLASSIFIER.trace(encoding)
    assert torch.equal(logits, trace.logits)
    expected = (trace.log_rows[0, 0, 1, 1] + math.log(int(encoding.mask[0].sum()))).clamp(min=math.log(1e-4))
    assert_close(features[0, 1, 1], expected, atol=1e-6, rtol=0)


@pytest.mark.usefixtures("as_they_are")
def test_received_attention_is_that_of_the_fixed_rule(monkeypatch):
    monkeypatch.setattr("expnet.network.features.FLOOR", 1e-9)
    encoding = CLASSIFIER.encode([Text.of("a good film"), Text.of("bad")])
    config = FeatureConfig(patterns=("received",), heads="each")
    _, features = read_features(CLASSIFIER, encoding, config)
    rule = raw_attention(CLASSIFIER, encoding, torch.tensor([0, 0]), layers="all", direction="received")
    attention = features.exp() / encoding.mask.sum(1)[:, None, None]
    assert_close(attention.mean(-1) * encoding.real, rule, atol=1e-6, rtol=1e-5)


def test_each_window_keeps_its_target_where_a_batch_is_cut_in_parts(monkeypatch):
    encoding = CLASSIFIER.encode([Text.of(text) for text in ("a good film", "bad", "the first text is another one")])
    target = torch.tensor([2, 0, 1])
    _, whole = read_features(CLASSIFIER, encoding, HeadSetConfig(), target=target)
    monkeypatch.setattr("expnet.model.capacity.MOST", 1)  # a part has one window at least
    _, parts = read_features(CLASSIFIER, encoding, HeadSetConfig(), target=target)
    assert_close(parts.tokens, whole.tokens, atol=1e-3, rtol=0)
    assert_close(parts.heads, whole.heads, atol=2e-2, rtol=0)  # as for a text alone


@pytest.mark.usefixtures("as_they_are")
def test_features_with_gradients_are_those_of_the_fixed_rules_and_of_the_target():
    encoding = CLASSIFIER.encode([Text.of("a good film"), Text.of("bad")])
    target, real = torch.tensor([2, 0]), encoding.real

    def read(*patterns, of=target):
        return read_features(CLASSIFIER, encoding, FeatureConfig(patterns=patterns), target=of)[1]

    rules = {"relevance": generic_relevance, "grad_sam": grad_sam}
    for pattern, rule in rules.items():
        expected = rule(CLASSIFIER, encoding, target) * real
        assert_close(read(pattern).mean(-1), expected, atol=1e-6, rtol=1e-4)
    norms = saliency(CLASSIFIER, encoding, target)
    assert_close(read("saliency")[real][:, 0], norms[real].log(), atol=1e-4, rtol=0)
    rows, products = (read(name)[real] for name in ("rows", "products"))
    gradients = read_features(CLASSIFIER, encoding, HeadSetConfig(), target=target)[1]
    assert products.shape == rows.shape == (int(real.sum()), gradients.heads.shape[2])
    assert not torch.equal(products, read("products", of=torch.tensor([1, 1]))[real])
    both = read("rows", "products", "saliency")
    assert_close(both[real], torch.cat([rows, products, read("saliency")[real]], -1), atol=1e-5, rtol=1e-4)
    assert both.shape[-1] == FeatureConfig(patterns=("rows", "products", "saliency")).width(3, 4) == 25
    with pytest.raises(InputError, match="pass a target"):
        read("products", of=None)


def test_features_with_gradients_are_cut_in_parts_and_joined_again(monkeypatch):
    encoding = CLASSIFIER.encode([Text.of(text) for text in ("a good film", "bad", "the first text is another one")])
    config, target = FeatureConfig(patterns=("rows", "products", "relevance")), torch.tensor([2, 0, 1])
    logits, whole = read_features(CLASSIFIER, encoding, config, target=target)
    monkeypatch.setattr("expnet.model.capacity.MOST", 1)
    again, parts = read_features(CLASSIFIER, encoding, config, target=target)
    assert_close(parts, whole, atol=2e-2, rtol=0)  # differences of rounding, against the deviation of a short text
    assert_close(again, logits, atol=1e-5, rtol=0)
