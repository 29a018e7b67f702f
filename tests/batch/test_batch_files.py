"""Whatever kind of file the texts are in: the same rows, in the same order, and none lost."""

import gzip
import tempfile
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expnet.batch.added_columns import added_fields
from expnet.batch.files import Reader, common_schema, places, survey
from expnet.batch.folders import find_files
from expnet.errors import BatchError
from tests.batch_jobs import TEXTS, run, write_lines, write_parquet
from tests.classifiers import tiny_classifier, tiny_explainer

ROWS = [{"id": str(number), "text": text} for number, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


def as_csv(rows) -> str:
    return "id,text\n" + "".join(f'{row["id"]},"{row["text"]}"\n' for row in rows)


def as_folder(folder: Path) -> Path:
    folder.mkdir()
    write_parquet(folder / "a.parquet", ROWS[:3])
    (folder / "b").mkdir()
    write_lines(folder / "b" / "c.jsonl", ROWS[3:5])
    (folder / "d.csv").write_text(as_csv(ROWS[5:]))
    write_parquet(folder / "_hidden.parquet", ROWS)
    return folder


def zipped(path: Path) -> Path:
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return packed


def saved(folder: Path) -> Path:
    datasets.Dataset.from_list(ROWS).save_to_disk(folder, num_shards=2)
    return folder


def test_every_kind_of_file_gives_the_same_rows(tmp_path, explainer):
    (tmp_path / "in.csv").write_text(as_csv(ROWS))
    sources = {
        "parquet": write_parquet(tmp_path / "in.parquet", ROWS, row_group_size=2),
        "lines": write_lines(tmp_path / "in.jsonl", ROWS),
        "zipped lines": zipped(tmp_path / "in.jsonl"),
        "csv": tmp_path / "in.csv",
        "zipped csv": zipped(tmp_path / "in.csv"),
        "datasets": saved(tmp_path / "saved"),
    }
    expected = run(explainer, sources["parquet"], tmp_path / "out", shard_rows=3)
    assert [(row["id"], row["text"], row["status"]) for row in expected] == [(r["id"], r["text"], "ok") for r in ROWS]
    for name, source in sources.items():
        if name != "datasets":  # two files, and so other shards
            assert run(explainer, source, tmp_path / name, shard_rows=3) == expected, name
    for name, source in (("datasets", sources["datasets"]), ("folder", as_folder(tmp_path / "folder"))):
        explained = run(explainer, source, tmp_path / f"{name} out")
        assert [{key: row[key] for key in ("id", "text", "words", "label")} for row in explained] == [
            {key: row[key] for key in ("id", "text", "words", "label")} for row in expected
        ], name


@settings(max_examples=10)
@given(
    lengths=st.lists(st.integers(0, 200), min_size=1, max_size=3),
    group=st.integers(1, 90),
    shard_rows=st.integers(1, 150),
    order=st.randoms(use_true_random=False),
)
def test_chunks_read_in_any_order_are_the_rows_of_the_files(lengths, group, shard_rows, order):
    with tempfile.TemporaryDirectory() as folder:
        root, start = Path(folder), 0
        for number, length in enumerate(lengths):
            texts = [str(start + n) for n in range(length)]
            pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), root / f"{number}.parquet", group)
            start += length
        files = [survey(path, root, shard_rows) for path in find_files(root)[0]]
        reader = Reader(files, common_schema(files), ["text"])
        numbers = list(range(len(places(files))))
        order.shuffle(numbers)
        read = {number: reader.read(number) for number in numbers}
    texts = [text for number in sorted(read) for text in read[number].cells["text"]]
    assert texts == [str(n) for n in range(sum(lengths))]
    assert [read[number].table.num_rows for number in sorted(read)] == [place.rows for place in places(files)]
    assert [text for number in sorted(read) for text in read[number].table["text"].to_pylist()] == texts


def test_a_chunk_holds_at_most_32_mib_of_text_however_few_rows_that_is(tmp_path):
    rows = [{"text": "x" * (10 * 2**20)}] * 7
    source = write_parquet(tmp_path / "in.parquet", rows)
    assert survey(source, source, 1000).counts == (3, 3, 1)


