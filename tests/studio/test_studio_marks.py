"""Marks that were saved are in the file, whole, in the shared format, whoever writes and whatever dies."""

import json
import os
import signal
import threading
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expnet.errors import InputError, RationaleError
from expnet.rationales import Annotation, Record, as_row, read, read_records
from expnet.rationales.readers.shared import parse_record
from expnet.studio import Marks, bring, read_texts
from expnet.studio.marks import ConflictError
from expnet.studio.texts import key_of
from expnet.text.texts import Text
from expnet.text.words import Span
from tests.payloads import PAYLOADS
from tests.studios import records

NO_SURROGATE = st.characters(exclude_categories=("Cs",))
TOKENS = st.lists(st.text("ab.,é字-", min_size=1, max_size=4), min_size=1)


PARTS = st.tuples(st.text(NO_SURROGATE, max_size=30), st.none() | st.text(NO_SURROGATE, max_size=30))
LABELS = st.none() | st.sampled_from(["good", "bad"])
# Words by their place, modulo how many there are.
WORDS = st.sets(st.integers(0, 20))
PEOPLE = st.dictionaries(st.sampled_from("xyz"), st.tuples(WORDS, LABELS))


def spans(text, words):
    return tuple(text.words[at] for at in sorted({word % len(text.words) for word in words if text.words}))


@given(PARTS | st.tuples(TOKENS, st.none() | TOKENS), LABELS, st.none() | WORDS, PEOPLE)
def test_a_record_written_as_a_line_is_read_as_it_was(parts, label, rationale, people):
    text = Text.of(*parts) if isinstance(parts[0], str) else Text.from_words(*parts)
    annotations = tuple(Annotation(name, spans(text, words), chosen) for name, (words, chosen) in people.items())
    record = Record("7", text, label, None if rationale is None else spans(text, rationale), annotations)
    assert parse_record(json.loads(json.dumps(as_row(record)))) == record


def test_words_that_do_not_spell_their_text_are_refused():
    text = Text.of("good film")
    record = Record("7", replace(text, words=text.words[:1]), rationale=text.words[:1])
    with pytest.raises(RationaleError, match="'7': its words do not spell"):
        as_row(record)


def test_a_part_of_a_pair_that_nobody_read_is_refused():
    with pytest.raises(RationaleError, match="one part of the pair only"):
        as_row(Record("7", Text.of("good", "bad"), rationale=(), part=1))


@settings(max_examples=25)
@given(st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=4), st.sampled_from(PAYLOADS[:12]))
def test_what_is_saved_is_read_again_by_anybody(tmp_path_factory, marks, payload):
    path = tmp_path_factory.mktemp("marks") / "marks.jsonl"
    texts = records([f"one two three four five six {place} {payload}" for place in range(len(marks))])
    for record, words in zip(texts, marks, strict=True):
        Marks(path).save(record, payload, [record.text.words[word] for word in sorted(words)], payload)
    for stored, record, words in zip(read_records(path), texts, marks, strict=True):
        assert (stored.id, stored.text, stored.label) == (record.id, record.text, payload)
        chosen = {place for place, mark in enumerate(stored.word_marks()) if mark}
        assert chosen == words
        (annotation,) = stored.annotations
        assert (annotation.annotator, annotation.label) == (payload, payload)


def test_saving_again_replaces_only_ones_own_marks(tmp_path):
    marks, (record, other, *_) = Marks(tmp_path / "marks.jsonl"), records()
    words = record.text.words
    marks.save(record, "ann", words[:1], "good")
    marks.save(other, "ann", other.text.words[:1], "bad")
    marks.save(record, "bob", words[3:4], "good")
    marks.save(record, "ann", words[1:2], "bad")
    first, second = read(marks.path).records
    assert {annotation.annotator: annotation.spans for annotation in first.annotations} == {
        "ann": words[1:2],
        "bob": words[3:4],
    }
    assert first.rationale == (*words[1:2], *words[3:4])
    assert second.rationale == other.text.words[:1]


def test_withdrawing_takes_ones_own_marks_back_out_of_the_file(tmp_path):
    marks, record = Marks(tmp_path / "marks.jsonl"), Record("1", Text.of("one good film"))
    marks.save(record, "ann", record.text.words[:1], "good")
    marks.save(record, "bob", record.text.words[1:2], "bad")
    marks.shown([record], "ann")
    marks.withdraw(record, "ann")
    entry = marks.entries()[key_of(record)]
    assert [annotation.annotator for annotation in entry.record.annotations] == ["bob"]
    assert (entry.record.rationale, entry.record.label) == (tuple(record.text.words[1:2]), "bad")
    assert entry.doing("ann").marked_at == ""
    assert entry.doing("ann").explanation_shown_at, "what was seen stays noted"
    marks.withdraw(record, "bob")
    entry = Marks(tmp_path / "marks.jsonl").entries()[key_of(record)]
    assert (entry.record.rationale, entry.record.annotations) == (None, ())


