"""Exports of annotation tools, as their versions and projects differ: what offsets count, where the text stands,
whether people were asked for words, and what is a label."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from expnet.cli.app import app
from expnet.errors import RationaleError
from expnet.rationales import read, read_records
from expnet.rationales.offsets import Mark, at_mark, unit_of
from expnet.rationales.problems import RowError
from expnet.text.texts import Text
from expnet.text.words import Span

UNITS = ["characters", "utf-16", "utf-8"]
SMILE = "😀 a dull film, is it not?"
FACES = "é 😀😀 dull"


def write(path: Path, *rows: dict) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def counted(text: str, word: str, unit: str) -> tuple[int, int]:
    """Where a word stands, counted in another unit, by a second way than the library's."""
    size = {"characters": lambda _: 1, "utf-16": lambda c: 1 + (ord(c) > 0xFFFF), "utf-8": lambda c: len(c.encode())}
    start = sum(map(size[unit], text[: text.index(word)]))
    return start, start + sum(map(size[unit], word))


def mark(text: str, word: str, unit: str = "characters", *, quoted: bool = True, to="text", control="l") -> dict:
    start, end = counted(text, word, unit)
    value = {"start": start, "end": end, "labels": ["R"]} | ({"text": word} if quoted else {})
    return {"type": "labels", "from_name": control, "to_name": to, "value": value}


def choice(value: str, to="text", control="tone") -> dict:
    return {"type": "choices", "from_name": control, "to_name": to, "value": {"choices": [value]}}


def task(id: int, data: dict, *people: list[dict]) -> dict:
    annotations = [{"completed_by": who, "result": results} for who, results in enumerate(people, start=1)]
    return {"id": id, "data": data, "annotations": annotations}


def words(record) -> list[str] | None:
    return None if record.rationale is None else [record.text.word(span) for span in record.rationale]


# Offsets


@given(st.text(st.sampled_from("a é😀"), min_size=1, max_size=8), st.data(), st.sampled_from(UNITS))
def test_a_mark_counted_in_any_unit_is_found_again(text, data, unit):
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    before, inside = (len(counted_units(part, unit)) for part in (text[:start], text[start:end]))
    assert at_mark(Text.of(text), Mark(before, before + inside), unit) == Span(start, end)


def counted_units(text: str, unit: str) -> list[str]:
    copies = {"characters": lambda _: 1, "utf-16": lambda c: 1 + (c == "😀"), "utf-8": lambda c: len(c.encode())}[unit]
    return [c for c in text for _ in range(copies(c))]


@pytest.mark.parametrize(("mark_", "unit"), [(Mark(1, 4), "utf-16"), (Mark(0, 9), "utf-16"), (Mark(0, 1), "utf-8")])
def test_a_mark_inside_a_character_or_outside_the_text_is_refused(mark_, unit):
    with pytest.raises(
        RowError, match=rf"mark {mark_.start}:{mark_.end} lies outside the text of 2 .*counted in {unit}"
    ):
        at_mark(Text.of("😀é"), mark_, unit)


@pytest.mark.parametrize("unit", UNITS)
def test_a_quote_tells_what_label_studio_counts_and_so_does_the_option(tmp_path, unit):
    for quoted in (True, False):
        results = [mark(SMILE, "dull", unit, quoted=quoted), mark(SMILE, "not", unit, quoted=quoted)]
        path = write(tmp_path / "e.json", task(1, {"text": SMILE}, results))
        assert words(read(path, offsets=unit).records[0]) == ["dull", "not"]
        if quoted:
            assert words(read(path).records[0]) == ["dull", "not"]


def test_marks_without_a_quote_follow_those_with_one(tmp_path):
    rows = [
        task(1, {"text": SMILE}, [mark(SMILE, "dull", "utf-16", quoted=False)]),
        task(2, {"text": FACES}, [mark(FACES, "dull", "utf-16")]),
        task(3, {"text": "plain"}, [mark("plain", "plain", quoted=False)]),
    ]
    records = read(write(tmp_path / "e.json", *rows)).records
    assert [words(record) for record in records] == [["dull"], ["dull"], ["plain"]]


