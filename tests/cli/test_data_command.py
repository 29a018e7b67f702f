"""`expnet data` finds sets, reports what is wrong with them, and counts what the readmes of known sets count."""

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from expnet.cli.app import app
from expnet.errors import RationaleError
from expnet.metrics import token_f1
from expnet.rationales import FORMATS, Annotation, ReadFile, Record, read
from expnet.rationales.checking import Leak, check, leaks, normalised
from expnet.rationales.description import describe, random_f1
from expnet.rationales.readers.shared import parse_record
from expnet.text.texts import Text

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the shared rationale sets are not at {DATA}")


def jsonl(path: Path, *rows: object) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def run(*arguments, status=0):
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    if isinstance(result.exception, RationaleError):
        raise result.exception
    assert result.exit_code == status, result.output
    return result.stdout


def reading(*texts: str | Text, labels=()) -> ReadFile:
    records = [
        Record(str(n), text if isinstance(text, Text) else Text.of(text), label)
        for n, (text, label) in enumerate(zip(texts, [*labels, *[None] * len(texts)], strict=False), start=1)
    ]
    return ReadFile(records, [], list(range(1, len(records) + 1)))


# Leaks and labels


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("A dull film.", "a DULL  film", True),
        ("don't", "dont", True),
        ("ﬁne", "fine", True),  # a ligature
        ("Straße", "STRASSE", True),
        ("a film", "the film", False),
        ("5", "6", False),
        ("?!", "...", False),
        ("我 们", "我们", True),
        (Text.of("ab", "c"), Text.of("a", "bc"), False),
        (Text.of("a", "b"), "ab", False),
    ],
)
def test_texts_are_the_same_when_their_letters_and_digits_are(one, other, same):
    one, other = (text if isinstance(text, Text) else Text.of(text) for text in (one, other))
    assert (normalised(one) == normalised(other)) is same


def test_leaks_count_the_texts_of_the_smaller_split():
    splits = {
        "test": reading("One.", "two", "x"),
        "train": reading("one", "ONE!", "three", "four"),
        "dev": reading("two", "five"),
    }
    assert leaks(splits) == [Leak("test", "train", 1), Leak("dev", "test", 1)]
    assert leaks({"train": splits["train"]}) == []  # a text twice in one split is no leak


def test_check_names_leaks_and_missing_labels_by_file_and_line():
    splits = {"dev": reading("Two.", labels=["a"]), "train": reading("one", "two", "two", labels=["a", None, "b"])}
    found = [(p.file, p.line, p.kind, p.reason) for p in check(splits)]
    assert found == [
        ("train", 2, "label", "there is no label, but 2 other texts have one"),
        ("dev", 1, "leak", "the same text is in train, line 2"),
    ]
    assert check({"unlabelled": reading("one", "two")}) == []


# Figures


def test_a_description_by_hand():
    records = [
        parse_record({"tokens": ["a", "b", "c", "d"], "rationale": [1, 0, 0, 0], "label": "x"}),
        parse_record({"tokens": ["a", "b"], "rationale": [1, 1], "label": "x"}),
        parse_record({"tokens": ["a", "b", "c"], "label": "y"}),
    ]
    found = describe(records)
    assert (found.texts, found.with_rationale, found.labels) == (3, 2, {"x": 2, "y": 1})
    assert (found.words, found.marked) == (3, 0.5)
    assert found.mark_all == pytest.approx((2 / 5 + 1) / 2)
    # Four words, one marked, each drawn with 1/2: with k drawn, F1 is 2 * (k / 4) / (k + 1).
    four = sum(math.comb(4, k) / 16 * 2 * (k / 4) / (k + 1) for k in range(5))
    two = 2 / 4 * (2 / 3) + 1 / 4
    assert found.random == pytest.approx((four + two) / 2)
    assert math.isnan(found.annotators)
    assert math.isnan(found.agreement)


