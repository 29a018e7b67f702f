"""Which files of a folder are read, under which names, and with which columns."""

import json
import os

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from expnet.batch import explain_file
from expnet.batch.folders import find_files
from expnet.errors import BatchError
from tests.batch.test_batch_broken import as_nobody, closed, folder
from tests.batch_jobs import TEXTS, read, run, write_lines, write_parquet
from tests.classifiers import tiny_classifier, tiny_explainer

__all__ = ["folder"]  # a fixture


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


def write_arrow(path, table, **settings):
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema, **settings) as writer:
        writer.write_table(table, max_chunksize=3)
    return path


def texts(rows):
    return [row["text"] for row in rows]


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_an_arrow_file_with_a_footer_is_read_like_a_stream(tmp_path, explainer, compression):
    table = pa.table({"text": TEXTS, "kind": pa.array(["a", "b"] * 3 + [None]).dictionary_encode()})
    options = pa.ipc.IpcWriteOptions(compression=compression)
    file = write_arrow(tmp_path / "file.arrow", table, options=options)
    with pa.OSFile(str(tmp_path / "stream.ARROW"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    explained = run(explainer, file, tmp_path / "out", shard_rows=2)
    assert texts(explained) == TEXTS
    assert [row["kind"] for row in explained] == ["a", "b"] * 3 + [None]
    assert run(explainer, tmp_path / "stream.ARROW", tmp_path / "more", shard_rows=2) == explained
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(BatchError, match=r"file\.arrow cannot be read"):
        run(explainer, file, tmp_path / "cut")


def test_suffixes_in_upper_case_are_read_too(tmp_path, explainer):
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.csv").write_text("text\ngood\n")
    (source / "B.CSV").write_text("text\nbad\n")
    write_lines(source / "c.JsonL", [{"text": "one"}])
    write_parquet(source / "d.Parquet", [{"text": "film"}])
    assert sorted(texts(run(explainer, source, tmp_path / "out"))) == ["bad", "film", "good", "one"]


def test_folders_named_like_hive_partitions_give_columns(tmp_path, explainer):
    source = tmp_path / "in"
    table = pa.table({"text": TEXTS[:4], "year": [2024, 2023, 2024, None], "lang": ["en", "d/e", "en", "007"]})
    partitions = ds.partitioning(table.select(["year", "lang"]).schema, flavor="hive")
    ds.write_dataset(table, source, format="parquet", partitioning=partitions)
    (source / "b").mkdir()
    write_lines(source / "b" / "c.jsonl", [{"text": "bad"}])
    explained = run(explainer, source, tmp_path / "out")
    expected = {
        *zip(TEXTS[:4], [2024, 2023, 2024, None], ["en", "d/e", "en", "007"], strict=True),
        ("bad", None, None),
    }
    assert {(row["text"], row["year"], row["lang"]) for row in explained} == expected
    schema = pq.read_schema(next((tmp_path / "out").glob("*.parquet")))
    assert [str(schema.field(name).type) for name in ("year", "lang")] == ["int64", "string"]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["7", "-3"], "int64", [-3, 7]),
        (["07", "3"], "string", ["07", "3"]),
        (["1.5", "3"], "string", ["1.5", "3"]),
        (["9" * 30, "3"], "string", ["3", "9" * 30]),
        (["a b%3D%C3%A9", "__HIVE_DEFAULT_PARTITION__"], "string", [None, "a b=é"]),
    ],
)
@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_a_partition_holds_whole_numbers_only_if_they_come_back_as_they_were(
    tmp_path, explainer, values, kind, expected, suffix
):
    for value in values:
        (tmp_path / "in" / f"k={value}").mkdir(parents=True)
        write = write_parquet if suffix == "parquet" else write_lines
        write(tmp_path / "in" / f"k={value}" / f"x.{suffix}", [{"text": "good"}])
    explained = run(explainer, tmp_path / "in", tmp_path / "out")
    assert sorted((row["k"] for row in explained), key=lambda value: (value is not None, value)) == expected
    assert str(pq.read_schema(tmp_path / "out" / "part-000000.parquet").field("k").type) == kind


