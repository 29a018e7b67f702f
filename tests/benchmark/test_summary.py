"""What rows say together: by hand, and as a naive reading of the same rows would have it."""

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from expnet.benchmark.present import comparison, summary, tables
from expnet.benchmark.present.summary import MeanOverSeeds
from expnet.benchmark.present.table import Table, markdown, shown, to_csv
from expnet.benchmark.rows import EXPNETS, Row
from expnet.errors import BenchmarkError
from expnet.explanation.escape import printable
from expnet.metrics.statistics import bootstrap, paired_test
from tests.benchmark_rows import plausibility, row
from tests.payloads import FORMULAS

NAN = math.nan


def test_a_figure_is_the_mean_over_texts_of_the_mean_over_seeds():
    rows = [
        plausibility("expnet", [0.2, 0.4, NAN], "cross-task", seed=0),
        plausibility("expnet", [0.4, 0.8, NAN], "cross-task", seed=1),
    ]
    measured = summary.figure(rows, "average_precision")
    assert (measured.mean, measured.n, measured.seeds) == (pytest.approx(0.45), 2, 2)  # of 0.3 and 0.6
    assert measured.sd == pytest.approx(0.3 / math.sqrt(2))  # of 0.3 and 0.6, too
    assert (measured.low, measured.high) == pytest.approx(bootstrap(np.array([0.3, 0.6])))


def test_a_figure_without_values_is_nan_and_one_run_has_no_spread():
    nothing = summary.figure([plausibility("a", [NAN])], "average_precision")
    assert (nothing.n, nothing.seeds) == (0, 0)
    assert math.isnan(nothing.mean)
    assert math.isnan(summary.figure([plausibility("a", [0.5, 0.7])], "average_precision").sd)


@given(st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=1, max_size=4))
def test_the_mean_of_a_figure_does_not_hang_on_how_texts_are_split_into_rows(seeds):
    whole = [plausibility("a", values, seed=seed) for seed, values in enumerate(seeds)]
    halves = [
        replace(row, texts=row.texts[part], values={"average_precision": values[part]})
        for row, values in zip(whole, seeds, strict=True)
        for part in (slice(0, 2), slice(2, 4))
    ]
    means = [summary.figure(rows, "average_precision").mean for rows in (whole, halves)]
    assert means[0] == pytest.approx(np.mean(seeds), abs=1e-12)
    assert means[1] == pytest.approx(means[0], abs=1e-12)


def test_the_best_baseline_is_neither_a_control_nor_measured_on_a_sample():
    rows = [
        plausibility("good", [0.6, 0.6]),
        plausibility("bad", [0.5, 0.5]),
        plausibility("undefined", [NAN, NAN]),
        plausibility("length", [0.9, 0.9], "control"),
        plausibility("expensive", [0.8], sample=True),
    ]
    assert [row.method for row in comparison.best(rows)] == ["good"]
    assert [row.method for row in comparison.best(rows, sample=True)] == ["expensive"]
    assert comparison.best(rows[2:4]) == []
    assert comparison.best([], sample=True) == []


def test_a_contest_is_held_on_the_texts_that_both_have():
    ours = plausibility("expnet", [0.5, 0.7, 0.9, 0.1], "cross-task", texts=(1, 2, 3, 4))
    theirs = plausibility("a", [0.4, 0.8, NAN, 0.3], texts=(1, 2, 3, 5))
    (contest,) = comparison.contests([ours, theirs])
    assert (contest.ours.mean, contest.theirs.mean, contest.gain.n) == (pytest.approx(0.6), pytest.approx(0.6), 2)
    assert contest.gain.mean == pytest.approx(0.0)
    assert contest.gain.sign == 0
    assert comparison.contests([ours, replace(theirs, texts=(6, 7, 8, 9))]) == []


def test_the_sign_of_a_gain_is_that_of_its_whole_interval():
    ends = [(0.1, 0.2), (-0.1, 0.2), (-0.2, -0.1), (0.0, 0.2), (NAN, NAN)]
    assert [comparison.Gain(0.0, low, high, 5, 0.5).sign for low, high in ends] == [1, 0, -1, 0, 0]


