"""Agreement with people and how sure it is, by hand, against scikit-learn, scipy and ERASER's definition."""

import inspect
import itertools
import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import permutation_test
from sklearn.metrics import average_precision_score, f1_score, precision_recall_fscore_support, roc_auc_score

from expnet.errors import InputError
from expnet.metrics import (
    auroc,
    average_precision,
    best_f1,
    bootstrap,
    estimate,
    holm,
    iou_f1,
    mark_top,
    paired_test,
    precision_recall,
    soft_average_precision,
    token_f1,
)

# Both sides sum at most thirty ratios in double precision.
EXACT = {"rel": 0, "abs": 1e-12}
# Few values, so that ties are common, and the far ends of what attribution methods return.
SCORES = st.sampled_from([0.0, -0.0, 0.25, 0.5, 0.75, 1.0, -1.0, 3.0, 1e-300, 1e300, -1e300]) | st.floats(-1, 1)


def case(*words: tuple[float, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and marks of words given as (score, mark)."""
    scores, marks = zip(*words, strict=True)
    return np.array(scores, dtype=float), np.array(marks, dtype=bool)


CASES = st.lists(st.tuples(SCORES, st.integers(0, 1)), min_size=1, max_size=30)


def test_auroc_counts_pairs_in_the_right_order_and_half_of_the_ties():
    # Marked 0.9, 0.5 against 0.5, 0.1: above, above, tie, above.
    assert auroc(*case((0.9, 1), (0.5, 1), (0.5, 0), (0.1, 0))) == pytest.approx(3.5 / 4, **EXACT)
    assert auroc(*case((1, 1), (0, 0))) == pytest.approx(1, **EXACT)
    assert auroc(*case((0, 1), (1, 0))) == pytest.approx(0, **EXACT)
    assert auroc(*case((2, 1), (2, 0), (2, 0), (2, 1))) == pytest.approx(0.5, **EXACT)


def test_average_precision_weights_precision_by_the_recall_it_adds():
    # Marks at ranks 1 and 3: (1/1 + 2/3) / 2.
    assert average_precision(*case((0.9, 1), (0.5, 0), (0.4, 1), (0.1, 0))) == pytest.approx(5 / 6, **EXACT)
    # Two of equal score enter together, one of them marked: precision 1/2.
    assert average_precision(*case((0.9, 0), (0.9, 1), (0.1, 0))) == pytest.approx(1 / 2, **EXACT)
    assert average_precision(*case((0, 1), (0, 0), (0, 0), (0, 0))) == pytest.approx(1 / 4, **EXACT)
    assert average_precision(*case((0.2, 1), (0.1, 1))) == pytest.approx(1, **EXACT)


@given(CASES)
def test_auroc_and_average_precision_agree_with_scikit_learn(words):
    scores, marks = case(*words)
    assume(marks.any())
    assert average_precision(scores, marks) == pytest.approx(average_precision_score(marks, scores), **EXACT)
    assume(not marks.all())
    assert auroc(scores, marks) == pytest.approx(roc_auc_score(marks, scores), **EXACT)


def test_soft_average_precision_counts_words_by_the_share_who_marked_them():
    # Best: 1, 0.5, 0: 1 × 1/1 + 0.5 × 1.5/2. Here 0.5, 0, 1: 0.5 × 0.5/1 + 1 × 1.5/3.
    reached, best = 0.5 * 0.5 + 0.5, 1 + 0.5 * 0.75
    scores, shares = np.array([0.2, 0.9, 0.5]), np.array([1.0, 0.5, 0.0])
    assert soft_average_precision(scores, shares) == pytest.approx(reached / best, **EXACT)
    assert np.isnan(soft_average_precision(scores, np.zeros(3)))
    for wrong in ([1.0, 0.5], [1.0, 0.5, 1.5], [1.0, 0.5, np.nan]):
        with pytest.raises(InputError, match="Expected 3 shares from 0 to 1"):
            soft_average_precision(scores, np.array(wrong))


@given(CASES)
def test_soft_average_precision_of_marks_is_average_precision(words):
    scores, marks = case(*words)
    assume(marks.any())
    assert soft_average_precision(scores, marks.astype(float)) == pytest.approx(
        average_precision(scores, marks), **EXACT
    )


@given(st.lists(st.sampled_from([0, 0.25, 0.5, 1]), min_size=1, max_size=6).filter(any))
def test_no_ranking_has_a_soft_average_precision_above_1(shares):
    marked = np.array(shares, dtype=float)
    reached = [soft_average_precision(np.array(p, dtype=float), marked) for p in permutations(range(len(marked)))]
    assert max(reached) == pytest.approx(1, **EXACT)


@given(CASES)
def test_only_the_order_of_scores_matters(words):
    scores, marks = case(*words)
    assume(marks.any() and not marks.all())
    ranks = np.unique(scores, return_inverse=True)[1].astype(float)
    for metric in (auroc, average_precision):
        assert metric(ranks, marks) == pytest.approx(metric(scores, marks), **EXACT)
        assert metric(np.exp(ranks / 3) - 5, marks) == pytest.approx(metric(scores, marks), **EXACT)


@given(CASES)
def test_auroc_of_reversed_scores_is_the_rest_to_one(words):
    scores, marks = case(*words)
    assume(marks.any() and not marks.all())
    assert auroc(scores, marks) + auroc(-scores, marks) == pytest.approx(1, **EXACT)


def test_infinite_scores_are_ranked_and_tie_with_each_other():
    inf = math.inf
    scores, marks = case((inf, 1), (inf, 0), (0.0, 1), (-inf, 0), (-inf, 0))
    assert auroc(scores, marks) == pytest.approx((2.5 + 2) / 6, **EXACT)
    # One of two at infinity, then two of three.
    assert average_precision(scores, marks) == pytest.approx((1 / 2 + 2 / 3) / 2, **EXACT)


def test_single_precision_scores_at_its_ends_do_not_overflow():
    top = np.finfo(np.float32).max
    scores, marks = np.array([top, -top], dtype=np.float32), np.array([True, False])
    assert auroc(scores, marks) == pytest.approx(1, **EXACT)
    assert average_precision(scores, marks) == pytest.approx(1, **EXACT)


def test_auroc_needs_both_kinds_of_words_and_average_precision_a_marked_one():
    nothing, everything, no_words = case((0.1, 0), (0.2, 0)), case((0.1, 1), (0.2, 1)), (np.zeros(0), np.zeros(0, bool))
    assert [math.isnan(auroc(*case)) for case in (nothing, everything, no_words)] == [True, True, True]
    assert [math.isnan(average_precision(*case)) for case in (nothing, everything, no_words)] == [True, False, True]


@pytest.mark.parametrize("metric", [auroc, average_precision, best_f1])
def test_scores_that_are_not_a_number_are_refused_and_counted(metric):
    with pytest.raises(InputError, match="2 of 3 scores are NaN"):
        metric(*case((math.nan, 1), (0.3, 0), (math.nan, 0)))
    with pytest.raises(InputError, match="1 of 1 scores are NaN"):
        mark_top(np.array([math.nan]), 0.5)


@pytest.mark.parametrize("metric", [auroc, average_precision, best_f1, token_f1, precision_recall, iou_f1])
def test_marks_that_are_no_booleans_or_too_few_are_refused(metric):
    plain = inspect.unwrap(metric)  # without the type checks that only run in tests
    words = (
        np.array([True, False, True]) if metric in (token_f1, precision_recall, iou_f1) else np.array([0.1, 0.2, 0.3])
    )
    with pytest.raises(InputError, match="Expected 3 marks of type bool, got 3 of type int64"):
        plain(words, np.array([0, 1, 1]))
    with pytest.raises(InputError, match="Expected 3 marks of type bool, got 1 of type bool"):
        plain(words, np.array([True]))


def test_token_f1_by_hand():
    yes, no = True, False
    assert token_f1(np.array([yes, yes, no, no]), np.array([yes, no, yes, yes])) == pytest.approx(2 / 5, **EXACT)
    assert token_f1(np.array([yes, no]), np.array([no, yes])) == pytest.approx(0, **EXACT)
    assert token_f1(np.array([no, no]), np.array([no, yes])) == pytest.approx(0, **EXACT)
    assert token_f1(np.array([no, no]), np.array([no, no])) == pytest.approx(1, **EXACT)
    assert token_f1(np.zeros(0, bool), np.zeros(0, bool)) == pytest.approx(1, **EXACT)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_token_f1_agrees_with_scikit_learn_and_is_symmetric(words):
    predicted, marks = np.array(words, dtype=bool).T
    expected = f1_score(marks, predicted, zero_division=1.0)
    assert token_f1(predicted, marks) == pytest.approx(expected, **EXACT)
    assert token_f1(marks, predicted) == pytest.approx(expected, **EXACT)


MARKS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30)


@given(MARKS)
def test_precision_and_recall_agree_with_scikit_learn_and_their_harmonic_mean_is_f1(words):
    predicted, marks = np.array(words, dtype=bool).T
    reached = precision_recall(predicted, marks)
    if predicted.any() or marks.any():
        expected = precision_recall_fscore_support(marks, predicted, average="binary", zero_division=0.0)
        assert reached == pytest.approx(expected[:2], **EXACT)
    else:
        assert reached == (1, 1)
    harmonic = 2 * reached[0] * reached[1] / sum(reached) if sum(reached) else 0
    assert token_f1(predicted, marks) == pytest.approx(harmonic, **EXACT)


def runs(row: str) -> np.ndarray:
    return np.array([mark == "x" for mark in row])


@pytest.mark.parametrize(
    ("predicted", "marks", "expected"),
    [
        ("xx..xx", "xx..xx", 1),
        ("xxxx..", "xx....", 1),  # 2 of 4 shared: half is enough
        ("xxxxx.", "xx....", 0),  # 2 of 5 is not
        (".xx...", "xx....", 0),  # 1 of 3
        ("xx...x", "xx....", 2 / 3),  # one of two runs right
        ("x.x.x.", "xxxxx.", 0),  # three words of five agree, but no run
        ("......", "......", 1),
        ("......", "x.....", 0),
        ("x.....", "......", 0),
    ],
)
def test_iou_f1_by_hand(predicted, marks, expected):
    assert iou_f1(runs(predicted), runs(marks)) == pytest.approx(expected, **EXACT)


@given(MARKS)
def test_iou_f1_is_eraser_s_partial_match_of_one_text(words):
    """ERASER's `partial_match_score` at 0.5, written again over spans of start and end."""
    predicted, marks = np.array(words, dtype=bool).T

    def spans(row):
        runs, start = [], 0
        for value, group in itertools.groupby(row.tolist()):
            stop = start + len(list(group))
            runs += [(start, stop)] if value else []
            start = stop
        return runs

    def iou(one, other):
        shared = max(0, min(one[1], other[1]) - max(one[0], other[0]))
        return shared / (one[1] - one[0] + other[1] - other[0] - shared)

    predicted_spans, gold = spans(predicted), spans(marks)
    assume(predicted_spans and gold)
    hits = sum(max(iou(span, other) for other in gold) >= 0.5 for span in predicted_spans)
    precision, recall = hits / len(predicted_spans), hits / len(gold)
    assert recall <= 1
    expected = 2 * precision * recall / (precision + recall) if hits else 0
    assert iou_f1(predicted, marks) == pytest.approx(expected, **EXACT)
    assert iou_f1(marks, predicted) == pytest.approx(expected, **EXACT)


def test_best_f1_by_hand():
    # Of the top 1, 2, 3, 4 words 1, 1, 2, 2 are marked: F1 2/3, 2/4, 4/5, 4/6.
    assert best_f1(*case((0.9, 1), (0.5, 0), (0.4, 1), (0.1, 0))) == pytest.approx(4 / 5, **EXACT)
    # Equal scores cannot be told apart by a threshold.
    assert best_f1(*case((0.5, 1), (0.5, 0), (0.5, 0))) == pytest.approx(2 / 4, **EXACT)
    assert math.isnan(best_f1(*case((0.5, 0), (0.1, 0))))
    assert math.isnan(best_f1(np.zeros(0), np.zeros(0, bool)))


@given(CASES)
def test_best_f1_is_that_of_the_best_of_all_thresholds(words):
    scores, marks = case(*words)
    assume(marks.any())
    every = [token_f1(scores >= threshold, marks) for threshold in scores]
    assert best_f1(scores, marks) == pytest.approx(max(every), **EXACT)


@pytest.mark.parametrize(
    ("share", "count"),
    [(0.0, 1), (0.04, 1), (0.1, 1), (0.2, 2), (0.24, 2), (0.26, 3), (0.5, 5), (0.96, 10), (1.0, 10), (2.0, 10)],
)
def test_mark_top_marks_the_share_but_one_word_at_least(share, count):
    scores = np.array([3.0, 9, 1, 7, 5, 0, 8, 2, 6, 4])
    assert np.array_equal(mark_top(scores, share), scores >= 10 - count)


def test_of_equal_scores_the_first_in_the_text_are_marked():
    assert mark_top(np.array([1.0, 2.0, 1.0, 2.0, 1.0]), 0.6).tolist() == [True, True, False, True, False]
    assert mark_top(np.zeros(4), 0.5).tolist() == [True, True, False, False]


def test_a_text_without_words_has_no_top():
    assert mark_top(np.zeros(0), 0.5).tolist() == []


@given(st.lists(SCORES, min_size=1, max_size=30), st.floats(0, 1))
def test_no_unmarked_word_scores_above_a_marked_one(values, share):
    scores = np.array(values)
    marked = mark_top(scores, share)
    assert marked.sum() == max(1, round(share * len(scores)))
    assert scores[marked].min() >= scores[~marked].max(initial=-np.inf)


def test_the_bootstrap_interval_is_that_of_the_normal_law():
    values = np.random.default_rng(3).normal(5, 2, size=400)
    low, high = bootstrap(values, draws=40000)
    error = values.std() / np.sqrt(len(values))
    # A quantile of 40,000 draws is itself off by about 0.013 standard errors; 0.05 is four times that.
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.05 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.05 * error)


def test_the_bootstrap_interval_covers_the_true_mean_as_often_as_it_says():
    generator = np.random.default_rng(7)
    samples = [generator.exponential(2.0, size=80) for _ in range(400)]
    for level in (0.5, 0.9):
        intervals = [bootstrap(values, draws=300, level=level) for values in samples]
        covered = np.mean([low <= 2.0 <= high for low, high in intervals])
        # Three standard errors of a share over 400 samples, and a little for the skew of eighty values.
        assert covered == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / 400) + 0.02)


