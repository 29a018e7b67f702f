"""Records say what people marked, and a file that cannot be read says where and why."""

import gzip
import json
import math
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from expnet.errors import InputError, RationaleError
from expnet.rationales import Record, read_records
from expnet.rationales.align import token_targets
from expnet.rationales.readers.shared import parse_record
from expnet.text.encoding import TextTokenizer, encode
from expnet.text.texts import Text
from expnet.text.words import Span
from tests.classifiers import tiny_classifier
from tests.tiny_tokenizers import bert_like, bert_like_with_wide_tokens

DATA = Path(__file__).parents[3] / "shared" / "data"
TOKENS = {"id": "a", "tokens": ["not", "good", "."], "label": "bad", "rationale": [1, 1, 0]}


def write(folder: Path, *rows: object, name: str = "set.jsonl") -> Path:
    """Write rows as JSON lines; strings and bytes go in as they are."""
    path = folder / name
    lines = [
        row if isinstance(row, bytes) else (row if isinstance(row, str) else json.dumps(row)).encode() for row in rows
    ]
    content = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def marked(record: Record) -> list[str]:
    assert record.rationale is not None
    return [record.text.word(span) for span in record.rationale]


def test_tokens_with_flags_by_hand(tmp_path):
    assert read_records(write(tmp_path, TOKENS)) == [
        Record("a", Text("not good .", None, (Span(0, 3), Span(4, 8), Span(9, 10))), "bad", (Span(0, 3), Span(4, 8)))
    ]


def test_a_text_with_character_spans_by_hand(tmp_path):
    row = {"text": "Not good.", "label": 0, "rationale": [[4, 8], [0, 3]]}
    record = read_records(write(tmp_path, row))[0]
    assert record.text == Text.of("Not good.")
    assert (record.id, record.label) == ("1", "0")
    assert marked(record) == ["good", "Not"]
    assert record.word_marks() == (True, True, False)


def test_a_text_pair_with_segments_by_hand(tmp_path):
    row = {"text": "A film.", "pair": "No film!", "rationale": [[0, 2, 1], [2, 6, 0], [2, 6]]}
    record = read_records(write(tmp_path, row))[0]
    assert record.text == Text.of("A film.", "No film!")
    assert marked(record) == ["No", "film", "film"]
    assert record.word_marks() == (False, True, False, True, False, False)


def test_a_token_pair_marked_on_both_parts_by_hand(tmp_path):
    row = {"tokens_a": ["x", "y"], "tokens_b": ["z"], "rationale_a": [0, 1], "rationale_b": [1]}
    record = read_records(write(tmp_path, row))[0]
    assert marked(record) == ["y", "z"]
    assert record.word_marks() == (False, True, True)


def test_a_part_of_a_pair_without_a_rationale_was_not_judged():
    pair = {"tokens_a": ["x", "y"], "tokens_b": ["z"]}
    record = parse_record({**pair, "rationale_a": None, "rationale_b": [1]})
    assert record.word_marks() == (False, False, True)
    assert record.judged_words() == (False, False, True)
    assert parse_record({**pair, "rationale_a": [0, 0], "rationale_b": [1]}).judged_words() == (True, True, True)
    assert parse_record({"tokens": ["x"], "rationale": [0]}).judged_words() == (True,)
    assert parse_record({**pair, "rationale_a": [1, 0]}).word_marks() == (True, False, False)
    assert parse_record({**pair, "rationale_a": None, "rationale_b": None}).rationale is None
    assert parse_record(pair).rationale is None


def test_nobody_annotated_differs_from_nothing_marked():
    assert parse_record({**TOKENS, "rationale": None}).rationale is None
    assert parse_record({"tokens": ["x"]}).rationale is None
    assert parse_record({"text": "x", "rationale": []}).rationale == ()
    assert parse_record({"tokens": [], "rationale": []}).rationale == ()
    assert parse_record({**TOKENS, "rationale": [0, 0, 0]}).word_marks() == (False, False, False)


def test_marks_may_be_booleans():
    assert parse_record({**TOKENS, "rationale": [True, False, False]}).word_marks() == (True, False, False)


