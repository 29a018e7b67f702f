"""The frozen result, by hand."""

import dataclasses
import json

import pytest

from expnet.errors import InputError
from expnet.explanation.result import Explanation, Word

WORDS = (Word("b", 0, 1, 0, 0.5), Word("a", 2, 3, 0, 0.9), Word("c", 0, 1, 1, 0.5, seen=False))
EXPLANATION = Explanation(
    text="b a",
    pair="c",
    words=WORDS,
    label="yes",
    output=0.75,
    outputs={"yes": 0.75, "no": 0.25},
    method="expnet",
    calibrated=True,
    threshold=0.6,
    provenance={"classifier": "x"},
)


def test_top_words_come_largest_first_and_equals_in_reading_order():
    assert [word.text for word in EXPLANATION.top(2)] == ["a", "b"]
    assert [word.text for word in EXPLANATION.top(9)] == ["a", "b", "c"]
    assert EXPLANATION.top(0) == ()


def test_an_explanation_survives_json():
    line = EXPLANATION.to_json()
    assert "\n" not in line
    assert Explanation.from_json(line) == EXPLANATION
    assert json.loads(line)["words"][1] == {"text": "a", "start": 2, "end": 3, "segment": 0, "score": 0.9, "seen": True}


def test_it_is_truncated_if_a_word_was_not_seen():
    assert EXPLANATION.truncated
    assert not dataclasses.replace(EXPLANATION, words=WORDS[:2]).truncated


def test_it_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        EXPLANATION.label = "no"


def test_a_score_that_is_no_number_is_not_written():
    broken = dataclasses.replace(EXPLANATION, words=(Word("b", 0, 1, 0, float("nan")),))
    with pytest.raises(ValueError, match="not JSON compliant"):
        broken.to_json()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Not valid JSON"),
        ("[]", "got list"),
        ("{}", "schema 1, got schema None"),
        ('{"schema": 2}', "schema 1, got schema 2"),
        ('{"schema": 1}', "Not a valid explanation: it lacks .*'words'"),
        (EXPLANATION.to_json().replace('"label"', '"lable"'), r"Not a valid explanation: .*'lab"),
        (EXPLANATION.to_json().replace('"score"', '"sc"'), r"Not a valid explanation: .*'sc"),
    ],
)
def test_what_is_no_explanation_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        Explanation.from_json(text)


def test_a_saved_page_opens_with_everything_in_it(tmp_path):
    EXPLANATION.save_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert EXPLANATION._repr_html_() == EXPLANATION.to_html()
    assert "75.0 %" in page