def test_rows_of_two_units_are_placed_by_their_own_quotes_and_others_are_refused_where_it_matters(tmp_path):
    rows = [
        task(1, {"text": SMILE}, [mark(SMILE, "dull", "utf-16")]),
        task(2, {"text": SMILE}, [mark(SMILE, "dull", "characters")]),
        task(3, {"text": SMILE}, [mark(SMILE, "dull", quoted=False)]),
        task(4, {"text": "plain"}, [mark("plain", "plain", quoted=False)]),
    ]
    reading = read(write(tmp_path / "e.json", *rows), on_error="skip")
    assert [(record.id, words(record)) for record in reading.records] == [
        ("1", ["dull"]),
        ("2", ["dull"]),
        ("4", ["plain"]),
    ]
    assert "offsets='utf-16' or offsets='characters'" in reading.problems[0].reason


def test_a_mark_that_nothing_tells_the_unit_of_is_refused_only_where_units_differ(tmp_path):
    for name, row in (
        ("e.json", task(1, {"text": SMILE}, [mark(SMILE, "dull", "utf-16", quoted=False)])),
        ("e.jsonl", {"id": 1, "text": SMILE, "label": [[*counted(SMILE, "dull", "utf-16"), "R"]]}),
    ):
        path = write(tmp_path / name, row)
        with pytest.raises(RationaleError, match=r"the mark 5:9 is 'dull' or 'ull ', as offsets count UTF-16 units or"):
            read(path)
        assert words(read(path, offsets="utf-16").records[0]) == ["dull"]
        assert words(read(path, offsets="characters").records[0]) == ["ull "]
    before = {"id": 1, "text": "dull 😀", "label": [[0, 4, "R"]]}
    assert words(read(write(tmp_path / "e.jsonl", before)).records[0]) == ["dull"]


def test_a_wrong_unit_is_refused_by_the_quote_with_the_unit_that_fits(tmp_path):
    path = write(tmp_path / "e.json", task(1, {"text": SMILE}, [mark(SMILE, "dull", "utf-16")]))
    with pytest.raises(
        RationaleError, match=r"should be 'dull', but the text has 'ull ' there; offsets='utf-16' would"
    ):
        read(path, offsets="characters")


def test_every_reader_of_characters_takes_the_option(tmp_path):
    start, end = counted(SMILE, "dull", "utf-16")
    prodigy = {"text": SMILE, "_input_hash": 1, "spans": [{"start": start, "end": end}]}
    shared = {"text": "x", "pair": SMILE, "rationale": [[start, end, 1]], "annotators": [[[start, end, 1]]]}
    assert words(read(write(tmp_path / "p.jsonl", prodigy), offsets="utf-16").records[0]) == ["dull"]
    path = write(tmp_path / "s.jsonl", shared)
    for record in (read(path, offsets="utf-16").records[0], read_records(path, offsets="utf-16")[0]):
        assert words(record) == [record.text.word(record.annotations[0].spans[0])] == ["dull"]
    (tmp_path / "t.csv").write_text(f'spans,text\n"{list(range(start, end))}",{SMILE.replace(",", "")}\n')
    assert words(read(tmp_path / "t.csv", offsets="utf-16").records[0]) == ["dull"]
    assert words(read(tmp_path / "t.csv").records[0]) == ["ull "]  # the format says that it counts characters


def test_prodigy_s_quotes_and_tokens_tell_the_unit(tmp_path):
    tokens = [{"text": word} for word in FACES.split()]
    start, end = counted(FACES, "dull", "utf-16")
    for more in ({"text": "dull"}, {"token_start": 2, "token_end": 2}):
        row = {"text": FACES, "_input_hash": 1, "tokens": tokens, "spans": [{"start": start, "end": end} | more]}
        assert words(read(write(tmp_path / "p.jsonl", row)).records[0]) == ["dull"]


def test_an_option_that_a_format_has_no_use_for_is_refused(tmp_path):
    (tmp_path / "t.txt").write_text("(3 x)\n")
    with pytest.raises(RationaleError, match="offsets='utf-16' has no meaning"):
        read(tmp_path / "t.txt", offsets="utf-16")
    path = write(tmp_path / "s.jsonl", {"text": "x"})
    with pytest.raises(RationaleError, match="text='review' has no meaning"):
        read(path, text="review")
    with pytest.raises(RationaleError, match="auto, characters, utf-16, utf-8, got 'utf16'"):
        unit_of("utf16")


# Where the text stands

DULL, FINE = "A dull film.", "A fine play."