def test_a_json_column_keeps_its_type_if_it_has_one_and_becomes_text_otherwise(tmp_path):
    rows = [
        {
            "flag": True,
            "count": 1,
            "share": 1,
            "name": "é",
            "mixed": 1,
            "nested": {"a": [1]},
            "long": 2**60,
            "none": None,
        },
        {"flag": None, "count": 2**62, "share": 0.5, "name": "\ud800", "mixed": "1", "nested": [], "long": 0.5},
    ]
    source = write_lines(tmp_path / "in.jsonl", rows)
    file = survey(source, source, 10)
    table = Reader([file], file.schema, []).read(0).table
    assert {name: str(table.schema.field(name).type) for name in table.column_names} == {
        "flag": "bool",
        "count": "int64",
        "share": "double",
        "name": "string",
        "mixed": "string",
        "nested": "string",
        "long": "string",  # neither int64 nor double holds both
        "none": "string",
    }
    assert table.to_pylist() == [
        rows[0] | {"share": 1.0, "mixed": "1", "nested": '{"a": [1]}', "long": str(2**60)},
        rows[1] | {"name": "\\ud800", "nested": "[]", "long": "0.5", "none": None},
    ]


def test_a_column_that_a_file_lacks_is_null_there_and_a_conflict_is_named(tmp_path, explainer):
    (tmp_path / "in").mkdir()
    write_parquet(tmp_path / "in" / "a.parquet", [{"text": "good", "n": 1}])
    write_parquet(tmp_path / "in" / "b.parquet", [{"m": 0.5, "text": "bad"}])
    write_parquet(tmp_path / "in" / "c.parquet", [{"m": 2.5, "n": 2}])
    explained = run(explainer, tmp_path / "in", tmp_path / "out")
    assert [(row["text"], row["n"], row["m"], row["status"]) for row in explained] == [
        ("good", 1, None, "ok"),
        ("bad", None, 0.5, "ok"),
        (None, 2, 2.5, "missing"),
    ]
    write_parquet(tmp_path / "in" / "d.parquet", [{"text": "good", "n": ["one"]}])
    with pytest.raises(BatchError, match=r"d\.parquet and the files before it.*int64.*list"):
        run(explainer, tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("name", ["in.parquet", "in.jsonl", "in.csv"])
def test_an_empty_file_gives_one_shard_with_all_columns_and_no_rows(tmp_path, explainer, name):
    source = tmp_path / name
    if name == "in.parquet":
        pq.write_table(pa.table({"text": pa.array([], pa.string())}), source)
    else:
        source.write_text("text\n" if name == "in.csv" else "")
    assert run(explainer, source, tmp_path / "out") == []
    schema = pq.read_schema(tmp_path / "out" / "part-000000.parquet")
    assert schema.names == ["text"] * (name != "in.jsonl") + [field.name for field in added_fields("", "probability")]
    assert [schema.field(name).type for name in ("scores", "starts")] == [pa.list_(pa.float32()), pa.list_(pa.int32())]


def test_a_broken_line_becomes_a_row_that_says_so(tmp_path, explainer):
    (tmp_path / "in.jsonl").write_text('{"text": "good"}\n{"text": \n[1]\n{"text": "bad"}\n')
    (tmp_path / "in.csv").write_bytes(b"id,text\n1,good\n2,too,many\n3,\xff\n4,bad\n")
    for name, reasons in (
        ("in.jsonl", ("line 2: Expecting value", "line 3: expected a JSON object, got list")),
        ("in.csv", ("line 3: 3 cells in a row of 2 columns", "line 4: the row is not UTF-8")),
    ):
        explained = run(explainer, tmp_path / name, tmp_path / f"{name} out", shard_rows=2)
        assert [(row["text"], row["status"]) for row in explained] == [
            ("good", "ok"),
            (None, "unreadable"),
            (None, "unreadable"),
            ("bad", "ok"),
        ]
        for row, reason in zip(explained[1:3], reasons, strict=True):
            assert row["error"].startswith(reason)


@pytest.mark.parametrize(
    ("name", "told", "reason"),
    [
        ("in.jsonl", '{"text": "good"}\n'.encode("utf-16"), r"No row of in\.jsonl can be read, line 1: .*in UTF-8\?"),
        (
            "in.jsonl",
            b'{"text": "a", "n": ' + b"9" * 5000 + b"}\n",
            r"No row of in\.jsonl can be read, line 1: .*digits",
        ),
        (
            "in.csv",
            "text\ngood\n".encode("utf-16"),
            r"line 1: the names of the columns are not UTF-8; save the file as",
        ),
        ("in.csv", "text,caf\xe9\ngood,1\n".encode("latin-1"), r"line 1: the names of the columns are not UTF-8"),
    ],
)
def test_a_file_that_tells_no_names_of_columns_is_refused_with_the_reason(tmp_path, explainer, name, told, reason):
    (tmp_path / name).write_bytes(told)
    with pytest.raises(BatchError, match=reason):
        run(explainer, tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_columns_are_limited_however_they_come(tmp_path):
    names = [f"c{number}" for number in range(10_001)]
    (tmp_path / "in.csv").write_text(",".join(names) + "\n")
    write_lines(tmp_path / "in.jsonl", [{name: 1} for name in names])
    for name in ("in.csv", "in.jsonl"):
        with pytest.raises(BatchError, match="has 10,001 columns or more; expected 10,000 at most"):
            survey(tmp_path / name, tmp_path, 10)


def test_a_type_that_the_output_cannot_hold_is_refused_before_anything_is_explained(tmp_path):
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2_000_000_000], pa.int32()), pa.array(["good"]))
    with pa.ipc.new_file(tmp_path / "in.arrow", pa.schema([("text", runs.type)])) as writer:
        writer.write_batch(pa.record_batch({"text": runs}))
    with pytest.raises(BatchError, match=r"in\.arrow has a column that Parquet, .* cannot hold: .*run_end_encoded"):
        survey(tmp_path / "in.arrow", tmp_path, 10)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()])
