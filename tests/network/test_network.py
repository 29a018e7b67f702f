"""The network by hand, on disk, and what it refuses."""

import json
from dataclasses import replace

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from expnet.attention.probe import Support
from expnet.errors import MismatchError, ModelError
from expnet.network.config import ExpNetConfig
from expnet.network.expnet import ExpNet
from expnet.network.features import FeatureConfig
from expnet.network.heads import HeadSetConfig
from expnet.network.sets import HeadFeatures
from tests.classifiers import HEAD_SET

CONFIG = ExpNetConfig(architecture="bert", layers=2, heads=3, hidden=(5, 4), provenance={"sources": ["x"], "seed": 1})


def network(config=CONFIG, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        built = ExpNet(config).eval()
    built.scale.fill_(1.5)
    built.bias.fill_(-0.5)
    return built


def test_scores_follow_the_formula():
    net = network(replace(CONFIG, context=1, hidden=(5,)))
    features = torch.randn(1, 4, 12, generator=torch.Generator().manual_seed(1))
    padded = torch.nn.functional.pad(features, (0, 0, 1, 1))
    weight, bias = net.first.weight, net.first.bias
    for token in range(4):
        # a convolution by hand: the token, its left and its right neighbour
        hidden = bias + sum(weight[:, :, k] @ padded[0, token + k] for k in range(3))
        logit = net.rest[-1].weight @ torch.nn.functional.gelu(hidden) + net.rest[-1].bias
        expected = 1 / (1 + torch.exp(-(1.5 * logit - 0.5)))
        assert_close(net.score(features)[0, token], expected[0], atol=1e-6, rtol=0)


def test_a_text_scores_the_same_alone_and_padded():
    net = network()
    features = torch.randn(1, 6, 12, generator=torch.Generator().manual_seed(2))
    batch = torch.cat([torch.nn.functional.pad(features, (0, 0, 0, 5)), torch.randn(1, 11, 12)])
    assert_close(net.score(batch)[0, :6], net.score(features)[0], atol=1e-6, rtol=0)


def test_the_default_network_is_small():
    parameters = sum(p.numel() for p in ExpNet(ExpNetConfig(architecture="bert", layers=12, heads=12)).parameters())
    assert parameters < 1_000_000


def test_a_saved_network_comes_back_bit_for_bit_with_a_card(tmp_path):
    net = network()
    net.save_pretrained(tmp_path)
    again = ExpNet.from_pretrained(tmp_path)
    features = torch.randn(2, 5, 12)
    assert again.config == net.config
    assert torch.equal(again.score(features), net.score(features))
    assert not again.training
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.library_name == "expnet"
    assert "| sources |" in card.content


@pytest.mark.parametrize(
    ("config", "source"),
    [
        (CONFIG, "the attention patterns of a classifier with 2 layers of 3 heads."),
        (replace(HEAD_SET, features=HeadSetConfig(tier="attention")), "the attention of the heads of any classifier."),
        (HEAD_SET, "the attention and gradients of the heads of any classifier."),
    ],
)
def test_a_card_says_what_is_read_and_lists_where_it_comes_from(config, source):
    provenance = {"texts": 3, "sources": ["a", "b|c"], "dev average_precision": 0.5}
    content = network(replace(config, provenance=provenance)).generate_model_card().content
    assert f"Scores the importance of each word from {source}\n" in content
    table = "| provenance | |\n|---|---|\n| dev average_precision | 0.5 |\n| sources | a, b\\|c |\n| texts | 3 |"
    assert f"which also chose its epoch and its threshold:\n\n{table}\n" in content
    bare = network(replace(config, provenance={"texts": 3})).generate_model_card().content
    assert "No text was held out" in bare


def test_push_to_hub_uploads_what_save_pretrained_writes(monkeypatch):
    uploaded = {}

    def create_repo(_self, repo_id, **_options):
        return type("Url", (), {"repo_id": repo_id})

    def upload_folder(_self, *, folder_path, repo_id, **_options):
        uploaded[repo_id] = sorted(path.name for path in folder_path.iterdir())

    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", create_repo)
    monkeypatch.setattr("huggingface_hub.HfApi.upload_folder", upload_folder)
    network().push_to_hub("someone/explainer")
    assert uploaded == {"someone/explainer": ["README.md", "config.json", "model.safetensors"]}


def test_a_network_says_what_differs_in_another_classifier():
    net = network()
    net.check_fits("bert", Support("first", "fused", 2, 3))
    with pytest.raises(MismatchError, match=r"layers 12 instead of 2, heads 4 instead of 3"):
        net.check_fits("bert", Support("first", "fused", 12, 4))
    with pytest.raises(MismatchError, match="architecture 'roberta' instead of 'bert'"):
        net.check_fits("roberta", Support("first", "fused", 2, 3))


def saved(tmp_path):
    network().save_pretrained(tmp_path)
    return tmp_path


def test_a_pickle_is_never_looked_for(tmp_path):
    folder = saved(tmp_path)
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"holds no model\.safetensors"):
        ExpNet.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 99}, "schema 1, got 99"),
        ({"surprise": 1}, "unknown fields \\['surprise'\\]"),
        ({"hidden": [7, 4]}, "do not fit its config"),
        ({"features": 3}, "features as an object, got int"),
        ({"features": {"patterns": ["rows"]}}, "lacks \\['floor', 'heads', 'normalise'\\]"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path, change, message):
    folder = saved(tmp_path)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(MismatchError, match=message):
        ExpNet.from_pretrained(folder)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalise": "none"}, "Not a valid FeatureConfig: normalise='none', expected text"),
        ({"floor": 0.001}, "Not a valid FeatureConfig: floor=0.001, expected 0.0001"),
    ],
)
def test_a_saved_network_with_a_setting_that_is_now_a_constant_is_refused(tmp_path, change, message):
    folder = saved(tmp_path)
    path = folder / "config.json"
    data = json.loads(path.read_text())
    assert data["features"] == {"patterns": ["rows", "columns"], "heads": "each", "normalise": "text", "floor": 1e-4}
    path.write_text(json.dumps(data | {"features": data["features"] | change}))
    with pytest.raises(MismatchError, match=message):
        ExpNet.from_pretrained(folder)


