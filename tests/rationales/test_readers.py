"""Every format becomes the same records, and everything wrong in a file is reported by file and line."""

import csv
import gzip
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expnet.errors import MissingExtraError, RationaleError
from expnet.rationales import FORMATS, Annotation, Record, read, read_dataset
from expnet.rationales.fields import spelled
from expnet.rationales.problems import RowError
from expnet.rationales.readers.shared import parse_record
from expnet.rationales.readers.table import recognise
from expnet.rationales.votes import agree, majority_label, runs
from expnet.text.texts import Text
from expnet.text.words import Span

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the shared rationale sets are not at {DATA}")


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def table(path: Path, *rows: dict) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def document(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content, indent=1))
    return path


def shared_rows(name: str) -> list[dict]:
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


def marked(record: Record, spans=None) -> list[str]:
    return [record.text.word(span) for span in (record.rationale if spans is None else spans)]


def people(record: Record) -> list[tuple]:
    return [(a.annotator, marked(record, a.spans), a.label) for a in record.annotations]


# HateXplain

POSTS = {
    "1_gab": {
        "post_id": "1_gab",
        "annotators": [
            {"label": "offensive", "annotator_id": 4, "target": ["None"]},
            {"label": "normal", "annotator_id": 7, "target": ["None"]},
            {"label": "offensive", "annotator_id": 9, "target": ["None"]},
        ],
        "rationales": [[0, 1, 1], [0, 0, 1]],
        "post_tokens": ["you", "utter", "turnip"],
    },
    "2_gab": {
        "post_id": "2_gab",
        "annotators": [{"label": label, "annotator_id": 1} for label in ("normal", "offensive", "normal")],
        "rationales": [[1, 0]],
        "post_tokens": ["nice", "day"],
    },
    "3_gab": {
        "post_id": "3_gab",
        "annotators": [{"label": label, "annotator_id": 1} for label in ("normal", "offensive", "hatespeech")],
        "rationales": [],
        "post_tokens": ["hm"],
    },
}


def test_hatexplain_by_hand(tmp_path):
    path = document(tmp_path / "dataset.json", POSTS)
    first, normal, undecided = read(path).records
    assert (first.id, first.text.text, first.label) == ("1_gab", "you utter turnip", "offensive")
    # Who finds a post normal marks nothing: the two lists belong to the other two.
    assert people(first) == [("4", ["utter", "turnip"], "offensive"), ("9", ["turnip"], "offensive")]
    assert first.word_marks() == (False, True, True)
    assert (normal.label, normal.rationale, people(normal)) == ("normal", None, [("1", ["nice"], "offensive")])
    assert (undecided.label, undecided.rationale) == (None, None)
    assert read(path, rationale="majority").records[0].word_marks() == (False, False, True)


def test_hatexplain_splits_are_the_authors_and_leave_out_the_undecided(tmp_path):
    path = document(tmp_path / "dataset.json", POSTS)
    with pytest.raises(RationaleError, match=r"post_id_divisions\.json, which cannot be read"):
        read(path, split="test")
    document(tmp_path / "post_id_divisions.json", {"train": ["2_gab"], "test": ["1_gab", "9_gab"]})
    assert [record.id for record in read(path, split="train").records] == ["2_gab"]
    reading = read(path, split="test", on_error="skip")
    assert [record.id for record in reading.records] == ["1_gab"]
    assert [problem.reason for problem in reading.problems] == [
        "the split 'test' names '9_gab', which is not in the file"
    ]
    with pytest.raises(RationaleError, match=r"no split 'dev' .* Splits: train, test\."):
        read(path, split="dev")


def test_hatexplain_posts_know_their_lines_and_their_faults(tmp_path):
    broken = {
        "a": POSTS["1_gab"] | {"rationales": [[0, 1, 1], [0, 0]]},
        "b": POSTS["1_gab"] | {"annotators": [{"label": None}]},
        "c": POSTS["1_gab"] | {"post_tokens": None},
        "d": ["no object"],
    }
    path = document(tmp_path / "dataset.json", broken)
    lines = path.read_text().splitlines()
    problems = read(path, format="hatexplain", on_error="skip").problems
    assert [lines[problem.line - 1].split('"')[1] for problem in problems] == list("abcd")
    assert [problem.kind for problem in problems] == ["marks", "label", "field", "field"]
    assert "'rationales' holds 2 marks for 3 words" in problems[0].reason


def test_hatexplain_marks_that_may_be_anybody_s_are_nobody_s(tmp_path):
    post = POSTS["1_gab"] | {"rationales": [[0, 1, 1]]}
    assert people(read(document(tmp_path / "dataset.json", {"a": post})).records[0]) == [
        ("1", ["utter", "turnip"], None)
    ]


@needs_data
def test_hatexplain_gives_the_shared_unions_and_majorities(tmp_path):
    rows = shared_rows("hatexplain/val")
    posts = {
        row["id"]: {
            "annotators": [{"label": label, "annotator_id": n} for n, label in enumerate(row["annotator_labels"])],
            "rationales": row.get("annotators", []),
            "post_tokens": row["tokens"],
        }
        for row in rows
    }
    path = document(tmp_path / "dataset.json", posts)
    for rule, field in (("union", "rationale"), ("majority", "rationale_majority")):
        reading = read(path, rationale=rule, on_error="skip")
        assert reading.problems == []
        assert [record.label for record in reading.records] == [row["label"] for row in rows]
        marks = [None if r.rationale is None else [int(mark) for mark in r.word_marks()] for r in reading.records]
        assert marks == [row.get(field) for row in rows]


