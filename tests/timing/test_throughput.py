"""Texts a second are those of the clock, padding is counted at the model, and every way reads every text."""

import json

import pytest

from expnet.explainer import Explainer
from expnet.timing import clock, throughput
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.cli.test_cli import run

# 4 and 8 tokens with [CLS] and [SEP]: a batch in this order is padded by a fourth.
TEXTS = ["good film", "one two " + "good " * 4] * 3


@pytest.fixture
def explainer(monkeypatch) -> Explainer:
    """An explainer whose clock counts the tokens, padding included, that the model reads."""
    explainer, read = tiny_explainer(tiny_classifier()), [0]
    explainer.classifier.support  # noqa: B018

    def count(_module, _args, kwargs):
        read[0] += kwargs["input_ids"].numel()

    explainer.classifier.model.register_forward_pre_hook(count, with_kwargs=True)
    monkeypatch.setattr(clock.time, "perf_counter", lambda: float(read[0]))
    return explainer


def test_the_best_pipeline_is_compared_and_padding_and_ratios_are_those_counted_by_hand(explainer):
    lengths = [int(explainer.classifier.encode([throughput.Text.of(text)]).mask.sum()) for text in TEXTS[:2]]
    short, long = lengths
    assert short < long
    ways_by_name = {way.name: way for way in throughput.measure(explainer, TEXTS, rounds=3, batches=(2, 6))}
    assert list(ways_by_name) == ["pipeline, batches of 2", "predict, sorted by length", "explain"]
    piped, explained = ways_by_name["pipeline, batches of 2"], ways_by_name["explain"]
    assert piped.ratio == 1
    assert piped.padding == pytest.approx((long - short) / (2 * long))
    # all six go together: so few tokens are within the budget
    assert explained.padding == pytest.approx(piped.padding)
    assert explained.texts_per_second == pytest.approx(6 / (6 * long))
    assert explained.rounds == 3


def test_with_a_small_budget_like_lengths_go_together_and_nothing_is_padded(explainer):
    explainer.classifier.budget = 24
    ways_by_name = {way.name: way for way in throughput.measure(explainer, TEXTS, rounds=3, batches=(6,))}
    assert ways_by_name["explain"].padding == 0
    assert ways_by_name["explain"].ratio == ways_by_name["predict, sorted by length"].ratio > 1.2
    assert ways_by_name["pipeline, batches of 6"].padding > 0.1


def test_the_command_times_a_file_of_texts_and_an_exported_explainer_as_well(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    classifier = tiny_classifier()
    classifier.model.save_pretrained(tmp_path / "model")
    classifier.tokenizer.save_pretrained(tmp_path / "model")
    tiny_explainer(classifier).network.save_pretrained(tmp_path / "network")
    names = ("--model", tmp_path / "model", "--explainer", tmp_path / "network")
    run("export", names[1], *names[2:], "--output", tmp_path / "graph")
    (tmp_path / "texts.txt").write_text("good film\nbad text\none good film .\n")
    out, how = tmp_path / "out.json", ("--rounds", 3, "--texts", tmp_path / "texts.txt")
    shown = run("speed", names[1], *names[2:], *how, "--exported", tmp_path / "graph", "--output", out)
    report = json.loads(out.read_text())
    assert report["texts"] == 3
    ways = {way["name"]: way for way in report["ways"]}
    assert ways.keys() >= {"explain", "onnxruntime, explain", "onnxruntime, predict"}
    assert ways["onnxruntime, explain"]["padding"] is None
    assert "3 texts of 4 tokens (median)" in shown
    assert "| onnxruntime, predict |" in shown