def test_strings_that_are_stored_once_for_many_rows_are_read_as_they_were(tmp_path, kind):
    rows = [text.encode() if pa.types.is_binary(kind) and text else text for text in ["good", "bad", None, "good"] * 50]
    pq.write_table(pa.table({"text": pa.array(rows, kind)}), tmp_path / "in.parquet")
    file = survey(tmp_path / "in.parquet", tmp_path, 7)
    reader = Reader([file], file.schema, ["text"])
    chunks = [reader.read(number) for number in range(len(file.counts))]
    assert {chunk.table.schema.field("text").type for chunk in chunks} == {kind}
    assert [value for chunk in chunks for value in chunk.cells["text"]] == rows


def test_a_file_that_cannot_be_read_to_its_end_is_refused_before_anything_is_explained(tmp_path):
    lines = write_lines(tmp_path / "in.jsonl", ROWS * 50)
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(lines.read_bytes())[:-20])
    (tmp_path / "quote.csv").write_text('text\n"good\nbad\n')
    (tmp_path / "x.parquet").write_bytes(write_parquet(tmp_path / "whole.parquet").read_bytes()[:-9])
    (tmp_path / "x.arrow").write_text("no arrow at all, but long enough to look into")
    (tmp_path / "twice.csv").write_text("text,text\n1,2\n")
    for name, reason in (
        ("cut.jsonl.gz", "what follows cannot be read"),
        ("quote.csv", "every quote closed"),
        ("x.parquet", r"x\.parquet cannot be read"),
        ("x.arrow", r"x\.arrow cannot be read"),
        ("twice.csv", "two columns named 'text'"),
    ):
        with pytest.raises(BatchError, match=reason):
            survey(tmp_path / name, tmp_path, 10)


def test_what_is_no_input_is_refused_with_what_is_expected(tmp_path):
    (tmp_path / "in.xlsx").write_text("")
    (tmp_path / "empty").mkdir()
    datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS)).save_to_disk(tmp_path / "splits")
    for name, reason in (
        ("in.xlsx", r"unsupported file type; expected \.parquet"),
        ("empty", "holds no file to read"),
        ("nowhere", "no file or folder"),
        ("splits", "holds the splits train: give one, such as .*splits/train"),
    ):
        with pytest.raises(BatchError, match=reason):
            find_files(tmp_path / name)
    assert [path.suffix for path in find_files(tmp_path / "splits" / "train")[0]] == [".arrow"]
