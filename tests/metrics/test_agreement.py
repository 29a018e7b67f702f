"""People against people: by hand, and the figures that are known of real annotators."""

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expnet.errors import InputError
from expnet.metrics import auroc, average_precision, leave_one_annotator_out, majority, one_against_others, token_f1

DATA = Path(__file__).parents[3] / "shared" / "data"


def marks(*rows):
    return [np.array([mark == "x" for mark in row]) for row in rows]


def test_the_majority_is_more_than_half():
    assert majority(marks("xx.", "x..")).tolist() == [True, False, False]
    assert majority(marks("xx.", "x..", ".x.")).tolist() == [True, True, False]
    assert majority(marks("x.", "x.", ".x", ".x")).tolist() == [False, False]


def test_each_annotator_meets_the_majority_of_the_others():
    first, second, third = marks("xx..", "xxx.", ".xx.")
    pairs = leave_one_annotator_out([first, second, third])
    assert [own.tolist() for own, _ in pairs] == [first.tolist(), second.tolist(), third.tolist()]
    assert [reference.tolist() for _, reference in pairs] == [
        reference_marks.tolist() for reference_marks in marks(".xx.", ".x..", "xx..")
    ]
    # F1 by hand: 2·1/(2+2), 2·1/(3+1), 2·1/(2+2).
    assert one_against_others([first, second, third]) == pytest.approx(1 / 2, abs=1e-12)


def test_annotators_whose_others_agree_on_nothing_are_left_out():
    pairs = leave_one_annotator_out(marks("xx.", "x..", "..x"))
    assert [(own.tolist(), reference.tolist()) for own, reference in pairs] == [
        ([False, False, True], [True, False, False])
    ]
    assert one_against_others(marks("xx.", "x..", "..x")) == 0


def test_two_annotators_or_none_who_agree_give_no_figure():
    assert leave_one_annotator_out(marks("x.", "x.")) == []
    assert math.isnan(one_against_others(marks("x.", "x.")))
    assert math.isnan(one_against_others(marks("x..", ".x.", "..x")))


def test_who_marked_nothing_disagrees_with_those_who_did():
    assert one_against_others(marks("x.", "x.", "x.", "..")) == pytest.approx(3 / 4, abs=1e-12)


def test_a_person_s_marks_are_scores_for_every_metric():
    ((own, reference), *_) = leave_one_annotator_out(marks("xx..", "x.x.", "x.x."))
    # One of the two marked words is above both unmarked ones' ties: pairs (x over x: tie, x over .: win) and so on.
    assert auroc(own.astype(float), reference) == pytest.approx((1 / 2 + 1 + 0 + 1 / 2) / 4, abs=1e-12)
    assert average_precision(own.astype(float), reference) == pytest.approx((1 / 2 + 2 / 4) / 2, abs=1e-12)


@given(st.integers(1, 7), st.integers(0, 12), st.integers(0, 2**31))
def test_annotators_who_agree_have_f1_one_and_order_does_not_matter(people, words, seed):
    generator = np.random.default_rng(seed)
    own = generator.random(words) < 0.5
    alike = one_against_others([own] * people)
    assert alike == 1 if people >= 3 and own.any() else math.isnan(alike)
    several = list(generator.random((people, words)) < 0.5)
    turned = one_against_others(several[::-1])
    assert turned == pytest.approx(one_against_others(several), abs=1e-12, nan_ok=True)


def test_no_annotators_and_marks_of_different_texts_are_refused():
    for function in (majority, leave_one_annotator_out, one_against_others):
        with pytest.raises(InputError, match=r"got lengths \[\]"):
            function([])
        with pytest.raises(InputError, match=r"got lengths \[2, 3\]"):
            function(marks("x..", "x."))


@pytest.mark.parametrize(
    ("name", "pooled", "by_text"),
    [("hatexplain", 0.760, 0.743), ("fair_sst", 0.598, 0.593), ("toxic_spans", 0.731, 0.657)],
)
def test_the_reference_figures_are_those_of_people_who_marked_something(name, pooled, by_text):
    """One human against the others, over annotators of all texts with a rationale, and as the mean over texts."""
    path = DATA / name / "test.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    with gzip.open(path, "rt") as file:
        rows = [json.loads(line) for line in file]
    texts = [
        [own for own in (np.array(word_marks, dtype=bool) for word_marks in row["annotators"]) if own.any()]
        for row in rows
        if row["rationale"] is not None and row.get("annotators")
    ]
    scores = [token_f1(*pair) for annotators in texts if annotators for pair in leave_one_annotator_out(annotators)]
    assert np.mean(scores) == pytest.approx(pooled, abs=5e-4)
    means = [one_against_others(annotators) for annotators in texts if annotators]
    assert np.nanmean(means) == pytest.approx(by_text, abs=5e-4)