# ERASER


def eraser(folder: Path, *rows: object) -> Path:
    (folder / "docs").mkdir()
    (folder / "docs" / "r1.txt").write_text("a dull film .\nno plot , no fun .\n")
    (folder / "docs" / "7_premise").write_text("two men sleep")
    (folder / "docs" / "7_hypothesis").write_text("nobody is awake")
    return jsonl(folder / "train.jsonl", *rows)


REVIEW = {
    "annotation_id": "r1.txt",
    "classification": "NEG",
    "query": "What is the sentiment of this review?",
    "evidences": [
        [{"docid": "r1.txt", "start_token": 1, "end_token": 2, "text": "dull"}],
        [{"docid": "r1.txt", "start_token": 4, "end_token": 6, "text": "no plot"}],
    ],
}


def test_eraser_by_hand(tmp_path):
    path = eraser(tmp_path, REVIEW, REVIEW | {"annotation_id": "2", "docids": ["r1.txt"], "evidences": []})
    first, second = read(path).records
    assert first.text == Text.from_words(
        ["a", "dull", "film", ".", "no", "plot", ",", "no", "fun", "."]
    )  # a query asked of all says nothing
    assert (first.id, first.label, marked(first)) == ("r1.txt", "NEG", ["dull", "no plot"])
    assert sum(first.word_marks()) == 3
    assert (second.text, second.rationale) == (first.text, None)


def test_eraser_queries_that_differ_and_premise_and_hypothesis_become_pairs(tmp_path):
    evidence = [[{"docid": "7_hypothesis", "start_token": 0, "end_token": 1, "text": "nobody"}]]
    pair = {"annotation_id": "7", "classification": "contradiction", "evidences": evidence, "query": "is it so ?"}
    both, asked = read(eraser(tmp_path, pair, REVIEW)).records
    assert (both.text.text, both.text.pair) == ("two men sleep", "nobody is awake")
    assert both.rationale == (Span(0, 6, 1),)
    assert asked.text.pair == REVIEW["query"]


def test_eraser_documents_may_stand_in_one_file(tmp_path):
    jsonl(tmp_path / "docs.jsonl", {"docid": "r1.txt", "document": "a dull film .\nno plot , no fun ."})
    assert marked(read(jsonl(tmp_path / "val.jsonl", REVIEW)).records[0]) == ["dull", "no plot"]


def test_eraser_faults_are_reported(tmp_path):
    def with_evidence(number, **fields):
        piece = {"docid": "r1.txt", "start_token": 1, "end_token": 2} | fields
        return REVIEW | {"annotation_id": str(number), "evidences": [[piece]]}

    path = eraser(
        tmp_path,
        with_evidence(1, text="dreary"),
        with_evidence(2, end_token=11),
        with_evidence(3, docid="../train.jsonl"),
        REVIEW | {"annotation_id": "4", "docids": ["r1.txt", "r2.txt"]},
    )
    reading = read(path, on_error="skip")
    assert reading.records == []
    assert [(problem.line, problem.kind) for problem in reading.problems] == [
        (1, "marks"), (2, "marks"), (3, "field"), (4, "field"),
    ]  # fmt: skip
    reasons = [problem.reason for problem in reading.problems]
    assert reasons[0] == "the mark 2:6 should be 'dreary', but the text has 'dull' there"
    assert reasons[1] == "the evidence 1:11 lies outside the document of 10 tokens"
    assert "there is no document '../train.jsonl'" in reasons[2]
    assert "the evidence lies in 2 documents (r1.txt, r2.txt)" in reasons[3]
    with pytest.raises(RationaleError, match=r"docs or .*docs\.jsonl, but neither"):
        read(jsonl(tmp_path / "docs" / "alone.jsonl", REVIEW))


@needs_data
def test_eraser_gives_the_shared_marks_of_movies(tmp_path):
    rows = shared_rows("movies/val")[:20]
    (tmp_path / "docs").mkdir()
    for row in rows:
        (tmp_path / "docs" / row["id"]).write_text(" ".join(row["tokens"]))

    def evidence(row):
        on = [place for place, flag in enumerate(row["rationale"]) if flag]
        return [[{"docid": row["id"], "start_token": p, "end_token": p + 1, "text": row["tokens"][p]}] for p in on]

    given = [{"annotation_id": r["id"], "classification": r["label"], "evidences": evidence(r)} for r in rows]
    records = read(jsonl(tmp_path / "val.jsonl", *given)).records
    assert [[int(mark) for mark in record.word_marks()] for record in records] == [row["rationale"] for row in rows]


# e-SNLI

PAIR = {
    "pairID": "9#r1", "gold_label": "contradiction", "Sentence1": "Two men  sleep.", "Sentence2": "Nobody *is* awake.",
    "Sentence1_marked_1": "*Two* men *sleep.*", "Sentence2_marked_1": "*Nobody* *is* awake.",
    "Sentence1_marked_2": "Two men sleep.", "Sentence2_marked_2": "Nobody **is** awake.",
    "Sentence1_marked_3": "", "Sentence2_marked_3": "",
}  # fmt: skip


