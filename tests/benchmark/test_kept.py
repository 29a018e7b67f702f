"""Rows kept in Parquet are the rows that were there, nothing else is taken for them, and their figures are exact."""

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from expnet.benchmark.present.summary import by_text
from expnet.benchmark.rows import Row, RowFile, keep_rows, read_rows
from expnet.cli.app import app
from expnet.errors import BenchmarkError, InputError
from expnet.metrics.statistics import bootstrap
from tests.benchmark_rows import plausibility, row

five_digits = st.one_of(
    st.sampled_from([math.nan, 0.0, -0.0, 1.0, 1e-37, 1.2345e38]),
    st.builds(lambda digits, scale: float(f"{digits}e{scale}"), st.integers(-99999, 99999), st.integers(-25, 25)),
)
words = st.sampled_from(["a", "b/test", "é 💩", ""])


@st.composite
def fields(draw):
    texts = draw(st.sampled_from([(), (0, 1, 2), (7, 3)]))
    column = st.lists(five_digits, min_size=len(texts), max_size=len(texts))
    return {  # the row is made by the test: its types are checked at random places, which strategies must not be
        "kind": draw(st.sampled_from(["plausibility", "cost"])),
        "experiment": draw(words),
        "family": draw(words),
        "set": draw(words),
        "classifier": draw(words),
        "method": draw(words),
        "condition": draw(st.dictionaries(words, st.one_of(words, st.integers(), st.none(), st.just(0.5)), max_size=2)),
        "sample": draw(st.booleans()),
        "texts": texts,
        "values": draw(st.dictionaries(words, column, max_size=2)),
        "curves": draw(st.dictionaries(words, st.lists(five_digits, max_size=3), max_size=2)),
        "provenance": draw(st.dictionaries(words, st.one_of(words, st.lists(words)), max_size=2)),
    }


@given(st.lists(fields(), min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_rows_come_back_as_they_stood_in_lines(tmp_path_factory, drawn):
    rows = [Row(**drawn_fields) for drawn_fields in drawn]
    path = tmp_path_factory.mktemp("kept") / "rows.parquet"
    keep_rows(path, rows)
    assert [kept.to_json() for kept in read_rows([path])] == [row.to_json() for row in rows]


def test_every_number_of_five_digits_is_exactly_the_one_of_the_lines(tmp_path):
    drawn = np.random.default_rng(0)
    values = [float(f"{x:.5g}") for x in drawn.random(20_000) * 10.0 ** drawn.integers(-7, 5, 20_000)]
    keep_rows(tmp_path / "rows.parquet", [plausibility("a", [*values, math.nan])])
    (kept,) = read_rows([tmp_path])
    assert list(kept.values["average_precision"][:-1]) == values
    assert math.isnan(kept.values["average_precision"][-1])


def test_nothing_stands_twice(tmp_path):
    rows = [plausibility(name, [0.1, 0.2, 0.3]) for name in "abc"] + [plausibility("d", [0.1, 0.2, 0.4])]
    keep_rows(tmp_path / "rows.parquet", rows)
    table = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [line["place"] for line in table] == [0, 0, 0, 1]
    assert [line["texts"] for line in table] == [[0, 1, 2], None, None, None]
    ((name, numbers),) = table[0]["values"]
    assert name == "average_precision"
    assert numbers == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.4])


def test_a_folder_may_hold_lines_and_kept_rows(tmp_path):
    RowFile(tmp_path / "a.jsonl").append("cell", [plausibility("lines", [0.5])])
    keep_rows(tmp_path / "b.parquet", [plausibility("kept", [0.5])])
    assert [read.method for read in read_rows([tmp_path])] == ["lines", "kept"]


@pytest.mark.parametrize(
    ("values", "message"),
    [([1.2345e-46], "float32 cannot keep it"), ([1e39], "float32 cannot keep it"), ([0.1, 0.2], "2 values .* not 1")],
)
def test_what_cannot_be_kept_is_refused_and_the_old_file_stays(tmp_path, values, message):
    path = tmp_path / "rows.parquet"
    keep_rows(path, [row()])
    before = path.read_bytes()
    with pytest.raises(BenchmarkError, match=message):
        keep_rows(path, [replace(row(), values={"f1": values})])
    assert path.read_bytes() == before