def test_the_file_says_who_marked_when_and_whether_an_explanation_had_been_shown(tmp_path):
    marks, (record, *_) = Marks(tmp_path / "marks.jsonl"), records()
    marks.save(record, "ann", (), "good")
    before = json.loads(marks.path.read_text())["studio"]["ann"]
    marks.shown([record], "ann")
    shown = json.loads(marks.path.read_text())["studio"]["ann"]
    marks.save(record, "ann", record.text.words[:1], "good")
    after = json.loads(marks.path.read_text())["studio"]["ann"]
    assert not before["explanation_shown_at"]
    assert [doing["marked_after_explanation"] for doing in (before, shown, after)] == [False, False, True]
    assert before["marked_at"] == shown["marked_at"] < shown["explanation_shown_at"] < after["marked_at"]


def test_a_text_skipped_or_shown_has_no_rationale_and_is_no_problem_for_readers(tmp_path):
    marks, (record, other, *_) = Marks(tmp_path / "marks.jsonl"), records()
    marks.skip(record, "ann")
    marks.shown([other], "ann")
    assert [record.rationale for record in read_records(marks.path)] == [None, None]
    assert marks.records() == []
    assert marks.entries()[record.text.text, None].doing("ann").skipped_at


def test_fields_and_marks_that_others_wrote_stay(tmp_path):
    path = tmp_path / "marks.jsonl"
    line = {"id": "9", "text": "one bad film", "label": "bad", "rationale": [[4, 7]], "source": {"page": 3}}
    path.write_text(json.dumps(line) + "\n")
    marks = Marks(path)
    marks.save(records()[1], "ann", [records()[1].text.words[2]], "bad")
    row = json.loads(path.read_text())
    assert (row["id"], row["source"]) == ("9", {"page": 3})
    assert dict(zip(row["annotator_ids"], row["annotators"], strict=True)) == {"unnamed": [[4, 7]], "ann": [[8, 12]]}
    assert row["rationale"] == [[4, 7], [8, 12]]


def test_an_older_page_does_not_overwrite_newer_marks(tmp_path):
    marks, (record, *_) = Marks(tmp_path / "marks.jsonl"), records()
    words = record.text.words
    marks.save(record, "ann", words[:1], "good", seen="")
    with pytest.raises(ConflictError) as conflict:
        marks.save(record, "ann", words[1:2], "good", seen="")
    assert conflict.value.entry.annotation("ann").spans == words[:1]
    marks.save(record, "ann", words[1:2], "good", seen=conflict.value.entry.doing("ann").marked_at)
    assert marks.records()[0].rationale == words[1:2]