@pytest.mark.parametrize("to", ["text", "review", "t1"])
@pytest.mark.parametrize("first", ["review", "source"])
def test_the_text_is_the_field_that_marks_quote_whatever_it_is_called(tmp_path, to, first):
    data = {"review": DULL, "source": "imdb", "author": "A dull person"}
    data = {first: data.pop(first)} | data
    rows = [
        task(1, data, [mark(DULL, "film", to=to), choice("bad", to=to)]),
        task(2, data | {"review": FINE}, []),
        task(3, data | {"review": DULL + " "}),
    ]
    records = read(write(tmp_path / "e.json", *rows)).records
    assert [record.text for record in records] == [Text.of(DULL), Text.of(FINE), Text.of(DULL + " ")]
    assert [words(record) for record in records] == [["film"], [], None]
    assert records[0].label == "bad"


def test_without_quotes_the_name_tells_and_where_nothing_does_it_is_asked_for(tmp_path):
    data = {"review": DULL, "source": "imdb"}
    named = write(tmp_path / "a.json", task(1, data, [mark(DULL, "dull", quoted=False, to="review")]))
    assert words(read(named).records[0]) == ["dull"]
    unnamed = write(tmp_path / "b.json", task(1, data, [mark(DULL, "dull", quoted=False, to="t")]))
    with pytest.raises(
        RationaleError, match=r"expected the text in 'text', got \['review', 'source'\]; say text=FIELD"
    ):
        read(unnamed)
    assert words(read(unnamed, text="review").records[0]) == ["dull"]
    both = write(tmp_path / "c.json", task(1, data | {"text": "Read it."}, [mark(DULL, "dull", quoted=False, to="t")]))
    assert words(read(both, text="review").records[0]) == ["dull"]
    with pytest.raises(RationaleError, match="expected the text in 'reviews'"):
        read(unnamed, text="reviews")


def test_a_field_called_text_is_not_taken_where_marks_stand_on_another(tmp_path):
    data = {"text": "Read this review.", "review": DULL}
    path = write(tmp_path / "e.json", task(1, data, [mark(DULL, "dull", to="review")]))
    assert [(r.text.text, words(r)) for r in read(path).records] == [(DULL, ["dull"])]


def test_marks_on_two_texts_make_a_pair_also_by_several_people(tmp_path):
    data = {"source": "snli", "premise": "Men sleep now.", "hypothesis": "Nobody sleeps now."}
    one = mark(data["premise"], "sleep", to="premise")
    other = mark(data["hypothesis"], "Nobody", to="hypothesis")
    rows = [
        task(1, data, [other, choice("contradiction", to="hypothesis")], [one]),
        task(2, data | {"premise": "Hm."}, []),
    ]
    first, second = read(write(tmp_path / "e.json", *rows)).records
    assert first.text == Text.of(data["premise"], data["hypothesis"])
    assert [[first.text.word(span) for span in annotation.spans] for annotation in first.annotations] == [
        ["Nobody"],
        ["sleep"],
    ]
    assert first.rationale == (Span(4, 9, 0), Span(0, 6, 1))
    assert (first.label, second.text.pair, second.rationale) == ("contradiction", data["hypothesis"], ())


def test_a_pair_can_be_asked_for_and_its_unmarked_part_was_not_judged(tmp_path):
    data = {"premise": "Men sleep.", "hypothesis": "Nobody sleeps."}
    path = write(tmp_path / "e.json", task(1, data, [mark(data["hypothesis"], "Nobody", to="hypothesis")]))
    alone = read(path).records[0]
    both = read(path, text="premise", pair="hypothesis").records[0]
    assert (alone.text, alone.part) == (Text.of(data["hypothesis"]), None)
    assert (both.text, both.part, words(both)) == (Text.of(*data.values()), 1, ["Nobody"])
    only = read(path, text="premise").records[0]
    assert (only.text, only.rationale) == (Text.of(data["premise"]), None)  # whose words nobody marked
    with pytest.raises(RationaleError, match="needs text="):
        read(path, pair="hypothesis")


def test_marks_on_more_than_two_texts_are_refused_with_the_way_out(tmp_path):
    data = {name: f"{name} is here" for name in ("one", "two", "three")}
    path = write(tmp_path / "e.json", task(1, data, [mark(data[name], name, to=name) for name in data]))
    with pytest.raises(RationaleError, match=re.escape("3 texts in a task (one, two, three)")):
        read(path)
    assert words(read(path, text="two").records[0]) == ["two"]


