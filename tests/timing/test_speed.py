"""Timings are of what they say: lengths, rounds and ratios are counted, with a clock that ticks at each pass."""

import json
import math

import pytest
import torch

from expnet.errors import InputError
from expnet.explainer import Explainer
from expnet.network.universal import universal
from expnet.timing import clock
from expnet.timing import lengths as speed
from tests.classifiers import tiny_classifier
from tests.cli.test_cli import run

METHODS = {"expnet": {}, "generic_relevance": {}, "integrated_gradients": {"steps": 8}}


@pytest.fixture
def explainer(monkeypatch) -> Explainer:
    """An explainer whose clock counts the texts that pass through the model."""
    classifier = tiny_classifier()
    classifier.support  # noqa: B018  # found once, not while the clock ticks
    passed = [0]

    def count(_module, _args, kwargs):
        passed[0] += len(kwargs["input_ids"])

    classifier.model.register_forward_pre_hook(count, with_kwargs=True)
    monkeypatch.setattr(clock.time, "perf_counter", lambda: float(passed[0]))
    return Explainer(classifier, universal("attention"))


def test_texts_are_as_long_as_announced_special_tokens_included_or_a_word_shorter(explainer):
    for tokens in (20, 40):
        texts = speed.texts_of_length(explainer, tokens, 3)
        assert len(set(texts)) == 3
        lengths = explainer.classifier.encode([speed.Text.of(text) for text in texts]).mask.sum(1).tolist()
        assert all(tokens - len("gripping") < length <= tokens for length in lengths)
    with pytest.raises(InputError, match=r"reads \d+ tokens at most, got 9000"):
        speed.texts_of_length(explainer, 9000, 1)
    with pytest.raises(InputError, match="Not even a word fits in 2 tokens"):
        speed.texts_of_length(explainer, 2, 1)


def test_ratios_count_passes_and_who_is_slow_runs_less_often(explainer):
    timings = speed.measure(explainer, speed.sizes([16, 32], budget=64), rounds=10, methods=METHODS)
    assert [(timing.tokens, timing.batch) for timing in timings[::5]] == [(16, 4), (32, 2)]
    for timing in timings:
        passes = {"prediction": 1, "pipeline": 1, "expnet": 1, "generic_relevance": 1, "integrated_gradients": 9}
        # What reads one pass comes with the prediction (backward passes are not counted); the others have their own.
        assert timing.ratio == pytest.approx(passes[timing.name], rel=0.3)
        assert timing.rounds == (10 if timing.name != "integrated_gradients" else 4)
        assert math.isnan(timing.megabytes) or timing.megabytes > -50


def test_the_report_is_json_and_its_table_has_a_line_for_each_batch(explainer, tmp_path):
    report = speed.report(
        explainer, speed.measure(explainer, [(2, 16), (1, 16), (1, 32)], rounds=3, methods={"expnet": {}})
    )
    speed.write(report, tmp_path / "speed.json")
    again = json.loads((tmp_path / "speed.json").read_text())
    assert again["threads"] == torch.get_num_threads()
    lines = speed.table(again).splitlines()
    assert [line.split(" | ")[:2] for line in lines[-3:]] == [["| 16", "2"], ["| 16", "1"], ["| 32", "1"]]
    assert lines[-1].split(" | ")[3].startswith("1.0")


def test_the_command_measures_prints_writes_and_draws(tmp_path):
    pytest.importorskip("matplotlib")
    out, plot = tmp_path / "speed.json", tmp_path / "speed.png"
    shown = run("speed", "--tokens", "16,2x24,99999", "--rounds", 3, "--budget", 16, "--output", out, "--plot", plot)
    assert "| 16 | 1 |" in shown
    assert "| 24 | 2 |" in shown, "a batch may say how many texts it has, whatever the budget"
    assert {timing["name"] for timing in json.loads(out.read_text())["timings"]} >= {"prediction", "pipeline", "expnet"}
    assert plot.read_bytes().startswith(b"\x89PNG")
    for wrong in ("short", "2x", "2xx16", "0x16", "-1"):
        with pytest.raises(InputError, match=rf"such as 32,128,16x512, got '{wrong}'"):
            run("speed", f"--tokens={wrong}")


def test_the_axes_of_the_plot_say_plain_numbers():
    plots = pytest.importorskip("expnet.benchmark.present.plots")
    timings = [
        speed.Timing("expnet", tokens, 1, 1.0, ratio, ratio, ratio, 1, 0.0)
        for tokens, ratio in ((16, 2.0), (2048, 90.0))
    ]
    figure = plots.cost_by_length(timings)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["16", "2,048"]
    assert {"1", "10", "100"} <= {label.get_text() for label in axes.get_yticklabels()}


def test_a_regression_with_several_outputs_is_timed_with_one_named():
    names = {0: "stars", 1: "length", 2: "age"}
    several = Explainer(tiny_classifier(problem_type="regression", id2label=names), universal("attention"))
    with pytest.raises(InputError, match="regression with 3 outputs"):
        speed.measure(several, [(1, 16)], rounds=3, methods={"expnet": {}})
    timings = speed.measure(several, [(1, 16)], rounds=3, methods={"expnet": {}, "saliency": {}}, target="age")
    assert [timing.name for timing in timings] == ["prediction", "pipeline", "expnet", "saliency"]