def test_another_field_may_hold_the_rationale(tmp_path):
    path = write(tmp_path, {**TOKENS, "rationale_majority": [0, 1, 0]})
    assert marked(read_records(path, rationale="rationale_majority")[0]) == ["good"]
    assert read_records(path, rationale="rationale_nobody")[0].rationale is None
    pair = {"tokens_a": ["x"], "tokens_b": ["z"], "mine_b": [1], "rationale_a": [1]}
    assert parse_record(pair, rationale="mine").word_marks() == (False, True)


def test_gzip_is_read_and_blank_lines_count_as_lines_only(tmp_path):
    rows = ["", {"text": "one"}, "  ", {"text": "zwei \u2028 drei"}, {"id": 0, "text": "vier"}]
    plain, packed = write(tmp_path, *rows), write(tmp_path, *rows, name="set.jsonl.gz")
    assert read_records(plain) == read_records(packed)
    assert [record.id for record in read_records(packed)] == ["2", "4", "0"]
    assert read_records(packed)[1].text.text == "zwei \u2028 drei"


def test_a_file_without_lines_holds_no_records(tmp_path):
    assert read_records(write(tmp_path)) == []


def test_lines_that_overlap_with_a_test_set_are_left_out(tmp_path):
    path = write(
        tmp_path,
        {"text": "seen", "overlap": ["fair_sst", "hummingbird"]},
        {"text": "free"},
        {"text": "other", "overlap": ["fair_sst_2"]},
        {"text": "null", "overlap": None},
    )
    kept = [record.text.text for record in read_records(path, drop_overlap="fair_sst")]
    assert kept == ["free", "other", "null"]
    assert len(read_records(path)) == 4


def test_ids_and_labels_that_are_null_are_unknown(tmp_path):
    path = write(tmp_path, {"text": "x", "id": None, "label": None}, {"text": "y", "id": None, "label": 1.5})
    assert [(record.id, record.label) for record in read_records(path)] == [("1", None), ("2", "1.5")]


