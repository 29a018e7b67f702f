"""How much two lists of scores of the same words agree: of two seeds, methods, or a trained and a randomised model."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from expnet.errors import InputError
from expnet.metrics.plausibility import check_scores, mark_top


def rank_correlation(a: Float[ndarray, " words"], b: Float[ndarray, " _"]) -> float:
    """Return Spearman's correlation; equal scores share the mean of their ranks.

    In [-1, 1]; NaN where the scores of one side are all equal, as those of one word are.

    Raises:
        InputError: If a score is NaN, or the lists differ in length.
    """
    _check_pair(a, b)
    first, second = _ranks(a), _ranks(b)
    return _cosine(first - first.mean(), second - second.mean()) if len(a) else float("nan")


def kendall_tau(a: Float[ndarray, " words"], b: Float[ndarray, " _"]) -> float:
    """Return Kendall's tau-b: pairs of words in the same order less those in the opposite, tied pairs discounted.

    In [-1, 1]; NaN where the scores of one side are all equal, as those of one word are.

    Raises:
        InputError: If a score is NaN, or the lists differ in length.
    """
    _check_pair(a, b)
    # Compared, not subtracted: infinite scores have an order, but no difference.
    first, second = ((values[:, None] > values).astype(float) - (values[:, None] < values) for values in (a, b))
    return _cosine(first.ravel(), second.ravel())


def top_overlap(a: Float[ndarray, " words"], b: Float[ndarray, " _"], share: float) -> float:
    """Return which part of the top words of one side are top words of the other.

    Args:
        a: Scores of the words.
        b: Others of the same words.
        share: How many words are on top, as in `mark_top`. Random scores overlap by about this share.

    Returns:
        In [0, 1]; NaN for a text without words.

    Raises:
        InputError: If a score is NaN, or the lists differ in length.
    """
    _check_pair(a, b)
    top = mark_top(a, share)
    return float((top & mark_top(b, share)).sum() / top.sum()) if len(a) else float("nan")


def _ranks(scores: ndarray) -> ndarray:
    """Rank from the smallest on, in half steps: equal scores stand in the middle of their places."""
    ordered = np.sort(scores)
    return (np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")) / 2


def _cosine(a: ndarray, b: ndarray) -> float:
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip(a @ b / norm, -1, 1)) if norm else float("nan")


def _check_pair(a: ndarray, b: ndarray) -> None:
    for scores in (a, b):
        check_scores(scores)
    if len(a) != len(b):
        raise InputError(f"Expected two scores for each word, got {len(a)} and {len(b)} scores.")