def test_esnli_by_hand(tmp_path):
    path = table(tmp_path / "esnli_dev.csv", PAIR)
    record = read(path).records[0]
    assert (record.id, record.label) == ("9#r1", "contradiction")
    assert record.text == Text.of("Two men  sleep.", "Nobody *is* awake.")
    # A star of the sentence's own is no mark: the first annotator marked "Nobody", the second "*is*".
    assert people(record) == [("1", ["Two", "sleep.", "Nobody"], None), ("2", ["*is*"], None)]
    assert record.annotations[1].spans == (Span(7, 11, 1),)
    assert marked(record) == ["Two", "sleep.", "Nobody", "*is*"]
    assert read(path, rationale="majority").records[0].rationale == ()


def test_esnli_words_that_do_not_fit_are_reported(tmp_path):
    path = table(
        tmp_path / "esnli.csv",
        PAIR | {"Sentence1_marked_1": "*Two* men"},
        PAIR | {"pairID": "b", "Sentence1_marked_1": "*Two* women *sleep.*"},
    )
    problems = read(path, on_error="skip").problems
    assert [(p.line, p.kind, p.reason) for p in problems] == [
        (2, "tokens", "2 words in the marked sentence, 3 in the sentence"),
        (3, "tokens", "the marked sentence has 'women' where the sentence has 'men'"),
    ]


# Trees


def test_trees_by_hand(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text(
        "(3 (2 It) (3 (2 's) (4 (2 a) (3 (3 (3 lovely) (2 ,)) (2 (2 dull) (2 film))))))\n"
        "(1 (2 a) (1 (2 (2 quiet) (2 -LRB-)) (0 (1 not) (2 actor\\/director))))\n"
        "(2 (3 good) (1 bad))\n"
        "(4 (2 (2 a) (2 b)) (2 (2 c) (2 (2 d) (2 (2 e) (2 f)))))\n"
    )
    lovely, bad, neutral, long = read(path).records
    assert (lovely.text.text, lovely.label, marked(lovely)) == ("It 's a lovely , dull film", "positive", ["lovely"])
    assert (bad.text.text, bad.label, marked(bad)) == ("a quiet ( not actor/director", "negative", ["not"])
    assert (neutral.label, neutral.rationale) == ("neutral", None)
    assert (long.label, long.rationale) == ("positive", None)  # the only positive phrase has six words


def test_trees_mark_a_phrase_where_none_of_its_words_is_enough_but_no_punctuation(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("(4 (2 watch) (3 (2 it) (2 (2 now) (2 !))))\n")
    assert marked(read(path).records[0]) == ["it", "now"]


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        ("(3 (2 a) (3 b)", "1 brackets are not closed"),
        ("(3 a))", r"got '\)' outside of it"),
        ("(3 a) (3 b)", "in one tree, got '3'"),
        ("(7 a)", "a label from 0 to 4 .* got '7'"),
        ("(3 (2) (3))", "no tree"),
    ],
)
def test_trees_that_are_broken_are_reported(tmp_path, tree, reason):
    path = tmp_path / "train.txt"
    path.write_text(f"(3 fine)\n{tree}\n")
    reading = read(path, on_error="skip")
    assert [record.text.text for record in reading.records] == ["fine"]
    assert re.search(reason, reading.problems[0].reason)
    assert reading.problems[0].line == 2


# ToxicSpans


def test_toxic_spans_by_hand(tmp_path):
    path = table(
        tmp_path / "tsd.csv",
        {"spans": "[9, 10, 11, 12, 13, 0, 1, 2]", "text": 'You\n"are" a fool'},
        {"spans": "[]", "text": "fine"},
        {"spans": "[3, 4]", "text": "oops"},
        {"spans": "__import__('os')", "text": "code"},
    )
    reading = read(path, on_error="skip")
    first, second = reading.records
    # The post starts in line 2 and goes on in line 3.
    assert (first.id, second.id, first.label) == ("2", "4", "toxic")
    assert first.rationale == (Span(0, 3), Span(9, 14))
    assert second.rationale == ()
    assert [(problem.line, problem.kind) for problem in reading.problems] == [(5, "marks"), (6, "marks")]
    assert "mark 3:5 lies outside the text of 4" in reading.problems[0].reason


def test_toxic_spans_shares_become_a_union_or_a_majority(tmp_path):
    path = table(
        tmp_path / "toxic_spans.csv",
        {"position": "[2]", "position_probability": "{0: 0.34, 1: 0.5, 2: 0.67}", "text_of_post": "abc"},
    )
    assert read(path).records[0].rationale == (Span(0, 3),)
    assert read(path, rationale="majority").records[0].rationale == (Span(2, 3),)


# FairRationales


def fair(text_id, group, sentence, index, binary, label="positive", original="positive"):
    return {
        "text_id": text_id, "sentence": sentence, "original_label": original, "label": label, "label_index": "2",
        "rationale_index": index, "group_id": group, "rationale_binary": binary,
    }  # fmt: skip


def test_fair_rationales_join_the_answers_to_a_text(tmp_path):
    path = table(
        tmp_path / "SST_all.csv",
        fair("7", "BO", "A fine, fine film.", "[1, 2]", "[0, 1, 1, 0]"),
        fair("8", "BO", "Hm.", "[]", "[0]", label="negative"),
        fair("7", "WY", "A fine, fine film.", "[2]", "[0, 0, 1, 0]"),
        fair("7", "WY", "A fine, fine film.", "[0]", "[1, 0, 0, 0]", label="negative"),
    )
    reading = read(path)
    first, second = reading.records
    assert (first.id, first.label, reading.lines) == ("7", "positive", [2, 3])
    assert people(first) == [
        ("BO", ["fine,", "fine"], "positive"), ("WY", ["fine"], "positive"), ("WY#2", ["A"], "negative"),
    ]  # fmt: skip
    assert first.word_marks() == (False, True, True, False)  # who found it negative gave no reason for positive
    assert read(path, rationale="majority").records[0].word_marks() == (False, False, True, False)
    assert second.rationale is None


