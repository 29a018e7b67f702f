"""Lines of files end where they end, and nowhere else; what is no text or too long is refused by file and line."""

import csv
import gzip
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from expnet.benchmark.plan import read_plan
from expnet.benchmark.present.report.examples import read_examples
from expnet.benchmark.rows import read_rows
from expnet.cli.app import app
from expnet.cli.inputs import texts_of
from expnet.cli.method_options import chosen_methods
from expnet.errors import BenchmarkError, ExpnetError, InputError, LineError
from expnet.files import lines
from expnet.rationales import read, read_records
from expnet.rationales.files import csv_rows, json_elements, json_lines
from expnet.rationales.problems import Problem

INSIDE = ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\r"]  # str.splitlines ends lines there
STRANGE = "".join(f"a{character}b" for character in INSIDE)


def text_file(folder: Path, content: bytes, name: str = "t.txt") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@given(st.lists(st.text(st.sampled_from([*INSIDE, "x", " ", "é", "💩"])).filter(lambda t: t[-1:] != "\r"), max_size=5))
def test_lines_joined_by_either_end_are_those_that_are_read(written):
    for end in ("\n", "\r\n"):
        stream = io.BytesIO("".join(line + end for line in written).encode())
        read = [lines.decoded(line, "x", number) for number, line in lines.split(stream, "x")]
        assert read == written


@pytest.mark.parametrize("name", ["t.txt", "t.txt.gz"])
def test_texts_of_a_file_are_its_lines_without_the_byte_order_mark(tmp_path, name):
    from expnet.studio.texts import read_texts

    path = text_file(tmp_path, f"\ufeff{STRANGE}\r\n\n second \nlast".encode(), name)
    assert list(lines.texts(path)) == [STRANGE, "", " second ", "last"]
    assert [text.text for text in texts_of(path)] == [STRANGE, " second ", "last"]
    assert [record.text.text for record in read_texts(path)[0]] == [STRANGE, " second ", "last"]