class TestDamage:
    @pytest.fixture
    def path(self, tmp_path):
        keep_rows(tmp_path / "rows.parquet", [plausibility(name, [0.1, i / 10]) for i, name in enumerate("ab")])
        return tmp_path / "rows.parquet"

    def test_a_file_that_is_cut_off_or_no_parquet_is_refused(self, path):
        whole = path.read_bytes()
        for content in (whole[:-20], whole[: len(whole) // 2], b"", b"text\n" * 100):
            path.write_bytes(content)
            with pytest.raises(BenchmarkError, match=r"rows.parquet is damaged, or not a Parquet file"):
                read_rows([path])

    def test_another_table_is_refused(self, path):
        pq.write_table(pa.table({"text": ["a"], "score": [0.5]}), path)
        with pytest.raises(BenchmarkError, match=r"its columns are text, score\. Expected a file that scripts/keep"):
            read_rows([path])

    def test_a_file_of_another_version_is_refused(self, path):
        table = pq.read_table(path)
        pq.write_table(table.replace_schema_metadata({"expnet.rows": "2"}), path)
        with pytest.raises(BenchmarkError, match="that this version of expnet can read"):
            read_rows([path])

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"block": 5}, "no place 1 in block 5"),
            ({"block": 1}, "cannot reshape"),
            ({"place": -1}, "no place -1"),
            ({"place": 7}, "cannot reshape"),
            ({"texts": [0, 1]}, "values are missing"),
            ({"condition": "[]"}, r"expected an object as condition, got \[\]"),
            ({"provenance": "{"}, "damaged"),
        ],
    )
    def test_lines_that_contradict_each_other_are_refused(self, path, change, message):
        table = pq.read_table(path)
        lines = table.to_pylist()
        lines[1] |= change
        pq.write_table(pa.Table.from_pylist(lines, schema=table.schema), path)
        with pytest.raises(BenchmarkError, match=f"damaged.*{message}" if message != "damaged" else message):
            read_rows([path])


def test_a_report_of_one_plan_leaves_out_the_rows_of_others(tmp_path):
    rows = [plausibility("saliency", [0.2, 0.4], provenance={"plan": plan}) for plan in ("ring", "paper")]
    keep_rows(tmp_path / "rows.parquet", rows)
    arguments = ["report", str(tmp_path), "--output", str(tmp_path / "report.html")]
    run = CliRunner().invoke
    assert run(app, [*arguments, "--plan", "ring"], catch_exceptions=False).exit_code == 0
    with pytest.raises(InputError, match=r"no rows of the plan 'rings'; there are those of paper, ring\."):
        run(app, [*arguments, "--plan", "rings"], catch_exceptions=False)
    with pytest.raises(BenchmarkError, match="--plan NAME"):
        run(app, arguments, catch_exceptions=False)


@given(st.lists(st.lists(five_digits, min_size=4, max_size=4), min_size=1, max_size=5), st.permutations(range(4)))
@settings(max_examples=50, deadline=None)
def test_means_over_seeds_are_those_of_a_plain_loop_in_the_same_order(columns, texts):
    rows = [plausibility("a", column, texts=tuple(texts)) for column in columns]
    values_of: dict[int, list[float]] = {}
    for column in columns:
        for text, value in zip(texts, column, strict=True):
            if not math.isnan(value):
                values_of.setdefault(text, []).append(value)
    means = {text: sum(values) / len(values) for text, values in values_of.items()}
    assert list(by_text(rows, "average_precision").items()) == list(means.items())


def test_remembered_draws_are_those_of_numpys_choice():
    for n in (1, 7, 1048, 1100):  # the last is too large to be remembered
        values = np.random.default_rng(n).random(n)
        means = np.random.default_rng(3).choice(values, (1000, n)).mean(1)
        for _ in range(2):
            assert bootstrap(values, seed=3) == tuple(np.quantile(means, [(1 - 0.95) / 2, (1 + 0.95) / 2]))