def test_the_bootstrap_repeats_itself_by_seed_and_differs_by_seed():
    values = np.random.default_rng(0).random(50)
    assert bootstrap(values, seed=4) == bootstrap(values, seed=4)
    assert bootstrap(values, seed=4) != bootstrap(values, seed=5)


def test_the_bootstrap_leaves_undefined_texts_out():
    values = np.array([0.2, math.nan, 0.4, 0.9, math.nan])
    assert bootstrap(values) == bootstrap(np.array([0.2, 0.4, 0.9]))
    assert values.tolist()[2:4] == [0.4, 0.9]
    assert np.isnan(bootstrap(np.array([math.nan]))).all()
    assert np.isnan(bootstrap(np.zeros(0))).all()


def test_the_bootstrap_of_a_constant_has_no_width():
    assert bootstrap(np.full(7, 0.25)) == pytest.approx((0.25, 0.25), **EXACT)


def test_an_estimate_counts_the_texts_on_which_the_metric_is_defined():
    values = np.array([0.2, math.nan, 0.4, 0.9])
    estimated = estimate(values, seed=3)
    assert (estimated.mean, estimated.n) == (pytest.approx(0.5, **EXACT), 3)
    assert (estimated.low, estimated.high) == bootstrap(values, seed=3)
    values = np.random.default_rng(0).random(50)
    estimated = estimate(values, seed=3, draws=200, level=0.5)
    assert (estimated.low, estimated.high) == bootstrap(values, seed=3, draws=200, level=0.5)
    nothing = estimate(np.full(2, math.nan))
    assert nothing.n == 0
    assert np.isnan([nothing.mean, nothing.low, nothing.high]).all()