BAD = {
    "broken JSON": ('{"text": "x"', r"Expecting ',' delimiter"),
    "no object": ("[1, 2]", "expected a JSON object, got list"),
    "not UTF-8": (b'{"text": "caf\xe9"}', r"can't decode byte 0xe9 in position 13"),
    "too many digits": ('{"text": "x", "label": ' + "9" * 5000 + "}", "4300"),
    "too deep": ("[" * 100_000, "recursion"),
    "no text": ({"id": "a", "label": 1}, r"expected 'text', 'tokens' or 'tokens_a', got the fields \['id', 'label'\]"),
    "no second part": ({"tokens_a": ["x"]}, "expected 'tokens_b' to be a list of words, got NoneType"),
    "text no string": ({"text": 7}, "expected 'text' to be a string, got int"),
    "text null": ({"text": None}, "expected 'text' to be a string, got NoneType"),
    "pair no string": ({"text": "x", "pair": ["y"]}, "expected 'pair' to be a string, got list"),
    "tokens a string": ({"tokens": "x y"}, "expected 'tokens' to be a list of words, got str"),
    "tokens an object": ({"tokens": {"x": 1}}, "expected 'tokens' to be a list of words, got dict"),
    "a token no string": ({"tokens": ["x", 3]}, "expected 'tokens' to hold strings, got 3 at place 1"),
    "an empty word": ({"tokens": ["x", ""]}, "empty string"),
    "a lone surrogate": ({"text": "ab\ud83d"}, "lone surrogate at character 2"),
    "a lone surrogate in a word": ({"tokens": ["ab", "c\udc00"]}, "lone surrogate at character 1"),
    "label a list": ({"text": "x", "label": [1]}, "expected 'label' to be a string or a number, got list"),
    "label an object": ({"text": "x", "label": {}}, "expected 'label' to be a string or a number, got dict"),
    "id a list": ({"text": "x", "id": []}, "expected 'id' to be a string or a number, got list"),
    "overlap a string": ({"text": "x", "overlap": "fair_sst"}, "expected 'overlap' to be a list .*, got str"),
    "marks no list": ({"text": "x", "rationale": 1}, "expected 'rationale' to be a list .*, got int"),
    "marks an object": ({"text": "x", "rationale": {}}, "expected 'rationale' to be a list .*, got dict"),
    "marks a string": ({"tokens": ["x"], "rationale": "1"}, "expected 'rationale' to be a list of 0 and 1, got str"),
    "a mark outside": ({"text": "four", "rationale": [[1, 5]]}, "mark 1:5 lies outside the text of 4 characters"),
    "a mark before": ({"text": "four", "rationale": [[-1, 2]]}, "mark -1:2 lies outside the text of 4 characters"),
    "an empty mark": ({"text": "four", "rationale": [[2, 2]]}, "mark 2:2 .* end exclusive"),
    "a mark on no pair": ({"text": "four", "rationale": [[0, 1, 1]]}, "mark 0:1 lies outside the pair of 0"),
    "a third segment": ({"text": "x", "pair": "y", "rationale": [[0, 1, 2]]}, "mark 0:1 lies outside the pair"),
    "a mark of one number": ({"text": "four", "rationale": [[1]]}, r"\[start, end\] .*, got \[1\]"),
    "a mark of fractions": ({"text": "four", "rationale": [[0, 1.5]]}, r"\[start, end\] .*, got \[0, 1.5\]"),
    "a mark of booleans": ({"text": "four", "rationale": [[False, True]]}, r"got \[False, True\]"),
    "flags for a raw text": ({"text": "four", "rationale": [1]}, r"\[start, end\] .*, got 1"),
    "too few marks": ({**TOKENS, "rationale": [1, 0]}, "'rationale' holds 2 marks for 3 words"),
    "too many marks": ({**TOKENS, "rationale": [1, 0, 0, 0]}, "'rationale' holds 4 marks for 3 words"),
    "no marks at all": ({**TOKENS, "rationale": []}, "'rationale' holds 0 marks for 3 words"),
    "spans for tokens": ({**TOKENS, "rationale": [[0, 3], [4, 8], [9, 10]]}, r"hold 0 and 1 only, got \[0, 3\]"),
    "a flag as a string": ({**TOKENS, "rationale": ["0", 1, 0]}, "'rationale' to hold 0 and 1 only, got '0'"),
    "marks on the wrong part": (
        {"tokens_a": ["x", "y"], "tokens_b": ["z"], "rationale_a": [1], "rationale_b": [0, 1]},
        "'rationale_a' holds 1 marks for 2 words",
    ),
    "no marks on one part": (
        {"tokens_a": ["x"], "tokens_b": ["z"], "rationale_a": [1], "rationale_b": []},
        "'rationale_b' holds 0 marks for 1 words",
    ),
    "an id used before": ({"id": "first", "text": "x"}, "the id 'first' was used before"),
}


@pytest.mark.parametrize(("row", "message"), BAD.values(), ids=BAD)
def test_a_bad_line_is_named_by_file_and_line(tmp_path, row, message):
    path = write(tmp_path, {"id": "first", "text": "fine"}, "", row)
    with pytest.raises(RationaleError, match=f"^{re.escape(str(path))}, line 3: .*{message}"):
        read_records(path, drop_overlap="fair_sst")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | st.just(0.5) | st.sampled_from(["", "x", "x y", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=1),
    max_leaves=4,
)
FIELDS = ["id", "label", "text", "pair", "tokens", "tokens_a", "tokens_b", "rationale", "rationale_a", "rationale_b"]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6))
def test_whatever_a_json_object_holds_it_is_a_record_or_an_error_of_ours(row):
    try:
        record = parse_record(row, default_id="1")
    except (RationaleError, InputError):
        return
    assert record.rationale is None or len(record.word_marks()) == len(record.text.words)
    assert record.id


def test_a_gzip_file_cut_off_is_refused(tmp_path):
    path = write(tmp_path, *({"text": f"text {number}"} for number in range(9)), name="set.jsonl.gz")
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(RationaleError, match=rf"^{re.escape(str(path))}, after line \d+: .*cut off"):
        read_records(path)