def test_fair_rationales_count_from_one_before_exclusions_and_answers_by_letter(tmp_path):
    row = fair("1", "BO", "Where is it ?", "3.0", "", label="desk", original="B")
    path = table(tmp_path / "BO_all.csv", {key: value for key, value in row.items() if key != "rationale_binary"})
    record = read(path).records[0]
    assert (people(record), marked(record), record.label) == ([("BO", ["it"], "B")], ["it"], "B")


def test_fair_rationales_that_contradict_themselves_are_reported(tmp_path):
    path = table(
        tmp_path / "SST.csv",
        fair("1", "BO", "a b", "[1]", "[1, 0]"),
        fair("2", "BO", "a b", "[1]", "[0, 1, 0]"),
        fair("3", "BO", "a b", "[x]", "[0, 1]"),
        fair("4", "BO", "a b", "[1]", "[0, 1]"),
        fair("4", "BY", "a c", "[1]", "[0, 1]"),
    )
    reading = read(path, on_error="skip")
    assert [record.id for record in reading.records] == ["4"]
    assert [(p.line, p.id, p.kind) for p in reading.problems] == [
        (2, None, "marks"), (3, None, "marks"), (4, None, "marks"), (6, "4", "id"),
    ]  # fmt: skip
    assert "'4' was used before, at line 5, for another text" in reading.problems[3].reason


@needs_data
def test_fair_rationales_give_the_shared_annotators(tmp_path):
    rows = shared_rows("fair_sst/test")
    answers = [
        fair(
            row["id"], group, " ".join(row["tokens"]), [n for n, f in enumerate(flags) if f], flags, label, row["label"]
        )
        for row in rows
        for flags, label, group in zip(row["annotators"], row["annotator_labels"], row["annotator_groups"], strict=True)
    ]
    records = read(table(tmp_path / "SST.csv", *answers)).records
    shared = read(DATA / "fair_sst" / "test.jsonl.gz").records
    assert [record.text for record in records] == [record.text for record in shared]
    for record, other in zip(records, shared, strict=True):
        assert [a.label for a in record.annotations] == [a.label for a in other.annotations]
        for mine, theirs in zip(record.annotations, other.annotations, strict=True):
            assert record.word_marks(mine.spans) == other.word_marks(theirs.spans)


# Exports


def task(**fields):
    def span(start, end, text):
        value = {"start": start, "end": end, "text": text, "labels": ["reason"]}
        return {"type": "labels", "from_name": "label", "to_name": "text", "value": value}

    choice = {"type": "choices", "from_name": "tone", "to_name": "text", "value": {"choices": ["bad"]}}
    annotations = [
        {"completed_by": 1, "result": [span(2, 6, "dull"), choice], "was_cancelled": False},
        {"completed_by": {"id": 2, "email": "b@example.org"}, "result": [span(0, 6, "A dull"), choice]},
        {"completed_by": 3, "result": [span(7, 11, "film")], "was_cancelled": True},
    ]
    return {"id": 5, "data": {"text": "A dull film."}, "annotations": annotations, "predictions": []} | fields


def test_label_studio_by_hand(tmp_path):
    path = document(tmp_path / "export.json", [task(), task(id=6, annotations=[])])
    first, nobody = read(path).records
    assert (first.id, first.text, first.label) == ("5", Text.of("A dull film."), "bad")
    assert people(first) == [("1", ["dull"], "bad"), ("b@example.org", ["A dull"], "bad")]
    assert marked(first) == ["A dull"]
    assert marked(read(path, rationale="majority").records[0]) == ["dull"]
    assert (nobody.rationale, nobody.annotations) == (None, ())


def test_label_studio_min_joins_a_text_s_annotations(tmp_path):
    mark = {"start": 2, "end": 6, "text": "dull", "labels": ["reason"]}
    row = {"text": "A dull film.", "id": 5, "label": [mark], "tone": "bad", "annotator": 1, "annotation_id": 11,
           "created_at": "2024-01-01", "updated_at": "2024-01-01", "lead_time": 3.5}  # fmt: skip
    path = document(
        tmp_path / "min.json", [row, row | {"annotator": 2, "annotation_id": 12, "label": [], "tone": "good"}]
    )
    record = read(path).records[0]
    assert people(record) == [("1", ["dull"], "bad"), ("2", [], "good")]
    assert (record.label, marked(record)) == (None, ["dull"])  # one against one is no majority


def test_label_studio_marks_that_are_not_what_they_quote_are_reported(tmp_path):
    wrong = {"value": {"start": 1, "end": 5, "text": "dull", "labels": ["x"]}}
    page = {"value": {"start": "/p[1]/text()[1]", "end": "/p[1]/text()[1]", "startOffset": 2, "labels": ["x"]}}
    tasks = [task(annotations=[{"completed_by": 1, "result": [result]}]) for result in (wrong, page)]
    problems = read(document(tmp_path / "export.json", tasks), on_error="skip").problems
    assert problems[0].reason == "the mark 1:5 should be 'dull', but the text has ' dul' there"
    assert "expected character offsets in 'start' and 'end', got '/p[1]/text()[1]'" in problems[1].reason