def test_the_paired_test_by_hand():
    # Of the eight choices of signs of (1, 2, 3), only all plus and all minus are as extreme.
    assert paired_test(np.array([1.0, 2, 3]), np.zeros(3)) == pytest.approx(2 / 8, **EXACT)
    # (1, 2, -3) sums to 0, and every choice is as extreme.
    assert paired_test(np.array([1.0, 2, 0]), np.array([0.0, 0, 3])) == pytest.approx(1, **EXACT)
    assert paired_test(np.array([0.1, 0.2, 0.3]), np.array([0.1, 0.2, 0.3])) == pytest.approx(1, **EXACT)


PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=9)


@given(PAIRS)
def test_the_exact_paired_test_agrees_with_scipy(pairs):
    a, b = np.array(pairs, dtype=float).T
    expected = permutation_test(
        (a, b), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    assert paired_test(a, b) == pytest.approx(min(1, expected.pvalue), **EXACT)


@given(PAIRS)
def test_the_paired_test_does_not_care_which_is_first(pairs):
    a, b = np.array(pairs, dtype=float).T
    assert paired_test(a, b) == pytest.approx(paired_test(b, a), **EXACT)


def test_the_drawn_paired_test_comes_near_the_normal_law():
    generator = np.random.default_rng(5)
    a, b = generator.normal(0.12, 1, 400), generator.normal(0, 1, 400)
    difference = a - b
    z = abs(difference.mean()) / np.sqrt((difference**2).mean() / 400)
    # Four standard errors of a share over 10,000 draws.
    expected = math.erfc(z / math.sqrt(2))
    assert paired_test(a, b) == pytest.approx(expected, abs=4 * math.sqrt(expected / 10000) + 0.002)
    assert paired_test(a, b, seed=1) == paired_test(a, b, seed=1) != paired_test(a, b, seed=2)


def test_no_difference_is_found_as_often_as_the_level_allows():
    generator = np.random.default_rng(11)
    p = [paired_test(*generator.normal(size=(2, 20)), draws=199) for _ in range(400)]
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=3 * math.sqrt(0.1 * 0.9 / 400))