@pytest.mark.parametrize(("place", "message"), [(10, "invalid block type"), (-8, "CRC check failed")])
def test_a_damaged_gzip_file_is_refused(tmp_path, place, message):
    path = write(tmp_path, *({"text": f"text {number}"} for number in range(9)), name="set.jsonl.gz")
    content = bytearray(path.read_bytes())
    content[place] = 255 - content[place] if place < 0 else 255  # the checksum, or the first block's header
    path.write_bytes(content)
    with pytest.raises(RationaleError, match=rf"^{re.escape(str(path))}, after line \d+: .*{message}"):
        read_records(path)


def test_a_plain_file_that_calls_itself_gzip_is_refused(tmp_path):
    path = tmp_path / "set.jsonl.gz"
    path.write_text('{"text": "x"}\n')
    with pytest.raises(RationaleError, match=rf"^{re.escape(str(path))}, after line 0: .*not gzip"):
        read_records(path)


def test_what_is_no_file_is_refused_by_name(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere.jsonl", tmp_path / "nowhere.jsonl.gz"):
        with pytest.raises(RationaleError, match=f"^{re.escape(str(path))} cannot be read: "):
            read_records(path)


@pytest.mark.parametrize(
    ("marks", "flags"),
    [
        ([[0, 2]], (True, False)),  # two of four characters are half
        ([[0, 1]], (False, False)),
        ([[3, 7]], (False, True)),  # one of four, two of three
        ([[0, 1], [3, 4]], (True, False)),  # the ends together
        ([[0, 1], [0, 1]], (False, False)),  # the same character twice is one
        ([[1, 3], [2, 4]], (True, False)),
        ([[4, 5]], (False, False)),  # the space between
        ([[0, 8]], (True, True)),
        ([[5, 6]], (False, False)),  # one of three
    ],
)
def test_a_word_is_marked_where_half_of_its_characters_are(marks, flags):
    assert parse_record({"text": "four two", "rationale": marks}).word_marks() == flags


@given(st.lists(st.tuples(st.integers(0, 13), st.integers(1, 14)).filter(lambda mark: mark[0] < mark[1]), max_size=5))
def test_word_marks_agree_with_counting_characters_one_by_one(marks):
    text = Text.of("it's fun, ok.")
    spans = tuple(Span(start, min(end, 13)) for start, end in marks if start < 13)
    expected = []
    for word in text.words:
        inside = [any(mark.start <= at < mark.end for mark in spans) for at in range(word.start, word.end)]
        expected.append(sum(inside) / len(inside) >= 0.5)
    assert Record("x", text, None, spans).word_marks() == tuple(expected)


def test_marks_of_a_text_nobody_annotated_are_refused_by_id():
    with pytest.raises(RationaleError, match="'a7' has no rationale"):
        Record("a7", Text.of("x")).word_marks()


def test_a_record_with_a_mark_outside_its_text_cannot_be_made():
    with pytest.raises(RationaleError, match="'a7': the mark 2:9 lies outside the text of 4 characters"):
        Record("a7", Text.of("four"), None, (Span(2, 9),))


def test_token_targets_by_hand():
    records = [
        parse_record({"text": "The unbelievable film.", "rationale": [[4, 16]]}),
        parse_record({"tokens_a": ["film"], "tokens_b": ["goods"], "rationale_a": [0], "rationale_b": [1]}),
    ]
    encoding = encode(TextTokenizer.of(bert_like()), [record.text for record in records], max_length=16)
    none = torch.nan
    expected = torch.tensor(
        [
            [none, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, none],  # [CLS] the un ##believ ##able film . [SEP]
            [none, 0.0, none, 1.0, 1.0, none, none, none],  # [CLS] film [SEP] good ##s [SEP] and padding
        ]
    )
    assert_close(token_targets(encoding, records), expected, atol=0, rtol=0, equal_nan=True)


def test_tokens_of_a_part_that_was_not_judged_have_no_target():
    row = {"tokens_a": ["good", "film"], "tokens_b": ["bad", "film"], "rationale_b": [1, 0]}
    record = parse_record(row)
    encoding = tiny_classifier().encode([record.text])
    targets = token_targets(encoding, [record])[0]
    expected = [math.nan, math.nan, math.nan, math.nan, 1.0, 0.0, math.nan]
    assert_close(targets, torch.tensor(expected), atol=0, rtol=0, equal_nan=True)


def test_marks_on_one_of_several_words_of_a_token_count_by_their_characters():
    row = {"text": "bad电影很好 good!!!", "rationale": [[3, 4], [13, 15]]}
    records = [parse_record(row), parse_record({"tokens_a": ["good!!!"], "tokens_b": ["bad!"], "rationale_b": [1]})]
    encoding = encode(
        TextTokenizer.of(bert_like_with_wide_tokens()), [record.text for record in records], max_length=16
    )
    none = torch.nan
    expected = torch.tensor(
        [
            [none, 0.0, 0.0, 0.0, 1 / 4, 0.0, 2 / 3, none],  # [CLS] b ##a ##d 电影很好 good !!! [SEP]
            [none, none, none, none, 1.0, 1.0, none, none],  # [CLS] good !!! [SEP] b ad! [SEP], of one given word each
        ]
    )
    assert_close(token_targets(encoding, records), expected, atol=1e-7, rtol=0, equal_nan=True)


def test_token_targets_repeat_where_windows_overlap():
    record = parse_record({"text": "a b c d e", "rationale": [[4, 5], [6, 7]]})
    encoding = encode(TextTokenizer.of(bert_like()), [record.text], max_length=5, overlap=1)
    none = torch.nan
    expected = torch.tensor([[none, 0.0, 0.0, 1.0, none], [none, 1.0, 1.0, 0.0, none]])
    assert_close(token_targets(encoding, [record]), expected, atol=0, rtol=0, equal_nan=True)


def test_a_blank_annotated_text_has_no_targets():
    records = [parse_record({"text": " ", "rationale": []})]
    encoding = encode(TextTokenizer.of(bert_like()), [records[0].text], max_length=16)
    assert token_targets(encoding, records).isnan().all()


def test_targets_for_the_records_of_other_texts_are_refused():
    records = [parse_record({"text": "x", "rationale": []}), parse_record({"text": "y", "rationale": []})]
    encoding = encode(TextTokenizer.of(bert_like()), [records[0].text], max_length=16)
    with pytest.raises(RationaleError, match="1 texts are not those of the 2 records"):
        token_targets(encoding, records)
    with pytest.raises(RationaleError, match="not those of the 1 records"):
        token_targets(encoding, records[1:])


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the shared rationale sets are not at {DATA}")
@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("*/")) or ["every set"])
def test_the_shared_sets_hold_what_their_readmes_count(name):
    """Compare each split but the long ones for training with its row: texts, with rationale, length, marked."""
    row = r"^\| (\w+) \| ([\d,]+) \| ([\d,]+) \| ([\d.]+) \| ([\d.]+ %|-) \|"
    table = re.findall(row, (DATA / name / "README.md").read_text(), re.M)
    assert {f"{split}.jsonl.gz" for split, *_ in table} == {path.name for path in (DATA / name).glob("*.gz")}
    for split, texts, annotated, length, share in table:
        if split == "train":
            continue
        records = read_records(DATA / name / f"{split}.jsonl.gz")
        assert len(records) == int(texts.replace(",", ""))
        words = [len(record.text.words) for record in records]
        assert sum(words) / len(words) == pytest.approx(float(length), abs=0.051)  # one decimal is printed
        with_rationale = [record for record in records if record.rationale is not None]
        assert len(with_rationale) == int(annotated.replace(",", ""))
        if with_rationale:
            # Of pairs the tables count the part that was annotated: the question, the hypothesis.
            part = 1 if name == "esnli" else 0
            marks = [
                mark
                for record in with_rationale
                for word, mark in zip(record.text.words, record.word_marks(), strict=True)
                if word.segment == part
            ]
            assert 100 * sum(marks) / len(marks) == pytest.approx(float(share.rstrip(" %")), abs=0.051)
