"""Several models, or several explainers of one, on the command line."""

import json

import pytest

from expnet.cli.explain import _names, _paired
from expnet.errors import InputError
from expnet.explainer import Explainer
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.cli.test_explain_classes import run
from tests.models import build, save

TEXT = "the good film"
TWICE = ["--model", "a", "--model", "b"]
NAMES = {0: "good", 1: "bad", 2: "neither"}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two tiny classifiers and two explainers for either, on disk."""
    root = tmp_path_factory.mktemp("models")
    for number, name in enumerate(("small", "large")):
        save(root / name, build("bert", seed=number, id2label=NAMES), typed=True)
        tiny_explainer(tiny_classifier(), seed=number).network.save_pretrained(root / f"explainer-{name}")
    return root


def asked(models, *kinds):
    return [part for option, name in kinds for part in (option, str(models / name))]


TWO = (("--model", "small"), ("--model", "large"), ("--explainer", "explainer-small"))


def test_two_models_have_a_row_each_with_their_predictions_and_a_caption(models, tmp_path):
    shown = run("explain", TEXT, *asked(models, *TWO))
    assert shown.startswith("small and large\n")
    assert "expnet (small): " in shown
    assert "expnet (large): " in shown
    assert "All scores are on one scale, from 0 to 1" in shown
    run("explain", TEXT, *asked(models, *TWO), "--format", "html", "--output", tmp_path / "page.html")
    assert "expnet (large)" in (tmp_path / "page.html").read_text()

    assert run("explain", TEXT, *asked(models, *TWO), "--format", "markdown").count("expnet (large)") == 1


def test_each_model_gives_what_it_gives_alone(models):
    lines = run("explain", TEXT, *asked(models, *TWO), "--format", "json").splitlines()
    alone = [
        run("explain", TEXT, *asked(models, ("--model", name), TWO[2]), "--format", "json").strip()
        for name in ("small", "large")
    ]
    assert [json.loads(line) for line in lines] == [json.loads(line) for line in alone]
    assert lines[0] != lines[1]


def test_two_explainers_of_one_model_are_told_apart_by_their_own_names(models):
    kinds = (("--model", "small"), ("--explainer", "explainer-small"), ("--explainer", "explainer-large"))
    shown = run("explain", TEXT, *asked(models, *kinds))
    assert "expnet (explainer-small): " in shown
    assert "expnet (explainer-large): " in shown
    assert "All predict " in shown, "it is one model"


@pytest.mark.parametrize(
    ("models", "explainers", "pairs"),
    [
        (["a"], [], [("a", None)]),
        (["a", "b"], [], [("a", None), ("b", None)]),
        (["a", "b"], ["x"], [("a", "x"), ("b", "x")]),
        (["a", "b"], ["x", "y"], [("a", "x"), ("b", "y")]),
        (["a"], ["x", "y"], [("a", "x"), ("a", "y")]),
    ],
)
def test_models_and_explainers_are_paired(models, explainers, pairs):
    assert _paired(models, explainers) == pairs


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([("m/a", "x"), ("m/b", "x")], ["a", "b"]),
        ([("m/a", "x"), ("n/a", "x")], ["m/a", "n/a"]),
        ([("m/a", "e/x"), ("m/a", "e/y")], ["x", "y"]),
        ([("m/a", "x"), ("m/a", "y"), ("m/b", "y")], ["a with x", "a with y", "b with y"]),
        ([("m/a", "x")], [""]),
    ],
)
def test_the_shortest_name_that_tells_them_apart_is_shown(names, told):
    classifiers = {model: tiny_classifier() for model, _ in names}
    for model, classifier in classifiers.items():
        classifier.name = model
    assert _names([Explainer(classifiers[model], None, name=name) for model, name in names]) == told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model", "a", "--model", "b", "--explainer", "x", "--explainer", "y", "--explainer", "z"],
            "2 models and 3",
        ),
        (["--model", "a", "--model", "a"], "given twice"),
        (["--model", "a", "--model", "b", "--revision", "v1"], "belong to one model"),
        (["--model", "a", "--model", "b", "--target", "all"], "one model with one explainer"),
        (["--model", "a", "--model", "b", "--heads", "good"], "one model with one explainer"),
    ],
)
def test_what_several_models_cannot_have_is_said_before_they_are_loaded(arguments, message):
    with pytest.raises(InputError, match=message):
        run("explain", TEXT, *arguments)
