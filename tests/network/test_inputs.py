"""Each kind of input keeps what the protocol promises."""

import pytest
import torch
from torch.testing import assert_close

from expnet.errors import InputError
from expnet.network.config import ExpNetConfig
from expnet.network.expnet import ExpNet
from expnet.network.features import FeatureConfig
from expnet.network.heads import HeadSetConfig
from expnet.network.inputs import KINDS, NetworkInput, kind_of, read_features
from expnet.network.sets import HeadFeatures
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier

CLASSIFIER = tiny_classifier("bert")
TEXTS = ("a good film", "bad", "the first text is another one")
INPUTS = [
    FeatureConfig(),
    FeatureConfig(patterns=("received", "products", "saliency"), heads="mean"),
    HeadSetConfig(tier="attention"),
    HeadSetConfig(tier="gradient"),
    FeatureConfig(patterns=("columns", "grad_sam", "differences")),
    HeadSetConfig(tier="difference"),
]
every_input = pytest.mark.parametrize("config", INPUTS, ids=lambda config: f"{type(config).__name__} {config.tier}")


def read(config):
    encoding = CLASSIFIER.encode([Text.of(text) for text in TEXTS])
    target = torch.tensor([2, 0, 1]) if config.uses_target else None
    _, features = read_features(CLASSIFIER, encoding, config, target=target)
    lengths = encoding.mask.sum(1).tolist()
    return features, [config.window(features, row, length) for row, length in enumerate(lengths)], lengths


def assert_equal(one, two):
    if isinstance(one, HeadFeatures):
        for name in HeadFeatures.__slots__:
            assert_close(getattr(one, name), getattr(two, name), atol=0, rtol=0)
    else:
        assert_close(one, two, atol=0, rtol=0)


def test_the_cases_here_are_of_every_kind():
    assert {type(config) for config in INPUTS} == set(KINDS.values())
    assert all(isinstance(config, NetworkInput) for config in INPUTS)


@every_input
def test_features_are_of_the_type_that_the_input_holds(config):
    features, windows, _ = read(config)
    assert all(isinstance(one, config.holds) for one in (features, *windows))


@every_input
def test_windows_that_are_cut_from_a_batch_make_the_same_batch(config):
    features, windows, _ = read(config)
    assert_equal(config.collate(windows), features)


@every_input
def test_windows_in_half_precision_are_unpacked_as_they_were_packed(config):
    _, windows, lengths = read(config)
    halves = [window.half() for window in windows]
    packed = config.pack(halves)
    assert all(tensor.dtype == torch.float16 for tensor in packed.values())
    for one, two in zip(config.unpack(packed, lengths), halves, strict=True):
        assert_equal(one, two)


@every_input
def test_the_gate_gives_vectors_of_the_width_that_is_stated(config):
    features, _, lengths = read(config)
    vectors = config.new_gate(0.0)(features)
    assert vectors.shape == (len(TEXTS), max(lengths), config.width(3, 4))


@every_input
@pytest.mark.parametrize("tier", ["attention", "gradient", "difference"])
def test_the_tier_says_whether_a_target_is_needed(config, tier):
    changed = config.with_tier(tier)
    assert type(changed) is type(config)
    assert changed.tier == tier
    assert changed.uses_target == (tier != "attention")
    if changed.uses_target:
        with pytest.raises(InputError, match="pass a target for each window"):
            read_features(CLASSIFIER, CLASSIFIER.encode([Text.of("bad")]), changed)


@every_input
def test_a_network_is_stored_with_its_input_and_read_again(config, tmp_path):
    size = {"layers": 0, "heads": 0} if config.any_classifier else {"layers": 3, "heads": 4}
    network = ExpNet(ExpNetConfig(architecture="bert", features=config, **size)).eval()
    network.save_pretrained(tmp_path)
    again = ExpNet.from_pretrained(tmp_path)
    assert again.config == network.config
    features, _, _ = read(config)
    assert torch.equal(again.score(features), network.score(features))


def test_settings_in_a_file_tell_their_kind():
    assert kind_of({"tier": "attention", "gate": 24}) is HeadSetConfig
    assert kind_of({"patterns": ["rows"]}) is FeatureConfig
    assert kind_of({}) is FeatureConfig


def test_a_cache_is_shared_by_networks_that_see_the_same():
    assert HeadSetConfig(summed=3, gate=5, head_dropout=0.1).cached_by() == HeadSetConfig().cached_by()
    assert HeadSetConfig(tier="attention").cached_by() != HeadSetConfig().cached_by()
    assert FeatureConfig(heads="mean").cached_by() != FeatureConfig().cached_by()