def test_many_writers_at_once_lose_nothing(tmp_path):
    texts = records([f"text number {place}" for place in range(24)])

    def write(part):
        marks = Marks(tmp_path / "marks.jsonl")
        for record in texts[part::4]:
            marks.save(record, f"person {part}", record.text.words[:1], None)

    threads = [threading.Thread(target=write, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(record.id for record in read_records(tmp_path / "marks.jsonl")) == sorted(text.id for text in texts)


@pytest.mark.parametrize("moment", ["fsync", "replace"])
@pytest.mark.parametrize("save", [0, 2])
def test_kill_9_while_saving_loses_nothing_that_was_saved(tmp_path, moment, save):
    path, texts = tmp_path / "marks.jsonl", records()
    if (child := os.fork()) == 0:
        marks = Marks(path)
        for place, record in enumerate(texts):
            if place == save:
                setattr(
                    os if moment == "fsync" else type(path), moment, lambda *_: os.kill(os.getpid(), signal.SIGKILL)
                )
            marks.save(record, "ann", record.text.words[:1], "good")
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert [record.id for record in Marks(path).records()] == [record.id for record in texts[:save]]
    Marks(path).save(texts[-1], "ann", (), None)  # nothing that was left behind is in the way
    assert len(read_records(path)) == save + 1


def test_a_file_that_cannot_be_read_is_refused_by_line(tmp_path):
    path = tmp_path / "marks.jsonl"
    for line, reason in (
        ('{"text": "x", "rationale": [[0, 9]]}', "line 2: .*0:9 lies outside the text of 1"),
        ('{"text": ', "line 2: .*Mend the file"),
        ('{"text": "good"}', "line 2: the text was there before"),
        ('{"text": "x", "studio": {"ann": {"when": 1}}}', "line 2: .*'when'"),
    ):
        path.write_text('{"text": "good"}\n' + line + "\n")
        with pytest.raises(RationaleError, match=reason):
            Marks(path)


def test_a_folder_that_is_missing_or_not_writable_is_said(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Marks(tmp_path / "no" / "marks.jsonl")
    marks = Marks(tmp_path / "marks.jsonl")
    marks.save(records()[0], "ann", (), None)
    marks.path.unlink()
    marks.path.mkdir()
    with pytest.raises((InputError, RationaleError), match="cannot be"):
        marks.save(records()[0], "ann", (), None)


# Imports


def test_marks_of_other_tools_are_a_start(tmp_path):
    text = "the good film, another bad one"
    exports = {
        "label-studio": json.dumps(
            [
                {
                    "id": 1,
                    "data": {"text": text},
                    "annotations": [
                        {
                            "completed_by": 3,
                            "result": [
                                {
                                    "type": "labels",
                                    "from_name": "marks",
                                    "to_name": "text",
                                    "value": {"start": 4, "end": 8, "text": "good", "labels": ["reason"]},
                                }
                            ],
                        }
                    ],
                }
            ]
        ),
        "doccano": json.dumps({"id": 1, "text": text, "label": [[4, 8, "reason"]]}),
        "prodigy": json.dumps(
            {"text": text, "spans": [{"start": 4, "end": 8, "label": "R"}], "answer": "accept", "_annotator_id": "p"}
        ),
    }
    marks = Marks(tmp_path / "marks.jsonl")
    for name, content in exports.items():
        path = tmp_path / (f"{name}.json" if name == "label-studio" else f"{name}.jsonl")
        path.write_text(content)
        (note,) = bring(marks, path, format=name)
        assert note.endswith("1 texts brought new marks.")
        assert bring(marks, path, format=name)[0].endswith("0 texts brought new marks.")  # twice is once
    (record,) = read_records(marks.path)
    assert [record.text.word(span) for span in record.rationale] == ["good"]
    assert len({annotation.annotator for annotation in record.annotations}) == len(record.annotations) >= 2


def test_marks_of_one_person_in_two_tasks_with_the_same_text_are_all_brought(tmp_path):
    path, marks = tmp_path / "doccano.jsonl", Marks(tmp_path / "marks.jsonl")
    rows = [{"id": id, "text": "a good film", "label": [span]} for id, span in ((1, [2, 6, "R"]), (2, [7, 11, "R"]))]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert bring(marks, path) == [f"{path}: 1 texts brought new marks."]
    (record,) = marks.records()
    assert {annotation.annotator: annotation.spans for annotation in record.annotations} == {
        "doccano": (Span(2, 6),),
        "doccano#2": (Span(7, 11),),
    }
    assert record.rationale == (Span(2, 6), Span(7, 11))
    assert bring(marks, path)[0].endswith("0 texts brought new marks.")


def test_an_import_does_not_touch_what_the_same_person_marked_here(tmp_path):
    marks, (record, *_) = Marks(tmp_path / "marks.jsonl"), records()
    marks.save(record, "ann", record.text.words[:1], "good")
    other = Marks(tmp_path / "other.jsonl")
    other.save(record, "ann", record.text.words[2:], "good")
    notes = bring(marks, other.path)
    assert "1 texts were marked by the same people" in notes[1]
    assert marks.records()[0].rationale == record.text.words[:1]


# Texts to mark


def test_texts_come_from_lines_tables_and_rationales(tmp_path):
    (tmp_path / "a.txt").write_text("good film\n\nbad film\ngood film\n")
    (tmp_path / "b.jsonl").write_text('{"id": "x", "text": "good film", "rationale": []}\n{"text": "bad film"}\n')
    (tmp_path / "c.csv").write_text("review,stars\ngood film,5\nbad film,1\n")
    results = {name: read_texts(tmp_path / name) for name in ("a.txt", "b.jsonl")}
    results["c.csv"] = read_texts(tmp_path / "c.csv", column="review")
    for texts, _ in results.values():
        assert [record.text.text for record in texts] == ["good film", "bad film"]
        assert all(record.rationale is None for record in texts)
        assert len({record.id for record in texts}) == 2
    assert results["a.txt"][1] == ["1 texts occur more than once, and are left out."]
    assert results["b.jsonl"][0][0].id == "x"
    assert "1 texts of" in results["b.jsonl"][1][0]


def test_what_is_no_text_in_a_table_is_counted(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["good", None, "bad"], "n": [1, 2, 3]}), tmp_path / "t.parquet")
    texts, notes = read_texts(tmp_path / "t.parquet")
    assert [record.text.text for record in texts] == ["good", "bad"]
    assert notes == ["1 texts are not texts: null, a number or an unreadable row, and are left out."]
    with pytest.raises(InputError, match="no column 'review'; it has text, n"):
        read_texts(tmp_path / "t.parquet", column="review")


def test_a_file_without_a_text_to_mark_is_refused_with_the_reason(tmp_path):
    (tmp_path / "a.txt").write_text("x" * 30 + "\n")
    with pytest.raises(InputError, match="1 texts are blank or longer than 20 characters"):
        read_texts(tmp_path / "a.txt", characters=20)
    (tmp_path / "b.txt").write_bytes(b"\xff")
    with pytest.raises(InputError, match="line 1: it is not UTF-8: byte 1 is 0xff; save the file as UTF-8"):
        read_texts(tmp_path / "b.txt")