def test_agreement_by_hand():
    text = Text.from_words(["a", "b", "c"])
    people = [Annotation(str(n), tuple(text.words[at] for at in marks)) for n, marks in enumerate([[0], [0, 1], [0]])]
    found = describe([Record("1", text, None, people[0].spans, tuple(people))])
    # Against the majority of the others: {0} of {0, 1} and {0}; {0, 1} against {0}; {0} again.
    assert found.agreement == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert found.annotators == 3


def test_only_the_part_of_a_pair_that_people_mark_is_counted():
    pair = {"tokens_a": ["a"] * 6, "tokens_b": ["b", "c"], "rationale_b": [1, 0]}
    found = describe([parse_record(pair)])
    assert (found.marked, found.words) == (0.5, 8)
    assert describe([parse_record(pair | {"rationale_a": [1, 0, 0, 0, 0, 0]})]).marked == 0.25


def test_an_empty_set_has_no_figures():
    found = describe([])
    assert (found.texts, found.labels) == (0, {})
    assert math.isnan(found.marked)
    assert math.isnan(found.mark_all)


@given(st.integers(1, 9), st.data())
def test_random_f1_is_the_mean_over_every_way_to_mark(words, data):
    marked = data.draw(st.integers(0, words))
    share = data.draw(st.floats(0, 1))
    truth = np.arange(words) < marked
    expected = 0.0
    for drawn in np.ndindex(*[2] * words):
        chance = math.prod(share if on else 1 - share for on in drawn)
        expected += chance * token_f1(np.array(drawn, dtype=bool), truth)
    assert random_f1(words, marked, share) == pytest.approx(expected, abs=1e-12)


def test_random_f1_stays_a_number_on_long_texts():
    assert random_f1(5000, 500, 0.1) == pytest.approx(0.1, abs=1e-3)  # precision and recall both near 0.1


@needs_data
@pytest.mark.parametrize(
    ("split", "figures", "tolerance"),
    [
        # Marked share, mark-all and random F1 as in the data's README, rounded there; its random figures were drawn.
        ("hatexplain/test", (37.9, 0.495, 0.316), 0.001),
        ("cola_minpairs/dev_ood", (19.7, 0.343, 0.160), 0.003),
        ("esnli/test", (25.8, 0.406, 0.219), 0.003),
        ("toxic_spans/test", (4.3, 0.141, 0.034), 0.001),
        ("fair_sst/test", (25.6, 0.435, 0.248), 0.009),
    ],
)
def test_the_figures_of_known_sets_are_those_of_their_readme(split, figures, tolerance):
    found = describe(read(DATA / f"{split}.jsonl.gz").records)
    marked, mark_all, random = figures
    assert 100 * found.marked == pytest.approx(marked, abs=0.051)
    assert found.mark_all == pytest.approx(mark_all, abs=0.00051)
    assert found.random == pytest.approx(random, abs=tolerance)


@needs_data
def test_the_leaks_of_a_known_set_are_those_of_its_readme():
    def texts(split):
        with gzip.open(DATA / "hatexplain" / f"{split}.jsonl.gz", "rt") as file:
            return [Text(" ".join(json.loads(line)["tokens"]), None, ()) for line in file]

    splits = {split: reading(*texts(split)) for split in ("val", "test", "train")}
    assert leaks(splits) == [Leak("test", "train", 7), Leak("val", "train", 3), Leak("val", "test", 1)]


# The command


@pytest.fixture
def sets(tmp_path):
    """A folder with two splits in the shared format, a table, and files that are no sets."""
    good = {"id": "1", "text": "A dull film.", "label": "bad", "rationale": [[2, 6]]}
    jsonl(tmp_path / "films" / "train.jsonl", good, {"id": "2", "text": "Fine.", "label": "good", "rationale": []}, "{")
    jsonl(tmp_path / "films" / "test.jsonl", good | {"text": "a dull film"})
    (tmp_path / "toxic.csv").write_text("spans,text\n[],x\n")
    (tmp_path / "notes.txt").write_text("dear diary")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    return tmp_path


