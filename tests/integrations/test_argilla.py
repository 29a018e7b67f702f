"""Explanations as records of Argilla, and back as marks once somebody has answered."""

import json
from dataclasses import replace

import pytest

import expnet
from expnet.errors import InputError
from expnet.explanation.result import Word
from expnet.rationales import read
from expnet.text.words import Span
from tests.classifiers import tiny_classifier, tiny_explainer

TEXT = "A dull, long film."


@pytest.fixture(scope="module")
def explanation():
    """Scores by hand: "dull" and "film" reach the threshold, "long" is above 0."""
    made = tiny_explainer(tiny_classifier()).explain(TEXT)
    scores = {"A": 0.0, "dull": 0.9, "long": 0.3, "film": 0.6}
    words = tuple(replace(word, score=scores[word.text]) for word in made.words if word.text in scores)
    return replace(made, words=words, threshold=0.5, calibrated=True)


def spans(record):
    return [TEXT[span["start"] : span["end"]] for span in record["suggestions"]["words"]["value"]]


def test_top_words_and_the_class_are_suggestions(explanation):
    record = expnet.argilla_record(explanation, id="r1")
    assert (record["id"], record["fields"], record["responses"]) == ("r1", {"text": TEXT}, {})
    assert record["suggestions"]["words"] == {
        "value": [
            {"start": 2, "end": 6, "label": "reason", "score": 0.9},
            {"start": 13, "end": 17, "label": "reason", "score": 0.6},
        ],
        "agent": "expnet",
    }
    label = {"value": explanation.label, "score": explanation.output, "agent": "expnet"}
    assert record["suggestions"]["label"] == label


def test_words_are_those_of_the_threshold_or_so_many_above_zero(explanation):
    assert spans(expnet.argilla_record(explanation, count=1)) == ["dull"]
    assert spans(expnet.argilla_record(explanation, count=9)) == ["dull", "long", "film"]
    assert spans(expnet.argilla_record(replace(explanation, threshold=None))) == ["dull", "long", "film"]
    with pytest.raises(InputError, match="at least 1, got 0"):
        expnet.argilla_record(explanation, count=0)


def test_scores_that_are_no_shares_pairs_and_values_are_left_out(explanation):
    free = expnet.argilla_record(replace(explanation, calibrated=False, kind="value"))
    assert all("score" not in span for span in free["suggestions"]["words"]["value"])
    assert "label" not in free["suggestions"]
    other = Word("dull", 0, 4, 1, 0.99)
    pair = expnet.argilla_record(replace(explanation, pair="dull", words=(*explanation.words, other)))
    assert pair["fields"] == {"text": TEXT, "pair": "dull"}
    assert spans(pair) == ["dull", "film"]
    blank = expnet.argilla_record(replace(explanation, words=()))
    assert set(blank["suggestions"]) == {"label"}


def answered(record):
    """What people answer: one accepts the suggestions, one marks nothing."""
    words, label = (record["suggestions"][name]["value"] for name in ("words", "label"))
    who = ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"]
    return record | {
        "responses": {
            "words": [{"user_id": who[0], "value": words}, {"user_id": who[1], "value": []}],
            "label": [{"user_id": one, "value": label} for one in who],
        }
    }


def check(path, explanation):
    record = read(path).records[0]
    assert (record.id, record.text.text, record.label) == ("r1", TEXT, explanation.label)
    assert [annotation.spans for annotation in record.annotations] == [(Span(2, 6), Span(13, 17)), ()]
    assert record.annotations[0].annotator.startswith("1111")


def test_what_people_accept_comes_back_as_marks(explanation, tmp_path):
    path = tmp_path / "marked.json"
    path.write_text(json.dumps([answered(expnet.argilla_record(explanation, id="r1"))]))
    check(path, explanation)


def test_argilla_itself_takes_the_record_and_gives_it_back(explanation, tmp_path):
    argilla = pytest.importorskip("argilla")
    from argilla.records._io import JsonIO

    ours = answered(expnet.argilla_record(explanation, id="r1"))
    theirs = argilla.Record.from_dict(ours)
    back = theirs.to_dict()
    assert {name: back[name] for name in ("id", "fields", "responses")} == {
        name: ours[name] for name in ("id", "fields", "responses")
    }
    assert back["suggestions"]["words"]["value"] == ours["suggestions"]["words"]["value"]
    assert back["suggestions"]["label"]["score"] == ours["suggestions"]["label"]["score"]
    theirs.suggestions["words"].api_model()  # what would be sent to a server is checked as it is made
    JsonIO.to_json([theirs], tmp_path / "marked.json")
    check(tmp_path / "marked.json", explanation)