def test_missing_and_surplus_tensors_are_refused(tmp_path):
    folder = saved(tmp_path)
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor for name, tensor in weights.items() if name != "scale"}, folder / "model.safetensors")
    with pytest.raises(MismatchError, match="scale"):
        ExpNet.from_pretrained(folder)


@pytest.mark.parametrize(("file", "content"), [("config.json", b"{"), ("model.safetensors", b"no tensors")])
def test_damaged_files_are_refused(tmp_path, file, content):
    folder = saved(tmp_path)
    (folder / file).write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        ExpNet.from_pretrained(folder)


@pytest.mark.parametrize("name", ["no/such-repository", "not a name at all!"])
def test_a_name_that_is_nowhere_is_a_clear_error(name):
    with pytest.raises(ModelError, match="neither a folder nor a repository"):
        ExpNet.from_pretrained(name)


def test_a_feature_config_knows_its_width():
    assert FeatureConfig().width(6, 12) == 144
    assert FeatureConfig(heads="mean", patterns=("columns",)).width(6, 12) == 6


def set_of_heads(seed=1, tier="gradient"):
    config, generator = HeadSetConfig(tier=tier), torch.Generator().manual_seed(seed)
    return HeadFeatures(
        torch.randn(2, 5, 6, config.channels, generator=generator),
        torch.randn(2, 6, config.descriptors, generator=generator),
        torch.randn(2, 5, config.scalars, generator=generator),
        torch.ones(2, 6, dtype=torch.bool),
    )


@pytest.mark.parametrize("tier", ["attention", "gradient", "difference"])
def test_a_saved_network_over_sets_of_heads_comes_back_bit_for_bit(tmp_path, tier):
    net = network(replace(HEAD_SET, features=HeadSetConfig(tier=tier, summed=5)))
    net.save_pretrained(tmp_path)
    again = ExpNet.from_pretrained(tmp_path)
    assert again.config == net.config
    assert again.uses_target == (tier != "attention")
    assert torch.equal(again.score(set_of_heads(tier=tier)), net.score(set_of_heads(tier=tier)))
    assert "any classifier" in ModelCard.load(tmp_path / "README.md").content


def test_a_network_over_sets_of_heads_fits_every_classifier():
    for architecture, layers, heads in (("bert", 6, 12), ("mpnet", 12, 12), ("gpt2", 1, 1)):
        network(HEAD_SET).check_fits(architecture, Support("first", "fused", layers, heads))


def test_features_of_the_other_kind_are_refused():
    with pytest.raises(MismatchError, match="trained on features by FeatureConfig, got a HeadFeatures"):
        network().score(set_of_heads())
    with pytest.raises(MismatchError, match="trained on features by HeadSetConfig, got a Tensor"):
        network(HEAD_SET).score(torch.zeros(1, 4, 12))


def test_training_looks_at_a_part_of_the_heads_and_scoring_at_all():
    net = network(replace(HEAD_SET, dropout=0.0, feature_dropout=0.0))
    features = set_of_heads()
    parts = [net.gate.train()(features) for _ in range(20)]
    # of 6 heads 3 are left: 20 equal draws of the 20 there are would be a miracle
    assert max((part - parts[0]).abs().max() for part in parts) > 1e-3
    assert torch.equal(net.eval().gate(features), net.gate(features))


def test_a_network_over_sets_of_heads_is_small():
    assert sum(p.numel() for p in ExpNet(replace(HEAD_SET, hidden=(32,))).parameters()) < 10_000