def test_standard_input_is_read_like_a_file(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("expnet.cli.explain._pairs", lambda texts, pair: shown.extend(texts) or sys.exit(0))
    CliRunner().invoke(app, ["explain"], input=f"\ufeff{STRANGE}\n\nend".encode())
    assert shown == [STRANGE, "", "end"]


def test_a_plan_may_begin_with_a_byte_order_mark(tmp_path):
    with pytest.raises(BenchmarkError, match="nonsense"):
        read_plan(text_file(tmp_path, "\ufeffnonsense = 1\n".encode(), "plan.toml"))


def test_texts_that_an_option_names_are_the_lines_of_the_file(tmp_path):
    path = text_file(tmp_path, f"\ufeff{STRANGE}\nb\n".encode())
    ((_, options),) = chosen_methods(["inverse_document_frequency"], [f"documents={path}"])
    assert options == {"documents": [STRANGE, "b"]}


def test_rows_of_every_kind_keep_characters_that_only_python_takes_for_ends_of_lines(tmp_path):
    row = {"text": STRANGE, "label": "x"}
    text_file(tmp_path, ("\ufeff" + json.dumps(row, ensure_ascii=False).replace("\r", "") + "\n").encode(), "a.jsonl")
    text_file(tmp_path, ("\ufeff" + json.dumps([row], ensure_ascii=False)).encode(), "a.json")
    with (tmp_path / "a.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([["text", "label"], [STRANGE, "x"]])
    for read_rows_of, name in ((json_lines, "a.jsonl"), (json_elements, "a.json"), (csv_rows, "a.csv")):
        (row,) = read_rows_of(tmp_path / name)
        assert row.fields["label"] == "x"
        assert row.fields["text"] == STRANGE


def test_examples_of_a_benchmark_may_hold_such_characters(tmp_path):
    example = {
        "set": "s", "why": "w", "text": f"a {STRANGE}", "pair": None, "label": "x", "words": ["a"], "marked": [1],
        "scores": {}, "average_precision": {},
    }  # fmt: skip
    path = text_file(tmp_path, (json.dumps(example, ensure_ascii=False) + "\n").encode(), "e.jsonl")
    assert read_examples(path)[0].explanations[0].text == f"a {STRANGE}"


LATIN = "good\ncaf\xe9\n".encode("latin-1")


def test_a_file_that_is_not_utf_8_is_refused_by_line_and_byte(tmp_path):
    from expnet.studio.texts import read_texts

    path = text_file(tmp_path, LATIN)
    for read_it in (texts_of, read_texts, lambda path: list(lines.texts(path)), read_examples):
        with pytest.raises(ExpnetError, match=rf"{re.escape(str(path))}, line 2: it is not UTF-8: byte 4 is 0xe9"):
            read_it(path)
    with pytest.raises(LineError, match="line 1: it is not UTF-8: byte 1 is 0xff"):
        texts_of(text_file(tmp_path, "good\n".encode("utf-16"), "u.txt"))


@pytest.mark.parametrize("name", ["T.TXT", "T.Txt.GZ"])
def test_suffixes_may_be_in_upper_case(tmp_path, name):
    from expnet.studio.texts import read_texts

    path = tmp_path / name
    path.write_bytes(gzip.compress(b"a\nb\n") if name.endswith("GZ") else b"a\nb\n")
    assert [text.text for text in texts_of(path)] == ["a", "b"]
    assert [record.text.text for record in read_texts(path)[0]] == ["a", "b"]
    rows = tmp_path / "R.JSONL"
    rows.write_text('{"text": "a", "label": "x"}\n')
    assert [record.label for record in read(rows).records] == ["x"]


@pytest.mark.parametrize("command", ["adapt", "fit", "studio"])
def test_commands_refuse_such_a_file_in_one_line(tmp_path, command, monkeypatch):
    path = text_file(tmp_path, LATIN)
    monkeypatch.setattr("expnet.explainer.load_classifier", lambda *_, **__: None)
    marked = text_file(tmp_path, b'{"text": "a b", "rationale": [[0, 1]]}\n', "m.jsonl")
    given = {
        "adapt": ["demo/sentiment", path, "--output", tmp_path / "o", "--teacher", "none"],
        "fit": ["demo/sentiment", marked, "--unmarked", path, "--output", tmp_path / "o"],
        "studio": ["demo/sentiment", path, "--marks", tmp_path / "marks.jsonl"],
    }[command]
    result = CliRunner().invoke(app, [command, *(str(argument) for argument in given)])
    assert isinstance(result.exception, InputError)
    assert "line 2: it is not UTF-8" in str(result.exception)


def test_folders_and_files_that_are_not_there_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere.txt", tmp_path / "nowhere.txt.gz"):
        with pytest.raises(InputError, match=rf"^{re.escape(str(path))} cannot be read: "):
            list(lines.texts(path))


def test_a_damaged_gzip_file_of_texts_is_refused_after_the_line_it_reaches(tmp_path):
    path = text_file(tmp_path, b"one\ntwo\n", "t.txt.gz")
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(LineError, match=r"t\.txt\.gz, after line \d: .*cut off"):
        texts_of(path)
    (tmp_path / "rows.jsonl.gz").write_bytes(path.read_bytes())
    with pytest.raises(BenchmarkError, match="cut off"):
        read_rows([tmp_path / "rows.jsonl.gz"])


def test_a_line_may_be_as_long_as_the_limit_and_not_a_byte_longer(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "LONGEST", 20)
    assert list(lines.texts(text_file(tmp_path, b"x\n" + b"y" * 19 + b"\n"))) == ["x", "y" * 19]
    with pytest.raises(LineError, match=r"line 2: it is longer than 20 bytes"):
        list(lines.texts(text_file(tmp_path, b"x\n" + b"y" * 20 + b"\nz\n")))


def test_a_json_document_may_be_longer_than_any_of_its_elements(tmp_path, monkeypatch):
    monkeypatch.setattr("expnet.rationales.documents.LONGEST", 100_000)
    row = {"post_tokens": ["x" * 20_000], "annotators": [{"label": "a"}], "rationales": [[1]]}
    path = text_file(tmp_path, json.dumps({str(n): row for n in range(20)}, indent=0).encode(), "d.json.gz")
    assert [record.id for record in read(path).records] == [str(n) for n in range(20)]
    long = row | {"post_tokens": ["x" * 300_000]}
    path = text_file(tmp_path, json.dumps([row, long, row], indent=0).encode(), "d.json")
    first, problem = json_elements(path)
    assert first.fields == row
    assert (problem.kind, problem.line) == ("too long", 17)
    assert "longer than 100,000 characters" in problem.reason


def test_numbers_and_escapes_are_whole_wherever_a_piece_of_a_document_ends(tmp_path, monkeypatch):
    content = [{"a": 12345, "b": "é💩\n"}, {"c": [-1.5e-7, True]}, {}]
    path = text_file(tmp_path, json.dumps(content).encode() + b" \n", "d.json")
    odd = text_file(tmp_path, json.dumps(content, ensure_ascii=False, indent=2).encode(), "e.json")
    for size in range(1, 9):
        monkeypatch.setattr("expnet.rationales.documents._PIECE", size)
        for file in (path, odd):
            assert [row.fields for row in json_elements(file)] == content


BOMB = 400 * 2**20
READERS = {
    "bomb.jsonl.gz": "from expnet.rationales import read; read(path, format='shared')",
    "bomb.csv.gz": "from expnet.rationales import read; read(path, format='toxic-spans')",
    "bomb.json.gz": "from expnet.rationales import read; read(path, format='label-studio')",
    "bomb.txt.gz": "from expnet.files.lines import texts; list(texts(path))",
    "batch.jsonl.gz": "from expnet.batch.files import survey; survey(path, path, 10)",
    "batch.csv.gz": "from expnet.batch.files import survey; survey(path, path, 10)",
}


@pytest.fixture(scope="module")
def bombs(tmp_path_factory):
    """A line of 400 MiB each, in less than half a megabyte."""
    folder = tmp_path_factory.mktemp("bombs")
    start = {".json": b'[{"id": 1, "data": {"text": "', ".jsonl": b'{"text": "', ".csv": b"text,spans\n", ".txt": b""}
    much = gzip.compress(b"a" * 2**20)
    for name in READERS:
        first = gzip.compress(start[Path(name.removesuffix(".gz")).suffix])
        (folder / name).write_bytes(first + much * (BOMB // 2**20))
    return folder


@pytest.mark.parametrize("name", READERS)
def test_a_line_of_400_mb_in_a_small_file_is_refused_with_little_memory(bombs, name):
    code = (
        "import sys, resource, pathlib, expnet.rationales, expnet.files.lines\n"
        + ("import expnet.batch.files\n" if name.startswith("batch") else "")
        + "from expnet.errors import ExpnetError\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"try:\n    {READERS[name]}\nexcept ExpnetError as error:\n    print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(bombs / name)], capture_output=True, text=True, check=True)
    said, held = done.stdout.splitlines()
    assert "longer than 16,777,216" in said
    assert (bombs / name).stat().st_size < 2**21
    # Twice the limit: what is read, and what is joined or decoded of it.
    assert int(held) < 120, f"{held} MiB"


def test_a_cell_too_long_for_csv_spoils_its_row_and_what_follows_only_if_it_is_not_known_where_it_ends(tmp_path):
    long = "x" * 200_000
    one = text_file(tmp_path, f'text\n"{long}"\n"good"\n'.encode(), "one.csv")
    several = text_file(tmp_path, f'text\n"a\n{long}\nb"\n"good"\n'.encode(), "several.csv")
    problem, row = csv_rows(one)
    assert (problem.line, problem.kind, row.fields) == (2, "broken", {"text": "good"})
    (problem,) = csv_rows(several)
    assert (problem.line, problem.kind) == (2, "too long")


def test_problems_of_lines_are_problems_of_records(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "LONGEST", 100)
    path = text_file(tmp_path, b'{"text": "a"}\n' + b'{"text": "' + b"x" * 200 + b'"}\n', "a.jsonl")
    reading = read(path, on_error="skip")
    assert ([record.text.text for record in reading.records], len(reading.problems)) == (["a"], 1)
    assert isinstance(reading.problems[0], Problem)
    assert (reading.problems[0].line, reading.problems[0].kind) == (2, "too long")
    with pytest.raises(ExpnetError, match=r"a\.jsonl, line 2: it is longer than 100 bytes"):
        read_records(path)