def test_p_values_are_adjusted_over_sets_and_not_over_kinds_of_expnet():
    values = {"one/test": [0.9] * 5, "two/test": [0.9, 0.8, 0.7, 0.6, 0.1]}
    rows = [plausibility("a", [0.4, 0.4, 0.4, 0.3, 0.2], set=name) for name in values]
    rows += [plausibility("expnet", values_of, "cross-task", set=name) for name, values_of in values.items()]
    rows.append(plausibility("expnet", values["one/test"], "in-domain", set="one/test"))
    contest_of = {(contest.place, contest.system): contest for contest in comparison.contests(rows)}
    theirs = np.array([0.4, 0.4, 0.4, 0.3, 0.2])
    raw = {name: paired_test(np.array(values_of), theirs) for name, values_of in values.items()}
    assert raw["one/test"] == 2 / 2**5  # all signs, or none
    assert contest_of["one/test", "ExpNet, cross-task"].holm == 2 * raw["one/test"]
    assert contest_of["two/test", "ExpNet, cross-task"].holm == max(2 * raw["one/test"], raw["two/test"])
    assert contest_of["one/test", "ExpNet, in-domain"].holm == raw["one/test"]


def test_each_tier_has_a_table_of_what_it_gains_on_each_set_and_counts_what_is_sure():
    rows = [plausibility("a", [0.4] * 5, set=name) for name in ("one/test", "two/test")]
    for method, values in (("expnet", [0.9] * 5), ("expnet_gradient", [0.3] * 5)):
        rows += [plausibility(method, values, "adapted", set=name) for name in ("one/test", "two/test")]
        rows.append(plausibility(method, values, "few marks", set="one/test", shots=16, start="nothing"))
    plain, gradient = tables.all_tables(rows)["ahead"]
    assert plain.header == ("set", "best baseline", "its value", "adapted")
    assert [table.title.split(":")[0] for table in (plain, gradient)] == ["ExpNet", "ExpNet with gradients"]
    assert [(line[0], line[1], line[3].mean) for line in plain.rows[:2]] == [
        ("one/test", "a", pytest.approx(0.5)),
        ("two/test", "a", pytest.approx(0.5)),
    ]
    assert plain.rows[2] == ("ahead / behind", None, None, "2 / 0")
    assert gradient.rows[2][3] == "0 / 2"
    heads = tables.all_tables(rows)["headline"]
    assert [head.header[4] for head in heads] == ["ExpNet, adapted", "ExpNet with gradients, adapted"]


def test_lessons_begin_with_no_mark_at_the_network_they_start_from():
    rows = [plausibility("expnet", [0.1], "adapted"), plausibility("expnet", [0.2], "cross-task")]
    rows += [plausibility("expnet", [0.3], "few marks", shots=16, start=start) for start in ("adapted", "nothing")]
    rows += [plausibility("expnet", [0.4], "few marks", shots="all", start="adapted")]
    rows += [plausibility("expnet_gradient", [0.5], "in-domain")]
    values = {
        start: {count: rows_of_step[0].values["average_precision"][0] for count, rows_of_step in steps.items()}
        for start, steps in summary.learning_curves(rows).items()
    }
    assert values == {
        "ExpNet, from adapted": {0: 0.1, 16: 0.3, math.inf: 0.4},
        "ExpNet, from cross-task": {0: 0.2},
        "ExpNet, from scratch": {16: 0.3},
        "ExpNet with gradients, from scratch": {math.inf: 0.5},
    }


def test_expensive_methods_are_compared_on_their_sample():
    rows = [
        plausibility("cheap", [0.5, 0.5, 0.5, 0.5]),
        plausibility("dear", [0.8, 0.6], sample=True, texts=(1, 3)),
        plausibility("expnet", [0.0, 0.7, 0.0, 0.9], "cross-task"),
    ]
    (contest,) = comparison.contests(rows, sample=True)
    assert (contest.baseline, contest.ours.n, contest.ours.mean) == ("dear", 2, pytest.approx(0.8))
    assert contest.gain.mean == pytest.approx(0.1)


def test_systems_are_named_by_their_training_and_ordered_few_marks_before_many():
    few = [plausibility("expnet", [0.5], "few marks", shots=shots, start="cross-task") for shots in ("all", 256, 16)]
    rows = [plausibility("expnet", [0.5], "in-domain"), *few, plausibility("expnet", [0.5], "cross-task")]
    assert list(summary.systems([*rows, plausibility("a", [0.5])], EXPNETS)) == [
        "ExpNet, cross-task",
        *(f"ExpNet, {shots} marks, from cross-task" for shots in (16, 256, "all")),
        "ExpNet, in-domain",
    ]