def test_a_partition_can_be_the_class_to_explain_and_marks_unreadable_rows_too(tmp_path, explainer):
    (tmp_path / "in" / "gold=2").mkdir(parents=True)
    (tmp_path / "in" / "gold=2" / "x.jsonl").write_text('{"text": "good"}\n{\n')
    explained = run(explainer, tmp_path / "in", tmp_path / "out", target_column="gold")
    assert [(row["label"], row["status"], row["gold"]) for row in explained] == [
        ("LABEL_2", "ok", 2),
        (None, "unreadable", 2),
    ]


def test_a_partition_with_the_name_of_a_column_or_of_another_is_refused(tmp_path, explainer):
    (tmp_path / "in" / "id=1").mkdir(parents=True)
    write_parquet(tmp_path / "in" / "id=1" / "x.parquet")
    with pytest.raises(BatchError, match=r"column 'id' is in the files and in the names of folders.*id=1/x\.parquet"):
        run(explainer, tmp_path / "in", tmp_path / "out")
    (tmp_path / "two" / "a=1" / "a=2").mkdir(parents=True)
    write_parquet(tmp_path / "two" / "a=1" / "a=2" / "x.parquet")
    with pytest.raises(BatchError, match="give the column 'a'"):
        run(explainer, tmp_path / "two", tmp_path / "out")


def test_a_partition_whose_name_begins_with_an_underscore_is_read(tmp_path):
    for name in ("_year=2024", "_temporary", ".hidden=1"):
        (tmp_path / name).mkdir()
        write_parquet(tmp_path / name / "x.parquet")
    assert [path.parent.name for path in find_files(tmp_path)[0]] == ["_year=2024"]


def test_names_that_are_not_utf8_are_read_and_spelled_out(tmp_path, explainer):
    source, output = tmp_path / os.fsdecode(b"in\xff"), tmp_path / os.fsdecode(b"out\xff")
    (source / os.fsdecode(b"k=\xe9")).mkdir(parents=True)
    write_lines(source / os.fsdecode(b"caf\xe9.jsonl"), [{"text": "good"}])
    plain = write_parquet(tmp_path / "x.parquet", [{"text": "bad"}])
    plain.rename(source / os.fsdecode(b"k=\xe9") / os.fsdecode(b"\xff.parquet"))
    explained = run_bytes(explainer, source, output)
    assert [(row["text"], row["k"]) for row in explained[0]] == [("good", None), ("bad", r"\xe9")]
    assert explained[1] == [r"caf\xe9.jsonl", r"k=\xe9/\xff.parquet"]
    assert explain_file(explainer, source, output).statuses == {"ok": 2}


def run_bytes(explainer, source, output):
    """Explain into a folder whose name pyarrow cannot take; return the rows, and the names of their files."""
    explain_file(explainer, source, output)
    rows, names = [], []
    for path in sorted(output.glob("*.parquet")):
        with path.open("rb") as file:
            table = pq.read_table(file)
        rows += table.to_pylist()
        names.append(json.loads(table.schema.metadata[b"expnet"])["shard"]["file"])
    return rows, names


def test_a_folder_that_may_not_be_searched_is_named(folder, explainer):
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    source = write_parquet(folder / "in" / "a.parquet")
    os.chmod(folder / "in", 0o744)  # others may list it, and no more
    with as_nobody():
        for path in (folder / "in", source):
            with pytest.raises(BatchError, match=r"cannot be read.*Permission denied"):
                explain_file(explainer, path, folder / "out")
    os.chmod(folder / "in", 0o755)
    with closed(folder / "out"), as_nobody(), pytest.raises(BatchError, match=r"out.*Permission denied"):
        explain_file(explainer, source, folder / "out")
    with closed(folder), as_nobody(), pytest.raises(BatchError, match="Permission denied"):
        explain_file(explainer, source, folder / "out")


