"""`expnet explain --heads`: the heads that an ExpNet listened to, in a terminal, on a page, as JSON."""

import json
import re

import pytest

import expnet
from expnet.errors import InputError
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.cli.test_explain_classes import run
from tests.models import build, save

TEXT = "the good film, another bad one"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    save(root / "classifier", build("bert"), typed=True)
    tiny_explainer(tiny_classifier()).network.save_pretrained(root / "explainer")
    return ["--model", str(root / "classifier"), "--explainer", str(root / "explainer")]


@pytest.fixture(scope="module")
def effects(folders):
    return expnet.explain_heads(expnet.load(folders[1], explainer=folders[3]), TEXT)


def rows_of(shown):
    """Numbers by layer, from a grid in a terminal, wherever its columns were cut."""
    rows = {}
    for layer, numbers in re.findall(r"^ *(\d+)((?: +[+-]\d+\.\d+)+)$", shown, re.MULTILINE):
        rows.setdefault(int(layer), []).extend(map(float, numbers.split()))
    return rows


def test_tokens_are_shown_instead_of_words_and_of_one_model_alone(folders):
    texts = ("explain", "good zebra", *folders, "--format", "json")
    words, tokens = (json.loads(run(*texts, *more))["words"] for more in ([], ["--tokens"]))
    assert [word["text"] for word in words] == ["good", "zebra"]
    assert tokens[0]["text"] == "good"
    assert "".join(token["text"] for token in tokens[1:]) == "zebra"
    assert len(tokens) > 2
    with pytest.raises(InputError, match="--tokens and --heads show one model"):
        run(*texts, "--model", "other", "--tokens")


@pytest.mark.parametrize("word", ["good", "1"])
def test_the_terminal_shows_the_explanation_and_the_heads_of_the_word(folders, effects, word):
    shown = run("explain", TEXT, *folders, "--heads", word)
    assert 'What each head did to the score of "good"' in shown
    assert str(effects.explanation.label) in shown
    rows = rows_of(shown)
    for layer, numbers in rows.items():
        assert numbers[:-1] == pytest.approx(effects.heads[1, layer], abs=5e-3)
        assert numbers[-1] == pytest.approx(effects.layers[1, layer], abs=5e-3)
    assert len(rows) == effects.heads.shape[1]
    first = effects.strongest(1)[0]
    assert f"Strongest: layer {first.layer} head {first.head} " in shown
    assert "Layers and heads count from 0." in shown


@pytest.mark.parametrize("width", [80, 30])
def test_a_narrow_terminal_cuts_the_columns_and_never_a_number(folders, effects, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = run("explain", TEXT, *folders, "--heads", "good")
    assert "\x1b[" in shown
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown)
    rows = rows_of(plain)
    assert [len(numbers) for numbers in rows.values()] == [effects.heads.shape[2] + 1] * effects.heads.shape[1]
    assert max(len(line) for line in plain.splitlines()) <= width


def test_a_page_and_json_hold_them_too(folders, effects, tmp_path):
    page = run("explain", TEXT, *folders, "--heads", "good", "--format", "html")
    assert page.count("<caption") == 3  # words, classes, heads
    assert page.count("<td") > effects.heads[1].size
    record = json.loads(run("explain", TEXT, *folders, "--heads", "good", "--format", "json"))
    assert record["heads"] == effects.to_dict()["heads"]
    run("explain", TEXT, *folders, "--heads", "good", "--output", tmp_path / "heads.txt")
    assert rows_of((tmp_path / "heads.txt").read_text()).keys() == {0, 1, 2}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--heads", "goof"], "Did you mean 'good'"),
        (["--heads", "7"], "whose 7 words are numbered from 0"),
        (["--heads", "good", "--method", "saliency"], "Expected expnet or"),
        (["--heads", "good", "--method", "expnet", "--method", "saliency"], "name one --method"),
        (["--heads", "good", "--method", "all"], "name one --method"),
        (["--heads", "good", "--target", "all"], "one --target"),
        (["--heads", "good", "--format", "svg"], "html, json, terminal, not as svg"),
    ],
)
def test_what_has_no_heads_is_refused(folders, more, message):
    with pytest.raises(InputError, match=message):
        run("explain", TEXT, *folders, *more)