def test_places_are_told_apart_by_marks_and_by_classifier_only_where_needed():
    rows = [
        plausibility("a", [0.5]),
        plausibility("a", [0.5], set="b/test"),
        plausibility("a", [0.5], set="b/test", marks="majority"),
        plausibility("a", [0.5], set="c/test", classifier="x"),
        plausibility("a", [0.5], set="c/test", classifier="y"),
    ]
    assert list(summary.places(rows)) == ["a/test", "b/test", "b/test, majority", "c/test, x", "c/test, y"]
    kept = summary.main_marks([rows[2], rows[1], plausibility("a", [0.5], set="d/test", marks="majority")])
    assert list(summary.places(kept)) == ["b/test", "d/test, majority"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(texts=(0, 1), values={"f1": [0.1]})], "1 values of 'f1' for 2 texts"),
        ([row(condition={"seed": 3}), row(condition={"seed": 3})], "more than once.*3"),
    ],
)
def test_rows_that_cannot_be_averaged_are_refused(rows, message):
    with pytest.raises(BenchmarkError, match=message):
        summary.check_rows(rows)
    summary.check_rows([row(condition={"seed": 3}), row(condition={"seed": 4})])


def measured(method: str, set_: str, average: float, comprehensiveness: float, **changes) -> list[Row]:
    return [
        plausibility(method, [average], set=set_, **changes),
        row(
            kind="faithfulness",
            method=method,
            set=set_,
            values={"comprehensiveness": [comprehensiveness]},
            condition={"replacement": "mask", "seed": 0},
        ),
    ]


def test_the_trade_off_averages_over_the_sets_where_both_were_measured():
    rows = [
        *measured("a", "one/test", 0.2, 0.1),
        *measured("a", "two/test", 0.6, 0.3),
        *measured("b", "one/test", 0.9, 0.2, sample=True),
        plausibility("a", [0.9], set="three/test"),
        row(
            kind="faithfulness", values={"comprehensiveness": [0.9]}, condition={"replacement": "zero"}, set="one/test"
        ),
        row(kind="cost", values={"ratio": [2.0, 4.0]}, texts=(0, 1)),
    ]
    first, second = comparison.trade_off(rows)
    assert (first.system, first.sets, first.sample) == ("a", 2, False)
    assert (first.plausibility, first.faithfulness, first.cost) == (
        pytest.approx(0.4),
        pytest.approx(0.2),
        pytest.approx(3.0),
    )
    assert (second.system, second.sets, second.sample) == ("b", 1, True)
    assert math.isnan(second.cost)
    assert comparison.comparable([first, second]) == [first]
    assert comparison.comparable([replace(first, faithfulness=NAN), second]) == [second]
    assert comparison.trade_off(rows[:1]) == []


FIGURE = MeanOverSeeds(mean=0.80123, low=0.779, high=0.8249, n=262, seeds=3, sd=0.01)


def test_figures_read_as_in_a_paper_and_undefined_ones_as_a_dash():
    cells = [
        FIGURE,
        MeanOverSeeds(123.456, 100.0, 150.0, 5, 1, NAN),
        MeanOverSeeds(NAN, NAN, NAN, 0, 0, NAN),
        0.00001,
        12,
        NAN,
        None,
    ]
    assert [shown(cell) for cell in cells] == [
        "0.801 [0.779, 0.825]",
        "123.5 [100.0, 150.0]",
        "–",
        "< 0.001",
        "12",
        "–",
        "–",
    ]
    assert shown(comparison.Gain(0.1, -0.05, 0.2, 5, 0.3)) == "+0.100 [-0.050, 0.200]"


def test_a_spreadsheet_gets_numbers_as_numbers_and_no_formula():
    names = [*FORMULAS, 'a,"b"', "plain"]
    made = Table("t", ("name", "F1", "texts"), tuple((name, FIGURE, 3) for name in names))
    header, *read = csv.reader(io.StringIO(to_csv(made)))
    assert header == ["name", "F1", "F1 low", "F1 high", "texts"]
    assert [line[0] for line in read] == [*(f"'{printable(name)}" for name in FORMULAS), 'a,"b"', "plain"]
    assert [float(cell) for cell in read[0][1:]] == [0.80123, 0.779, 0.8249, 3]


def test_a_gain_below_zero_is_a_number_in_a_spreadsheet():
    made = Table("t", ("gain",), ((comparison.Gain(-0.1, -0.2, -0.05, 5, 0.3),),))
    assert to_csv(made).splitlines()[1] == "-0.1,-0.2,-0.05"


@given(st.text(st.characters(categories=["L", "P", "S", "Zs"]), min_size=1))
def test_names_come_back_from_markdown_as_they_were(name):
    made = Table("t", ("name", "texts"), ((name, 3),), bold=frozenset({(0, 1)}))
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown(made))
    cells = [token for token in tokens if token.type == "inline"][-2:]
    assert "".join(child.content for child in cells[0].children or []).split() == name.split()
    assert "strong_open" in [child.type for child in cells[1].children or []]
