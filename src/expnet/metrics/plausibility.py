"""Agreement of word scores with the words that people marked, text by text."""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from expnet.errors import InputError


def auroc(scores: Float[ndarray, " words"], marks: Bool[ndarray, " words"]) -> float:
    """Return the chance that a marked word scores above an unmarked one; ties count half.

    In [0, 1], 0.5 for random scores; NaN where no word or every word is marked.

    Raises:
        InputError: If a score is NaN, or there is not one boolean mark per score.
    """
    _check_scores(scores)
    _check_marks(scores, marks)
    marked, others = scores[marks], np.sort(scores[~marks])
    if not marked.size or not others.size:
        return float("nan")
    below, below_or_equal = (np.searchsorted(others, marked, side) for side in ("left", "right"))
    return float((below + below_or_equal).mean() / (2 * len(others)))


def average_precision(scores: Float[ndarray, " words"], marks: Bool[ndarray, " words"]) -> float:
    """Return the precision at each threshold, weighted by the recall it adds.

    In (0, 1], about the marked share for random scores; NaN where no word is marked. Words of equal score enter
    together.

    Raises:
        InputError: If a score is NaN, or there is not one boolean mark per score.
    """
    _check_scores(scores)
    _check_marks(scores, marks)
    if not marks.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    hits = np.cumsum(marks[order])[ends]
    return float((np.diff(hits, prepend=0) * hits / (ends + 1)).sum() / marks.sum())


def token_f1(predicted: Bool[ndarray, " words"], marks: Bool[ndarray, " words"]) -> float:
    """Return the harmonic mean of precision and recall; 0 where nothing agrees, 1 where both are empty.

    Raises:
        InputError: If there is not one boolean mark per prediction.
    """
    _check_marks(predicted, marks)
    total = int(predicted.sum() + marks.sum())
    return 2 * int((predicted & marks).sum()) / total if total else 1.0


def mark_top(scores: Float[ndarray, " words"], share: float) -> Bool[ndarray, " words"]:
    """Mark the given share of words with the largest scores: at least one, of equals the first in the text.

    Raises:
        InputError: If a score is NaN.
    """
    _check_scores(scores)
    marked = np.zeros(len(scores), dtype=bool)
    if len(scores):
        count = min(len(scores), max(1, round(share * len(scores))))
        marked[np.argsort(-scores, kind="stable")[:count]] = True
    return marked


def bootstrap(
    values: Float[ndarray, " texts"], *, seed: int = 0, draws: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean over texts; NaN values are left out."""
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    means = np.random.default_rng(seed).choice(values, (draws, len(values))).mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check_scores(scores: ndarray) -> None:
    if missing := int(np.isnan(scores).sum()):
        raise InputError(f"{missing} of {len(scores)} scores are NaN, which neither agrees nor disagrees.")


def _check_marks(words: ndarray, marks: ndarray) -> None:
    if marks.dtype != np.bool_ or marks.shape != words.shape:
        raise InputError(
            f"Expected {len(words)} marks of type bool, got {marks.size} of type {marks.dtype}. "
            "Marks given as 0 and 1 become boolean with .astype(bool)."
        )