def test_files_of_two_projects_keep_each_its_own_field(tmp_path):
    rows = [task(1, {"review": DULL}, [mark(DULL, "dull")]), task(2, {"post": FINE, "by": "x"}, [mark(FINE, "fine")])]
    records = read(write(tmp_path / "e.json", *rows)).records
    assert [(record.text.text, words(record)) for record in records] == [(DULL, ["dull"]), (FINE, ["fine"])]


def test_doccano_and_prodigy_texts_may_stand_in_another_field(tmp_path):
    path = write(tmp_path / "d.jsonl", {"id": 1, "review": DULL, "label": [[2, 6, "R"]]})
    assert words(read(path, format="doccano", text="review").records[0]) == ["dull"]
    path = write(tmp_path / "p.jsonl", {"review": DULL, "spans": [{"start": 2, "end": 6}], "answer": "accept"})
    assert words(read(path, format="prodigy", text="review").records[0]) == ["dull"]


# Labels


def minimal(**fields) -> dict:
    value = {"start": 2, "end": 6, "text": "dull", "labels": ["R"]}
    return {"text": DULL, "source": "imdb", "id": 1, "label": [value], **fields, "annotator": 1, "annotation_id": 2}


def test_of_json_min_only_what_stands_among_the_results_is_a_choice(tmp_path):
    for row, label in (
        (minimal(), None),
        (minimal(tone="bad"), "bad"),
        (minimal(tone="bad", note="a remark"), None),
        (minimal(tone={"choices": ["bad", "sad"]}), None),
        (dict(sorted(minimal(tone="bad").items())), None),
        ({"id": 7} | minimal(tone="bad"), None),
    ):
        record = read(write(tmp_path / "m.json", row)).records[0]
        assert (record.label, record.text.text, words(record)) == (label, DULL, ["dull"]), row
    row = dict(sorted(minimal(tone="bad").items()))
    assert read(write(tmp_path / "m.json", row), choice="tone").records[0].label == "bad"


def test_json_min_texts_under_another_name_are_told_by_quotes(tmp_path):
    row = {"review": DULL, "kind": "film"} | {key: value for key, value in minimal().items() if key != "text"}
    record = read(write(tmp_path / "m.json", row)).records[0]
    assert (record.text.text, record.label, words(record)) == (DULL, None, ["dull"])


def test_choices_about_another_object_or_a_span_are_no_label_of_the_text(tmp_path):
    data = {"text": DULL, "reply": FINE}
    dull = mark(DULL, "dull")
    of_a_span = {"from_name": "why", "to_name": "text", "value": dull["value"] | {"choices": ["tone"]}}
    for results, label in (
        ([dull, choice("bad")], "bad"),
        ([dull, choice("good", to="reply")], None),
        ([dull, choice("x", to="picture")], None),
        ([dull, choice("good", to="reply"), choice("bad")], "bad"),
        ([dull, of_a_span], None),
        ([dull, choice("bad"), choice("film", control="topic")], None),
    ):
        record = read(write(tmp_path / "e.json", task(1, data, results))).records[0]
        assert (record.text.text, record.label, words(record)) == (DULL, label, ["dull"])
    path = write(tmp_path / "e.json", task(1, data, [dull, choice("bad"), choice("film", control="topic")]))
    assert read(path, choice="topic").records[0].label == "film"


# Who was not asked for words


def test_prodigy_rows_without_spans_have_no_rationale_unless_people_were_to_mark(tmp_path):
    base = {"text": DULL, "_input_hash": 1, "label": "NEG", "answer": "accept"}
    for fields, rationale in (
        ({}, None),
        ({"_view_id": "classification"}, None),
        ({"_view_id": "classification", "spans": [{"start": 2, "end": 6}]}, None),  # a pattern's highlight
        ({"_view_id": "choice", "accept": ["NEG"], "label": None}, None),
        ({"spans": None}, None),
        ({"spans": []}, ()),
        ({"_view_id": "ner_manual"}, ()),
        ({"_view_id": "spans_manual"}, ()),
        ({"_view_id": "spans_manual", "spans": [{"start": 2, "end": 6}]}, (Span(2, 6),)),
        ({"_view_id": "ner_manual", "answer": "reject"}, None),
    ):
        record = read(write(tmp_path / "p.jsonl", base | fields)).records[0]
        assert record.rationale == rationale, fields
        assert record.label == (None if "answer" in fields else "NEG")
        assert (record.annotations == ()) == (rationale is None)


