"""Heads left out of an ExpNet: by hand, and the laws of a head that is ignored, of batches and of sets."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from expnet.errors import MismatchError
from expnet.network.config import ExpNetConfig
from expnet.network.expnet import ExpNet
from expnet.network.features import FeatureConfig
from expnet.network.inputs import read_features
from expnet.network.occlusion import logits_without_heads
from expnet.network.sets import HeadFeatures
from expnet.text.texts import Text
from tests.classifiers import HEAD_SET, random_network, tiny_classifier

CLASSIFIER = tiny_classifier("bert")
LAYERS, HEADS = CLASSIFIER.support.layers, CLASSIFIER.support.heads
BY_POSITION = ExpNetConfig(architecture="bert", layers=LAYERS, heads=HEADS)
CONFIGS = {"by position": BY_POSITION, "as a set": HEAD_SET}


def gelu(x: float) -> float:
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def test_a_tiny_network_says_what_can_be_computed_by_hand():
    network = ExpNet(ExpNetConfig(architecture="bert", layers=1, heads=2, context=0, hidden=(1,))).eval()
    with torch.no_grad():  # rows of heads 0 and 1, then columns
        network.first.weight.copy_(torch.tensor([[[1.0], [2.0], [-1.0], [0.5]]]))
        network.first.bias.fill_(0.25)
        network.rest[-1].weight.fill_(3.0)
        network.rest[-1].bias.fill_(-1.0)
    window = torch.tensor([[1.0, -0.5, 0.5, 2.0]])
    logits = logits_without_heads(network, window, [[], [0], [1], [0, 1]])
    sums = [1 - 1 - 0.5 + 1 + 0.25, -1 + 1 + 0.25, 1 - 0.5 + 0.25, 0.25]
    assert_close(logits, torch.tensor([[3 * gelu(x) - 1] for x in sums]), atol=1e-6, rtol=0)


def test_a_head_left_out_of_a_set_takes_its_own_term_out_of_the_sum():
    network = random_network(HEAD_SET)
    config, generator = HEAD_SET.features, torch.Generator().manual_seed(1)
    window = HeadFeatures(
        torch.randn(3, 2, config.channels, generator=generator),
        torch.randn(2, config.descriptors, generator=generator),
        torch.randn(3, config.scalars, generator=generator),
        torch.tensor([True, True]),
    )
    weights = network.gate.weigh(window.about[0]).view(config.channels, config.summed)
    alone = torch.cat([window.heads[:, 0] @ weights * 8 / 2, window.tokens], -1)  # what is left without head 1
    hidden = network.first(alone.T[None])[0].T
    for layer in network.rest:
        hidden = layer(hidden)
    assert_close(logits_without_heads(network, window, [[1]])[0], hidden[:, 0], atol=1e-5, rtol=1e-5)


@given(head=st.integers(0, LAYERS * HEADS - 1))
@settings(max_examples=6)
def test_a_head_that_the_network_ignores_changes_nothing(head):
    network, every = random_network(BY_POSITION), LAYERS * HEADS
    with torch.no_grad():
        network.first.weight[:, [head, every + head]] = 0
    encoding = CLASSIFIER.encode([Text.of("the good film")])
    _, features = read_features(CLASSIFIER, encoding, BY_POSITION.features)
    full, without, other = logits_without_heads(network, features[0], [[], [head], [(head + 1) % every]])
    assert_close(without, full, atol=1e-6, rtol=0)  # rows of a batch are added up in other orders
    assert (other - full).abs().max() > 1e-4


def test_heads_of_a_set_without_weight_change_nothing():
    network = random_network(HEAD_SET)
    with torch.no_grad():
        network.gate.weigh[-1].weight.zero_()
        network.gate.weigh[-1].bias.zero_()
    encoding = CLASSIFIER.encode([Text.of("the good film")])
    _, features = read_features(CLASSIFIER, encoding, HEAD_SET.features, target=torch.tensor([0]))
    window = features.window(0, encoding.ids.shape[1])
    full, *without = logits_without_heads(network, window, [[], *([head] for head in range(LAYERS * HEADS))])
    for logits in without:
        assert_close(logits, full, atol=1e-6, rtol=0)  # rows of a batch are added up in other orders


@pytest.mark.parametrize("name", CONFIGS)
def test_a_window_says_the_same_alone_and_in_a_padded_batch(name):
    config = CONFIGS[name]
    network = random_network(config)
    texts = [Text.of("bad film"), Text.of("the first text is another one, long and bad!")]
    groups = [[], *([head] for head in range(LAYERS * HEADS)), range(LAYERS * HEADS)]
    of_text = []
    for some in (texts, texts[:1]):
        encoding = CLASSIFIER.encode(some)
        _, features = read_features(CLASSIFIER, encoding, config.features, target=torch.tensor([1, 0])[: len(some)])
        window = config.features.window(features, 0, int(encoding.mask[0].sum()))
        of_text.append(logits_without_heads(network, window, groups))
        padded = config.features.window(features, 0, encoding.ids.shape[1])
        real = int(encoding.mask[0].sum())
        assert_close(logits_without_heads(network, padded, groups)[:, :real], of_text[-1], atol=1e-5, rtol=1e-5)
    # A head that is all but constant over a text is scaled up to 1 with its rounding.
    assert_close(*of_text, atol=5e-3, rtol=0)


def test_nothing_left_out_and_everything_left_out_are_what_the_network_says_of_such_features():
    network = random_network(BY_POSITION)
    encoding = CLASSIFIER.encode([Text.of("the good film")])
    _, features = read_features(CLASSIFIER, encoding, BY_POSITION.features)
    full, empty = logits_without_heads(network, features[0], [[], range(LAYERS * HEADS)])
    assert_close(full, network(features)[0].detach(), atol=1e-6, rtol=0)
    assert_close(empty, network(torch.zeros_like(features))[0].detach(), atol=1e-6, rtol=0)


def test_patterns_of_whole_tokens_stay():
    features = FeatureConfig(patterns=("saliency", "rows", "relevance", "columns"))
    window = torch.arange(1.0, 1 + 2 * 10).view(2, 10)  # 1 + 4 + 1 + 4: two layers of two heads
    assert (features.without_heads(window, [3]) == 0).nonzero().tolist() == [[0, 4], [0, 9], [1, 4], [1, 9]]
    assert features.told_apart(2, 2) == (2, 2)


def test_means_over_the_heads_of_a_layer_are_told_apart_by_layer():
    features = FeatureConfig(patterns=("rows", "columns"), heads="mean")
    assert features.told_apart(3, 4) == (3, 1)
    assert (features.without_heads(torch.ones(1, 6), [1]) == 0).nonzero().tolist() == [[0, 1], [0, 4]]


def test_an_expnet_without_heads_says_so():
    with pytest.raises(MismatchError, match=r"only patterns of whole tokens \(saliency\)"):
        FeatureConfig(patterns=("saliency",)).told_apart(2, 2)


def test_features_that_came_in_are_not_changed():
    for config in CONFIGS.values():
        encoding = CLASSIFIER.encode([Text.of("the good film")])
        _, features = read_features(CLASSIFIER, encoding, config.features, target=torch.tensor([0]))
        heads = features if isinstance(features, torch.Tensor) else features.heads
        before = heads.clone()
        logits_without_heads(random_network(replace(config)), config.features.window(features, 0, 5), [[0]])
        assert torch.equal(heads, before)