def argilla(**fields):
    words = [{"user_id": "u1", "value": [{"start": 2, "end": 6, "label": "reason"}]}, {"user_id": "u2", "value": []}]
    tone = [{"user_id": "u1", "value": "bad"}, {"user_id": "u2", "value": "bad"}, {"user_id": "u3", "value": "good"}]
    suggested = {"words": {"value": [{"start": 0, "end": 1, "label": "reason"}], "agent": "expnet", "score": None}}
    return {
        "id": "r1", "fields": {"text": "A dull film."}, "metadata": {}, "suggestions": suggested, "vectors": {},
        "responses": {"words": words, "tone": tone}, "status": "completed", "_server_id": None,
    } | fields  # fmt: skip


def test_argilla_by_hand(tmp_path):
    unanswered = argilla(id="r2", responses={})
    nothing = argilla(id="r3", responses={"words": [{"user_id": "u1", "value": []}]}, suggestions={})
    first, second, third = read(document(tmp_path / "a.json", [argilla(), unanswered, nothing])).records
    assert (first.id, first.text, first.label) == ("r1", Text.of("A dull film."), "bad")
    # Who was not asked for words, or answered nothing, says nothing; an empty answer says that there is no reason.
    assert people(first) == [("u1", ["dull"], "bad"), ("u2", [], "bad")]
    assert marked(first) == ["dull"]
    assert (second.rationale, second.annotations, second.label) == (None, (), None)
    assert people(third) == [("u1", [], None)]


def test_argilla_s_fields_and_label_can_be_named(tmp_path):
    said = argilla()["responses"] | {"comment": [{"user_id": "u1", "value": "Well."}]}
    row = argilla(fields={"review": "A dull film.", "reply": "No!"}, responses=said)
    path = document(tmp_path / "a.json", [row])
    assert "say text=FIELD" in read(path, on_error="skip").problems[0].reason
    record = read(path, text="review", pair="reply", choice="tone").records[0]
    assert (record.text, record.label, record.part) == (Text.of("A dull film.", "No!"), "bad", 0)
    assert read(path, text="review").records[0].label is None  # two questions have answers in words


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"fields": "A dull film."}, "expected 'fields' to be an object, got str"),
        ({"responses": {"words": "dull"}}, "expected 'words' to be a list of objects, got str"),
        ({"responses": {"words": [{"value": [{"start": 2, "end": 60}]}]}}, "lies outside the text of 12 characters"),
        ({"responses": {"words": [{"value": [{"start": "2", "end": 6}]}]}}, "expected character offsets"),
        ({"fields": {"text": "😀 dull film."}}, "offsets count UTF-16 units or characters"),
    ],
)
def test_argilla_s_records_that_cannot_be_read_are_reported(tmp_path, fields, reason):
    problems = read(document(tmp_path / "a.json", [argilla(), argilla(**fields)]), on_error="skip").problems
    assert len(problems) == 1
    assert reason in problems[0].reason


def test_doccano_by_hand(tmp_path):
    spans = {"id": 3, "text": "A dull film.", "label": [[2, 6, "reason"]], "Comments": []}
    entities = {"id": 4, "text": "No.", "entities": [{"id": 1, "label": "x", "start_offset": 0, "end_offset": 2}]}
    intent = {"id": 5, "text": "No.", "entities": [[0, 2, "x"]], "cats": ["bad"]}
    older = {"id": 6, "text": "No.", "annotations": [{"label": 1, "start_offset": 0, "end_offset": 2, "user": 8}]}
    records = read(jsonl(tmp_path / "anna.jsonl", spans, entities, intent, older)).records
    assert [people(record) for record in records] == [
        [("anna", ["dull"], None)], [("anna", ["No"], None)], [("anna", ["No"], "bad")], [("8", ["No"], None)],
    ]  # fmt: skip
    assert [record.label for record in records] == [None, None, "bad", None]


def test_a_folder_of_doccano_files_is_one_set_of_several_annotators(tmp_path):
    for who, marks in (("anna", [[2, 6, "x"]]), ("bo", [[0, 6, "x"]]), ("cy", [])):
        jsonl(tmp_path / f"{who}.jsonl", {"id": 3, "text": "A dull film.", "label": marks})
    record = read(tmp_path, format="doccano", rationale="majority").records[0]
    assert people(record) == [("anna", ["dull"], None), ("bo", ["A dull"], None), ("cy", [], None)]
    assert marked(record) == ["dull"]


def prodigy(who, spans, **fields):
    tokens = [{"text": "A", "start": 0}, {"text": "dull", "start": 2}, {"text": "film.", "start": 7}]
    row = {"text": "A dull film.", "_input_hash": 77, "tokens": tokens, "answer": "accept", "_annotator_id": who}
    return row | {"spans": [{"start": s, "end": e, "label": "X"} for s, e in spans]} | fields