def test_another_field_for_the_text_is_named_without_naming_the_format(tmp_path):
    prodigy = write(
        tmp_path / "p.jsonl", {"review": "a dull film", "_input_hash": 1, "spans": [{"start": 2, "end": 6}]}
    )
    doccano = write(tmp_path / "d.jsonl", {"review": "a dull film", "label": [[2, 6, "R"]]})
    for path in (prodigy, doccano):
        assert [words(record) for record in read(path, text="review").records] == [["dull"]]
    with pytest.raises(RationaleError, match=r"expected the text in 'text', got the fields .*'review'.*say text=FIELD"):
        read(prodigy)


@pytest.mark.parametrize("ends", [(2, 2), (6, 2)])
def test_a_mark_that_marks_nothing_is_refused_as_such(tmp_path, ends):
    path = write(tmp_path / "d.jsonl", {"text": DULL, "label": [[*ends, "R"]]})
    with pytest.raises(RationaleError, match=f"the mark {ends[0]}:{ends[1]} marks nothing"):
        read(path)


def test_a_control_that_nobody_chose_with_is_refused_with_those_there_are(tmp_path):
    path = write(tmp_path / "l.json", task(1, {"text": "a dull film"}, [choice("bad"), choice("en", control="tongue")]))
    with pytest.raises(RationaleError, match="choice='tune'; controls: tone, tongue"):
        read(path, choice="tune")
    assert read(path, choice="tone").records[0].label == "bad"


def test_completions_of_label_studio_before_1_0_are_annotations(tmp_path):
    old = task(1, {"text": "a dull film"}, [mark("a dull film", "dull"), choice("bad")])
    old["completions"] = old.pop("annotations")
    (record,) = read(write(tmp_path / "l.json", old)).records
    assert (record.label, words(record)) == ("bad", ["dull"])


def test_projects_in_which_people_chose_a_label_only_have_no_rationale(tmp_path):
    rows = [task(1, {"text": DULL}, [choice("bad")], [choice("bad")]), task(2, {"text": FINE}, [choice("good")])]
    records = read(write(tmp_path / "e.json", *rows)).records
    assert [(record.label, record.rationale) for record in records] == [("bad", None), ("good", None)]
    unnamed = task(1, {"review": DULL, "source": "imdb"}, [choice("bad", to="t")])
    (record,) = read(write(tmp_path / "e.json", unnamed), text="review").records
    assert (record.text.text, record.label, record.rationale) == (DULL, "bad", None)
    doccano = [{"id": 1, "text": DULL, "label": ["bad"]}, {"id": 2, "text": FINE, "label": ["good", "short"]}]
    records = read(write(tmp_path / "d.jsonl", *doccano)).records
    assert [(record.label, record.rationale) for record in records] == [("bad", None), (None, None)]
    older = {"id": 1, "text": DULL, "annotations": [{"label": 3, "user": 1}]}
    (record,) = read(write(tmp_path / "d.jsonl", older)).records
    assert (record.label, record.rationale) == ("3", None)


def test_whoever_marked_nothing_where_others_marked_was_asked(tmp_path):
    rows = [task(1, {"text": DULL}, [mark(DULL, "dull")], [choice("bad")]), task(2, {"text": FINE}, [])]
    first, second = read(write(tmp_path / "e.json", *rows)).records
    assert [len(annotation.spans) for annotation in first.annotations] == [1, 0]
    assert second.rationale == ()


# The commands


def test_the_commands_take_the_options(tmp_path):
    from expnet.cli.inputs import texts_of
    from expnet.studio import Marks, bring, read_texts

    data = {"review": SMILE, "source": "imdb"}
    path = write(tmp_path / "e.json", task(1, data, [mark(SMILE, "dull", "utf-16", quoted=False, to="t")]))
    given = ["--offsets", "utf-16", "--text", "review"]
    for command in ("check", "describe"):
        result = CliRunner().invoke(app, ["data", command, str(path), *given])
        assert (result.exit_code, "1 " in result.stdout) == (0, True)
    assert CliRunner().invoke(app, ["data", "check", str(path)]).exit_code == 1
    assert texts_of(path, offsets="utf-16", text="review") == [Text.of(SMILE)]
    assert read_texts(path, column="review", offsets="utf-16")[0][0].text == Text.of(SMILE)
    marks = Marks(tmp_path / "marks.jsonl")
    assert bring(marks, path, offsets="utf-16", text="review") == [f"{path}: 1 texts brought new marks."]
    assert words(read_records(tmp_path / "marks.jsonl")[0]) == ["dull"]
    for command in ("fit", "studio"):
        assert "--offsets" in CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).stdout
