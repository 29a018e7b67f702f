"""Push to a hub and load by id: the same scores, a card that says what it learned from."""

from dataclasses import replace

import huggingface_hub
import pytest
import torch
from huggingface_hub import ModelCard

import expnet
from expnet import ExpNet
from expnet.errors import ModelError
from expnet.network.config import ExpNetConfig
from tests.classifiers import HEAD_SET, random_network, tiny_classifier, tiny_explainer
from tests.hub import LocalHub
from tests.models import build, save


@pytest.fixture
def hub(tmp_path, monkeypatch):
    return LocalHub(tmp_path / "hub", monkeypatch)


def test_a_classifier_and_its_explainer_load_by_their_ids(hub, tmp_path):
    own = tiny_explainer(tiny_classifier())
    assert own.network.push_to_hub("me/my-explainer") == "https://hub.example/me/my-explainer"
    huggingface_hub.HfApi().create_repo("org/classifier")
    huggingface_hub.HfApi().upload_folder(
        folder_path=save(tmp_path / "classifier", build("bert"), typed=True), repo_id="org/classifier"
    )
    loaded = expnet.load("org/classifier", explainer="me/my-explainer", device="cpu")
    explanation, expected = loaded.explain("a good film"), own.explain("a good film")
    assert [word.score for word in explanation.words] == pytest.approx(
        [word.score for word in expected.words], abs=1e-6
    )
    assert explanation.provenance["classifier"] == "org/classifier"
    assert explanation.provenance["explainer"] == "me/my-explainer"


def test_what_is_pushed_is_what_is_pulled_and_nothing_else(hub):
    network = random_network(HEAD_SET)
    network.push_to_hub("me/any")
    again = ExpNet.from_pretrained("me/any")
    assert again.config == network.config
    for name, weights in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], weights)
    assert sorted(path.name for path in hub.files("me/any").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]


def test_a_repository_with_a_pickle_instead_of_safetensors_is_refused(hub):
    random_network(HEAD_SET).push_to_hub("me/pickled")
    folder = hub.files("me/pickled")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"me/pickled is neither a folder nor a repository .* model\.safetensors"):
        ExpNet.from_pretrained("me/pickled")


def card_of(provenance, tmp_path):
    config = ExpNetConfig(architecture="bert", layers=2, heads=3, provenance=provenance)
    random_network(config).save_pretrained(tmp_path)
    return ModelCard.load(tmp_path / "README.md").content


def test_the_card_says_what_it_learned_from_how_well_and_where_it_ends(tmp_path):
    card = card_of({"sources": ["films/train"], "texts": 40, "dev texts": 9, "dev auroc": 0.75}, tmp_path)
    for line in ("| sources | films/train |", "| texts | 40 |", "| dev auroc | 0.75 |", "not what caused"):
        assert line in card
    assert "No text was held out" not in card


def test_the_card_tells_a_second_output_from_the_first(tmp_path):
    random_network(replace(HEAD_SET, used=True)).save_pretrained(tmp_path)
    card = ModelCard.load(tmp_path / "README.md").content
    assert "The second output (`--method expnet_used`) is how much the logit of the class depends on the word" in card
    assert "expnet_used" not in card_of({}, tmp_path / "one output")


def test_the_card_owns_up_where_nothing_was_held_out(tmp_path):
    assert "No text was held out" in card_of({"sources": ["films"], "texts": 16, "dev texts": 0}, tmp_path)


def test_names_cannot_break_the_card_s_table_or_bring_markup(tmp_path):
    card = card_of({"sources": ["a|b\n\n# New", "<img src=x onerror=alert(1)>"]}, tmp_path)
    (line,) = [line for line in card.splitlines() if line.startswith("| sources")]
    assert line == r"| sources | a\|b # New, &lt;img src=x onerror=alert(1)&gt; |"