def test_prodigy_by_hand(tmp_path):
    path = jsonl(
        tmp_path / "set.jsonl",
        prodigy("set-anna", [(2, 6)], accept=["bad"]),
        prodigy("set-bo", [(0, 1)], answer="reject"),
        prodigy("set-cy", [(2, 12)], accept=["bad"]),
        prodigy("set-anna", [(0, 1)], text="No one.", tokens=[], _input_hash=78, answer="ignore"),
    )
    first, ignored = read(path).records
    assert [first.text.word(word) for word in first.text.words] == ["A", "dull", "film."]
    assert people(first) == [("set-anna", ["dull"], "bad"), ("set-cy", ["dull film."], "bad")]
    assert (first.id, first.label, first.word_marks()) == ("77", "bad", (False, True, True))
    assert (ignored.text.text, ignored.rationale) == ("No one.", None)


def test_prodigy_tokens_that_do_not_spell_the_text_are_reported(tmp_path):
    path = jsonl(tmp_path / "set.jsonl", prodigy("a", [], tokens=[{"text": "A"}, {"text": "film."}]))
    problem = read(path, on_error="skip").problems[0]
    assert (problem.line, problem.kind) == (1, "tokens")
    assert problem.reason == "the tokens do not spell the text: 'film.' does not follow at character 1"


# The shared format


def test_annotators_of_the_shared_format():
    row = {"tokens": ["x", "y"], "annotators": [[0, 1], None, [1, 1]], "annotator_labels": ["a", "b", "c"]}
    record = parse_record(row)
    assert people(record) == [("1", ["y"], "a"), ("3", ["x", "y"], "c")]
    assert record.word_marks(record.annotations[0].spans) == (False, True)
    named = parse_record({"text": "x y", "annotators": [[[2, 3]], []], "annotator_ids": ["ann", 7]})
    assert people(named) == [("ann", ["y"], None), ("7", [], None)]
    pair = parse_record({"tokens_a": ["x"], "tokens_b": ["y"], "annotators": [[0, 1]]})
    assert pair.annotations[0].spans == (Span(0, 1, 1),)
    # Labels that are not one a list cannot be told apart; they are left out, not guessed.
    assert [a.label for a in parse_record(row | {"annotator_labels": ["a", "b"]}).annotations] == [None, None]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"annotators": [[1]]}, "'annotators' holds 1 marks for 2 words"),
        ({"annotators": [7]}, "'annotators' to be a list of 0 and 1, got int"),
        ({"annotators": {}}, "'annotators' to be a list of marks, got dict"),
        ({"annotators": [[1, 0]], "annotator_ids": ["a", "b"]}, "1 lists, but 'annotator_ids' 2 names"),
        ({"text": "x z"}, "'y' does not follow at character 1"),
        ({"text": "x y z"}, "'z' is left at character 3"),
    ],
)
def test_annotators_and_texts_that_do_not_fit_the_tokens_are_refused(fields, message):
    with pytest.raises(RationaleError, match=re.escape(message)):
        parse_record({"tokens": ["x", "y"]} | fields)


@given(st.lists(st.tuples(st.sampled_from(["a", "b-", "é", "我"]), st.sampled_from(["", " ", "\n\t"])), max_size=8))
def test_tokens_cut_from_a_text_spell_it(pieces):
    text = "".join(token + space for token, space in pieces)
    text_of_tokens = spelled(text, [token for token, _ in pieces])
    assert [text_of_tokens.word(word) for word in text_of_tokens.words] == [token for token, _ in pieces]
    assert all(a.end <= b.start for a, b in pairwise(text_of_tokens.words))


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=5), st.integers(0, 4))
def test_tokens_without_one_of_them_do_not_spell_the_text(tokens, place):
    place %= len(tokens)
    with pytest.raises(RowError, match="do not spell"):
        spelled(" ".join(tokens), tokens[:place] + tokens[place + 1 :])


# Votes

SPANS = st.lists(
    st.tuples(st.integers(0, 7), st.integers(1, 8), st.integers(0, 1)).filter(lambda s: s[0] < s[1]), max_size=3
)


@given(st.lists(SPANS, min_size=1, max_size=5), st.sampled_from(["union", "majority"]))
def test_annotators_agree_on_what_counting_character_by_character_says(people, rule):
    annotations = [Annotation(str(n), tuple(Span(*span) for span in spans)) for n, spans in enumerate(people)]
    covered = {(c, s) for start, end, s in agree(annotations, rule) for c in range(start, end)}
    for segment in (0, 1):
        for at in range(8):
            votes = sum(any(s <= at < e and g == segment for s, e, g in spans) for spans in people)
            assert ((at, segment) in covered) == (votes >= 1 if rule == "union" else votes > len(people) / 2)


@given(st.lists(st.integers(0, 30)))
def test_runs_cover_the_offsets_with_as_few_spans_as_can_be(offsets):
    spans = runs(offsets)
    assert [at for start, end, _ in spans for at in range(start, end)] == sorted(set(offsets))
    assert all(a.end < b.start for a, b in pairwise(spans))


def test_nobody_agrees_on_nothing():
    assert agree([], "union") is None
    assert agree([Annotation("a", ())], "union") == ()


def test_a_majority_is_more_than_half_of_those_with_a_label():
    def chosen(*labels):
        return majority_label([Annotation("", (), label) for label in labels])

    assert chosen("a", "b", "a") == "a"
    assert chosen("a", None) == "a"
    assert chosen("a", "b") is None
    assert chosen("a", "b", "c") is None
    assert chosen() is None


# Everything wrong in a file


