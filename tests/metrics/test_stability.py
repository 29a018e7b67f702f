"""Two score lists of the same words, against scipy and by hand."""

import inspect
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from expnet.errors import InputError
from expnet.metrics import kendall_tau, rank_correlation, top_overlap

# Few values, so that ties are common.
SCORES = st.sampled_from([0.0, 0.25, 0.5, 1.0, -1.0, 3.0]) | st.floats(-1, 1)
PAIRS = st.lists(st.tuples(SCORES, SCORES), min_size=2, max_size=30)
# Sums of at most 900 products in double precision.
EXACT = {"rel": 0, "abs": 1e-9}


@given(PAIRS)
def test_correlations_agree_with_scipy(pairs):
    a, b = np.array(pairs).T
    assume(len(set(a)) > 1 and len(set(b)) > 1)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic, **EXACT)
    assert kendall_tau(a, b) == pytest.approx(kendalltau(a, b).statistic, **EXACT)


@given(PAIRS)
def test_correlations_know_only_the_order_and_turn_with_it(pairs):
    a, b = np.array(pairs).T
    assume(len(set(a)) > 1 and len(set(b)) > 1)
    ranks = np.unique(a, return_inverse=True)[1].astype(float)
    for correlation in (rank_correlation, kendall_tau):
        assert correlation(a, a) == pytest.approx(1, **EXACT)
        assert correlation(np.exp(ranks), b) == pytest.approx(correlation(a, b), **EXACT)
        assert correlation(-a, b) == pytest.approx(-correlation(a, b), **EXACT)
        assert correlation(b, a) == pytest.approx(correlation(a, b), **EXACT)


def test_infinite_scores_have_an_order():
    inf = math.inf
    a, b = np.array([inf, 0, -inf, inf]), np.array([3.0, 2, 1, 3])
    assert rank_correlation(a, b) == pytest.approx(1, **EXACT)
    assert kendall_tau(a, b) == pytest.approx(1, **EXACT)


@pytest.mark.parametrize("correlation", [rank_correlation, kendall_tau])
def test_where_one_side_is_constant_there_is_no_correlation(correlation):
    for a, b in (([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [0, 0, 0]), ([1], [2]), ([], [])):
        assert math.isnan(correlation(np.array(a, dtype=float), np.array(b, dtype=float)))


def test_top_words_in_common_by_hand():
    a, b = np.array([9.0, 8, 7, 1, 2]), np.array([9.0, 1, 2, 8, 7])
    assert top_overlap(a, b, 0.2) == pytest.approx(1, **EXACT)
    assert top_overlap(a, b, 0.4) == pytest.approx(1 / 2, **EXACT)
    assert top_overlap(a, b, 0.6) == pytest.approx(1 / 3, **EXACT)
    assert top_overlap(a, b, 1.0) == pytest.approx(1, **EXACT)
    assert math.isnan(top_overlap(np.zeros(0), np.zeros(0), 0.5))


def test_top_words_of_random_scores_overlap_by_the_share():
    generator = np.random.default_rng(0)
    overlaps = [top_overlap(*generator.random((2, 20)), 0.3) for _ in range(2000)]
    assert np.mean(overlaps) == pytest.approx(0.3, abs=4 * np.std(overlaps) / np.sqrt(2000))


@pytest.mark.parametrize("measure", [rank_correlation, kendall_tau, lambda a, b: top_overlap(a, b, 0.5)])
def test_nan_is_refused_on_either_side(measure):
    for a, b in (([math.nan, 1], [1, 2]), ([1, 2], [math.nan, 1])):
        with pytest.raises(InputError, match="1 of 2 scores are NaN"):
            measure(np.array(a, dtype=float), np.array(b, dtype=float))


@pytest.mark.parametrize("measure", [rank_correlation, kendall_tau])
def test_lists_of_different_length_are_refused(measure):
    with pytest.raises(InputError, match="got 3 and 2 scores"):
        inspect.unwrap(measure)(np.zeros(3), np.zeros(2))