def test_list_shows_every_format_and_the_sets_of_a_folder(sets):
    shown = run("list")
    assert all(one.name in shown and one.suffix in shown for one in FORMATS)
    assert json.loads(run("list", sets, "--json")) == [
        {"file": str(sets / "films" / "test.jsonl"), "format": "shared"},
        {"file": str(sets / "films" / "train.jsonl"), "format": "shared"},
        {"file": str(sets / "toxic.csv"), "format": "toxic-spans"},
    ]
    (sets / "empty").mkdir()
    with pytest.raises(RationaleError, match=r"no file or folder .*nowhere"):
        run("list", sets / "nowhere")
    assert run("list", sets / "empty") == "No file in a supported format.\n"


def test_check_reports_each_problem_counts_them_and_fails(sets):
    lines = run("check", sets / "films", status=1).splitlines()
    train, test = (sets / "films" / f"{name}.jsonl" for name in ("train", "test"))
    assert lines[0].startswith(f"{train}, line 3: Expecting property name")
    assert lines[1] == f"{test}, line 1: the same text is in {train}, line 1"
    assert lines[2] == "2 files, 3 texts read; problems: broken 1, leak 1"
    found = json.loads(run("check", sets / "films", "--json", status=1))
    assert found["kinds"] == {"broken": 1, "leak": 1}
    assert found["problems"][1] == {
        "file": str(test), "line": 1, "id": "1", "kind": "leak", "reason": f"the same text is in {train}, line 1"
    }  # fmt: skip


def test_check_of_a_clean_file_succeeds_and_labels_can_be_demanded(sets):
    test = sets / "films" / "test.jsonl"
    assert run("check", test).endswith("1 files, 1 texts read; problems: none\n")
    assert run("check", test, "--label", "bad", "--label", "good").endswith("problems: none\n")
    assert "the label is 'bad', expected one of good" in run("check", test, "--label", "good", status=1)


def test_describe_shows_figures_leaks_and_what_was_left_out(sets):
    found = json.loads(run("describe", sets / "films", "--json"))
    assert found["leaks"] == [
        {"inside": str(sets / "films" / "test.jsonl"), "of": str(sets / "films" / "train.jsonl"), "texts": 1}
    ]
    test, train = found["sets"]
    assert (train["problems"], train["texts"], train["labels"]) == (1, 2, {"bad": 1, "good": 1})
    assert test["marked"] == pytest.approx(1 / 3)  # "a", "dull", "film"
    assert test["agreement"] is None
    shown = run("describe", sets / "films")
    assert "1 texts of test.jsonl are also in train.jsonl" in shown
    assert "train.jsonl: 1 problems, whose texts are left out" in shown
    assert "train.jsonl: bad 1, good 1" in shown


def test_a_file_that_looks_like_data_but_is_of_no_format_is_named(sets):
    (sets / "films" / "odd.csv").write_text("a,b\n1,2\n")
    result = CliRunner().invoke(app, ["data", "describe", str(sets / "films")])
    assert f"{sets / 'films' / 'odd.csv'} is left out: its format is not supported" in result.stderr


def test_what_cannot_be_read_at_all_is_a_clear_error(sets):
    with pytest.raises(RationaleError, match=r"nowhere\.jsonl cannot be read"):
        run("check", sets / "nowhere.jsonl")
    (sets / "empty").mkdir()
    with pytest.raises(RationaleError, match=r"No file in the folder .*empty is in a supported format"):
        run("describe", sets / "empty")
    with pytest.raises(RationaleError, match=r"notes\.txt cannot be told"):
        run("check", sets / "notes.txt")


def test_characters_that_move_the_cursor_are_spelled_out(sets):
    path = jsonl(sets / "evil.jsonl", {"id": "\x1b[31m", "text": "x", "rationale": [[0, 9]]})
    assert "\x1b" not in run("check", path, status=1)