def dirty(folder: Path) -> Path:
    return jsonl(
        folder / "dirty.jsonl",
        {"id": "a", "text": "good", "label": "x"},
        '{"id": "b", "text"',
        {"id": "c", "label": "x"},
        {"id": "d", "text": "four", "label": "x", "rationale": [[0, 9]]},
        {"id": "e", "text": "x y", "tokens": ["x", "z"], "label": "x"},
        {"id": "f", "text": "five", "label": "y"},
        {"id": "g", "text": "six"},
        {"id": "a", "text": "again", "label": "x"},
        {"id": "h", "tokens": ["x", ""], "label": "x"},
        {"id": "i", "text": "last", "label": "x"},
    )


EXPECTED = [
    (2, None, "broken"), (3, "c", "field"), (4, "d", "marks"), (5, "e", "tokens"), (6, "f", "label"),
    (7, "g", "label"), (8, "a", "id"), (9, "h", "text"),
]  # fmt: skip


def test_skipping_returns_the_good_texts_and_every_problem_by_line(tmp_path):
    reading = read(dirty(tmp_path), labels={"x"}, on_error="skip")
    assert [record.id for record in reading.records] == ["a", "i"]
    assert reading.lines == [1, 10]
    assert [(problem.line, problem.id, problem.kind) for problem in reading.problems] == EXPECTED
    assert {problem.file for problem in reading.problems} == {str(tmp_path / "dirty.jsonl")}


def test_refusing_counts_the_problems_of_the_whole_file_and_shows_the_first(tmp_path):
    with pytest.raises(RationaleError) as caught:
        read(dirty(tmp_path), labels={"x"})
    message = str(caught.value)
    assert message.startswith(f"8 problems in {tmp_path / 'dirty.jsonl'} (2 label, 1 broken, 1 field")
    assert message.count(", line ") == 5
    assert "; and 3 more. " in message
    assert "dirty.jsonl, line 6: the label is 'y', expected one of x" in message