def test_a_drawn_p_value_is_never_zero():
    assert paired_test(np.arange(1.0, 51), np.zeros(50), draws=999) == pytest.approx(1 / 1000, **EXACT)


def test_pairs_with_nan_are_left_out_of_the_paired_test():
    a, b = np.array([1.0, math.nan, 2, 3, 5]), np.array([0.0, 7, 0, 0, math.nan])
    assert paired_test(a, b) == pytest.approx(2 / 8, **EXACT)
    assert math.isnan(paired_test(np.array([math.nan]), np.zeros(1)))


def test_columns_of_different_length_are_refused():
    with pytest.raises(InputError, match="got 3 and 2 values"):
        inspect.unwrap(paired_test)(np.zeros(3), np.zeros(2))


def test_holm_by_hand():
    # Ranked 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1; later ones are not smaller than earlier ones.
    assert holm(np.array([0.03, 0.01, 0.04, 0.02])).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06], **EXACT)
    assert holm(np.array([0.6, 0.9])).tolist() == pytest.approx([1, 1], **EXACT)
    assert holm(np.array([0.02, math.nan, 0.5])).tolist() == pytest.approx([0.04, math.nan, 0.5], nan_ok=True, **EXACT)
    assert holm(np.zeros(0)).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 0.2))
def test_holm_rejects_step_by_step(p_values, level):
    rejected, order = set(), np.argsort(p_values, kind="stable")
    for done, test in enumerate(order.tolist()):
        if p_values[test] * (len(p_values) - done) > level:
            break
        rejected.add(test)
    assert set(np.flatnonzero(holm(np.array(p_values)) <= level).tolist()) == rejected