class TestWhatDatasetsSaved:
    @pytest.fixture
    def saved(self, tmp_path):
        datasets.Dataset.from_list([{"text": "good"}]).save_to_disk(tmp_path / "saved")
        return tmp_path / "saved"

    @staticmethod
    def state(folder, names):
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))

    @pytest.mark.parametrize("how", ["up", "absolute", "link", "linked folder"])
    def test_files_outside_the_folder_are_not_read(self, tmp_path, saved, how):
        (outside := tmp_path / "outside").mkdir()
        secret = write_arrow(outside / "secret.arrow", pa.table({"text": ["secret"]}))
        (saved / "link.arrow").symlink_to(secret)
        (saved / "linked").symlink_to(outside)
        names = {
            "up": "../outside/secret.arrow",
            "absolute": str(secret),
            "link": "link.arrow",
            "linked folder": "linked/secret.arrow",
        }
        self.state(saved, [names[how]])
        with pytest.raises(BatchError, match="leads out of the folder"):
            find_files(saved)

    @pytest.mark.parametrize("name", ["notes.txt", "\0.arrow", "\ud800.arrow", 5, None, ["x.arrow"], "", "."])
    def test_names_that_are_no_arrow_files_are_refused(self, saved, name):
        self.state(saved, [name])
        with pytest.raises(BatchError, match=r"state\.json is damaged: expected the names of \.arrow files"):
            find_files(saved)

    @pytest.mark.parametrize(
        "content", ["", "{", "[1]", "5", '{"_data_files": 5}', '{"_data_files": [[]]}', "[" * 10**6, "{}", '{"a": 1}']
    )
    def test_a_damaged_state_is_refused(self, saved, content):
        (saved / "state.json").write_text(content)
        with pytest.raises(BatchError, match=r"state\.json is (not valid JSON|damaged)"):
            find_files(saved)
        self.state(saved, [])
        with pytest.raises(BatchError, match="names no files"):
            find_files(saved)

    @pytest.mark.parametrize("content", ["{}", '{"version": 4, "resources": []}', "[]", "null", '{"splits": 1}'])
    @pytest.mark.parametrize("name", ["state.json", "dataset_dict.json"])
    def test_another_program_s_file_of_that_name_makes_no_difference(self, tmp_path, explainer, name, content):
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / name).write_text(content)
        write_parquet(tmp_path / "in" / "a.parquet", [{"text": "good"}])
        if (name, content) == ("dataset_dict.json", '{"splits": 1}'):
            with pytest.raises(BatchError, match="damaged"):
                find_files(tmp_path / "in")
            return
        summary = explain_file(explainer, tmp_path / "in", tmp_path / "out")
        assert summary.statuses == {"ok": 1}
        assert [path.name for path in summary.not_read] == [name]

    @pytest.mark.parametrize("splits", [[], [5], [None]])
    def test_splits_without_names_are_refused(self, tmp_path, splits):
        (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": splits}))
        with pytest.raises(BatchError, match="names no splits"):
            find_files(tmp_path)

    def test_a_missing_file_is_named(self, saved, explainer, tmp_path):
        self.state(saved, ["gone.arrow"])
        with pytest.raises(BatchError, match=r"gone\.arrow cannot be read"):
            explain_file(explainer, saved, tmp_path / "out")


def test_what_pandas_writes_in_partitions_is_what_pandas_reads_back(tmp_path, explainer):
    frame = pd.DataFrame({"text": TEXTS, "year": [2023, 2024] * 3 + [2023]})
    frame.to_parquet(tmp_path / "in", partition_cols=["year"])
    explain_file(explainer, tmp_path / "in", tmp_path / "out")
    rows = read(tmp_path / "out")
    assert sorted((row["text"], row["year"]) for row in rows) == sorted(zip(frame.text, frame.year, strict=True))