def test_every_line_of_a_file_ends_as_a_record_or_a_problem(tmp_path):
    reading = read(dirty(tmp_path), on_error="skip")
    assert len(reading.records) + len(reading.problems) == 10


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "json"])
def test_a_gzip_cut_off_is_a_problem_after_what_could_be_read(tmp_path, suffix):
    path = tmp_path / f"set.{suffix}.gz"
    number = range(3000)
    content = {
        "jsonl": "".join(f'{{"text": "{n * 7919 % 10007}"}}\n' for n in number),
        "csv": "spans,text\n" + "".join(f"[],{n * 7919 % 10007}\n" for n in number),
        "json": json.dumps([{"id": n, "data": {"text": str(n * 7919)}, "annotations": []} for n in number], indent=0),
    }[suffix]
    packed = gzip.compress(content.encode())
    path.write_bytes(packed[: len(packed) // 2])
    reading = read(path, on_error="skip")
    assert [problem.kind for problem in reading.problems][-1] == "cut off"
    assert 0 < reading.problems[-1].line < content.count("\n")
    assert 100 < len(reading.records) < 3000
    with pytest.raises(RationaleError, match=r"after line \d+: .*cut off"):
        read(path)


def test_a_json_document_that_breaks_keeps_what_stands_before(tmp_path):
    path = tmp_path / "export.json"
    good = json.dumps(task(), indent=1)
    path.write_text(f"[{good},\n{good[:-9]}")
    reading = read(path, on_error="skip")
    assert [record.id for record in reading.records] == ["5"]
    assert "nothing after this could be read" in reading.problems[0].reason
    assert reading.problems[0].line > good.count("\n")


JSON = st.recursive(
    st.none() | st.integers(-2, 2) | st.text('a"\\\n{[,:é', max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)
ROWS = st.dictionaries(st.text("ab", max_size=2), JSON, max_size=2)


@given(
    content=st.lists(st.dictionaries(st.text("ab", max_size=2), JSON, max_size=2), max_size=4)
    | st.dictionaries(
        st.text('ab"', max_size=3), st.dictionaries(st.text("ab", max_size=1), JSON, max_size=2), max_size=4
    ),
    indent=st.sampled_from([None, 0, 2]),
)
def test_elements_of_a_json_document_are_those_that_json_itself_reads(tmp_path_factory, content, indent):
    from expnet.rationales.files import json_elements

    path = tmp_path_factory.getbasetemp() / "elements.json"
    path.write_text(json.dumps(content, indent=indent), encoding="utf-8")
    rows = list(json_elements(path))
    if isinstance(content, dict):
        assert {row.key: row.fields for row in rows} == content
    else:
        assert [row.fields for row in rows] == content


@pytest.mark.parametrize("text", ["", "[1,]", "[{}] x", '{"a" {}}', '{"a": {},}', "[{} {}]", "{7: {}}", "[{}"])
def test_a_json_document_that_json_refuses_is_a_problem(tmp_path, text):
    from expnet.rationales.files import json_elements
    from expnet.rationales.problems import Problem

    (tmp_path / "x.json").write_text(text)
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)
    assert isinstance(list(json_elements(tmp_path / "x.json"))[-1], Problem)


def test_bytes_that_are_not_utf_8_cost_a_json_document_only_the_text_they_stand_in(tmp_path):
    path = tmp_path / "export.json"
    good = json.dumps(task())
    path.write_bytes(f"[{good},\n{good}]".encode().replace(b"A dull film.", b"A \xe9 dull film.", 1))
    reading = read(path, on_error="skip")
    assert (reading.lines, [(p.line, p.kind) for p in reading.problems]) == ([2], [(1, "text")])


def test_rows_of_a_table_that_do_not_fit_are_reported(tmp_path):
    path = tmp_path / "tsd.csv"
    path.write_bytes(b'\xef\xbb\xbfspans,text\n[],"fine"\n[],two,three\n[0],caf\xe9\n[],"a"b\n\n[],end\n[],"open')
    reading = read(path, on_error="skip")
    assert [record.text.text for record in reading.records] == ["fine", "end"]
    assert [(problem.line, problem.kind) for problem in reading.problems] == [
        (3, "field"), (4, "broken"), (5, "broken"), (8, "broken"),
    ]  # fmt: skip
    assert reading.problems[0].reason == "3 cells in a row of 2 columns"
    assert "not UTF-8" in reading.problems[1].reason


# Which format


def test_formats_have_names_of_their_own():
    assert len({one.name for one in FORMATS}) == len(FORMATS)


def test_each_format_is_recognised_and_named_in_the_error_for_a_wrong_one(tmp_path):
    (tmp_path / "t.txt").write_text("(3 x)\n")
    (tmp_path / "notes.txt").write_text("dear diary\n")
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    files = {
        "hatexplain": document(tmp_path / "h.json", POSTS), "label-studio": document(tmp_path / "l.json", [task()]),
        "argilla": document(tmp_path / "a.json", [argilla()]),
        "eraser": jsonl(tmp_path / "e.jsonl", REVIEW), "prodigy": jsonl(tmp_path / "p.jsonl", "{", prodigy("a", [])),
        "doccano": jsonl(tmp_path / "d.jsonl", {"id": 1, "text": "x", "label": []}),
        "esnli": table(tmp_path / "e.csv", PAIR), "sst-trees": tmp_path / "t.txt",
        "fair-rationales": table(tmp_path / "f.csv", fair("1", "BO", "a", "[]", "[0]")),
        "toxic-spans": table(tmp_path / "s.csv", {"spans": "[]", "text": "x"}),
        "shared": jsonl(tmp_path / "s.jsonl", {"text": "x", "label": "y"}),
    }  # fmt: skip
    assert {name: recognise(path).name for name, path in files.items()} == {name: name for name in files}
    assert set(files) == {one.name for one in FORMATS}
    assert recognise(tmp_path / "notes.txt") is None
    with pytest.raises(RationaleError, match=r"table\.csv cannot be told .* Say which with format="):
        read(tmp_path / "table.csv")
    with pytest.raises(RationaleError, match=r"no format 'eraserr'\. Did you mean 'eraser'\? Formats: auto, hate"):
        read(files["eraser"], format="eraserr")


def test_what_a_format_does_not_have_is_refused(tmp_path):
    path = table(tmp_path / "s.csv", {"spans": "[]", "text": "x"})
    with pytest.raises(RationaleError, match="to be 'union' or 'majority', got 'rationale_majority'"):
        read(path, rationale="rationale_majority")
    with pytest.raises(RationaleError, match="holds one split"):
        read(path, split="test")
    with pytest.raises(RationaleError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(RationaleError, match=r"gone\.csv cannot be read: No such file"):
        read(tmp_path / "gone.csv", on_error="skip")


# The hub


@pytest.fixture
def cache(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    return datasets


def test_a_local_folder_is_read_as_from_the_hub(tmp_path, cache):
    folder = tmp_path / "set"
    folder.mkdir()
    rows = [
        {"id": "a", "text": "A dull film.", "label": "bad", "rationale": [[2, 6]]},
        {"id": "b", "text": "Fine.", "label": None, "rationale": None},
        {"id": "c", "text": "Four", "label": "bad", "rationale": [[0, 9]]},
    ]
    jsonl(folder / "train.jsonl", *rows)
    jsonl(folder / "test.jsonl", rows[0])
    reading = read_dataset(str(folder), "train", on_error="skip")
    assert reading.records == read(folder / "train.jsonl", on_error="skip").records
    assert [(p.file, p.line, p.id, p.kind) for p in reading.problems] == [(f"{folder}[train]", 3, "c", "marks")]
    assert len(read_dataset(str(folder), "test").records) == 1
    with pytest.raises(RationaleError, match="mark 0:9 lies outside"):
        read_dataset(str(folder), "train")
    with pytest.raises(RationaleError, match=r"split 'dev' of .* cannot be loaded"):
        read_dataset(str(folder), "dev")
    with pytest.raises(RationaleError, match="cannot be loaded"):
        read_dataset(str(tmp_path / "nowhere"), "train")


def test_class_labels_stored_as_numbers_become_their_names(tmp_path, cache):
    features = cache.Features(
        {"tokens": cache.List(cache.Value("string")), "label": cache.ClassLabel(names=["bad", "good"]),
         "rationale": cache.List(cache.Value("int64"))}
    )  # fmt: skip
    rows = {"tokens": [["dull", "."], ["x"]], "label": [0, -1], "rationale": [[1, 0], [0]]}
    folder = tmp_path / "set"
    folder.mkdir()
    cache.Dataset.from_dict(rows, features=features).to_parquet(folder / "train.parquet")
    first, second = read_dataset(str(folder), "train").records
    assert (first.label, first.word_marks(), second.label) == ("bad", (True, False), None)


def test_the_hub_without_datasets_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'expnet\[data\]'"):
        read_dataset("somewhere", "train")
