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
    check_scores(scores)
    _check_marks(scores, marks)
    marked, others = scores[marks], np.sort(scores[~marks])
    if not marked.size or not others.size:
        return float("nan")
    below, below_or_equal = (np.searchsorted(others, marked, side) for side in ("left", "right"))
    return float((below + below_or_equal).mean() / (2 * len(others)))


def soft_average_precision(scores: Float[ndarray, " words"], shares: Float[ndarray, " _"]) -> float:
    """Return the average precision where a word counts with the share of annotators who marked it.

    Relative to that of the best ranking, the shares in descending order: in (0, 1], and `average_precision` where all
    shares are 0 or 1. NaN where nobody marked a word. Words of equal score enter together.

    Raises:
        InputError: If a score is NaN, or there is not one share in [0, 1] per score.
    """
    check_scores(scores)
    if shares.shape != scores.shape or not ((shares >= 0) & (shares <= 1)).all():
        raise InputError(f"Expected {len(scores)} shares from 0 to 1, got {shares.size}: {shares}.")
    if not shares.any():
        return float("nan")
    # No two enter together there: of equal shares, the later ones lower the precision of none before.
    descending = np.sort(shares)[::-1]
    return _area(scores, shares) / _area(-np.arange(len(shares)), descending)


def average_precision(scores: Float[ndarray, " words"], marks: Bool[ndarray, " words"]) -> float:
    """Return the precision at each threshold, weighted by the recall it adds.

    In (0, 1], about the marked share for random scores; NaN where no word is marked. Words of equal score enter
    together.

    Raises:
        InputError: If a score is NaN, or there is not one boolean mark per score.
    """
    check_scores(scores)
    _check_marks(scores, marks)
    if not marks.any():
        return float("nan")
    return _area(scores, marks)


def token_f1(predicted: Bool[ndarray, " words"], marks: Bool[ndarray, " words"]) -> float:
    """Return the harmonic mean of precision and recall; 0 where nothing agrees, 1 where both are empty.

    Raises:
        InputError: If there is not one boolean mark per prediction.
    """
    _check_marks(predicted, marks)
    total = int(predicted.sum() + marks.sum())
    return 2 * int((predicted & marks).sum()) / total if total else 1.0


def precision_recall(predicted: Bool[ndarray, " words"], marks: Bool[ndarray, " words"]) -> tuple[float, float]:
    """Return which share of the predicted words is marked, and which share of the marked words is predicted.

    What is a share of nothing is 0, as in scikit-learn and ERASER; but both are 1 where both sides are empty, so that
    `token_f1` is their harmonic mean everywhere.

    Raises:
        InputError: If there is not one boolean mark per prediction.
    """
    _check_marks(predicted, marks)
    if not predicted.any() and not marks.any():
        return 1.0, 1.0
    hits = int((predicted & marks).sum())
    return hits / max(1, int(predicted.sum())), hits / max(1, int(marks.sum()))


def iou_f1(predicted: Bool[ndarray, " words"], marks: Bool[ndarray, " words"]) -> float:
    """Return the F1 of spans: runs of predicted words count if they overlap a run of marked words by half.

    A predicted run is right if the words it shares with some marked run are at least half of the words of both
    together (DeYoung et al. 2020, ERASER). 0 where nothing agrees, 1 where both are empty.

    ERASER takes spans as they were annotated, where we join neighbours, and reports the F1 of mean precision and mean
    recall over texts, where this is the F1 of one text. What ferret calls token IOU knows no spans: it is shared words
    by words of either side.

    Raises:
        InputError: If there is not one boolean mark per prediction.
    """
    _check_marks(predicted, marks)
    predicted_runs, marked_runs = _runs(predicted), _runs(marks)
    if not predicted_runs and not marked_runs:
        return 1.0
    # Two runs can each be half of the same marked run only if they touch, and then they are one: no hit counts twice.
    hits = sum(any(2 * len(run & other) >= len(run | other) for other in marked_runs) for run in predicted_runs)
    return 2 * hits / (len(predicted_runs) + len(marked_runs))


def best_f1(scores: Float[ndarray, " words"], marks: Bool[ndarray, " words"]) -> float:
    """Return the token F1 at the threshold that suits this text best: an upper bound that needs the marks.

    At least one word is above the threshold, and words of equal score are on the same side; NaN where no word is
    marked.

    Raises:
        InputError: If a score is NaN, or there is not one boolean mark per score.
    """
    check_scores(scores)
    _check_marks(scores, marks)
    if not marks.any():
        return float("nan")
    hits, chosen = _hits(scores, marks)
    return float((2 * hits / (chosen + marks.sum())).max())


def mark_top(scores: Float[ndarray, " words"], share: float) -> Bool[ndarray, " words"]:
    """Mark the given share of words with the largest scores: at least one, of equals the first in the text.

    Raises:
        InputError: If a score is NaN.
    """
    check_scores(scores)
    marked = np.zeros(len(scores), dtype=bool)
    if len(scores):
        count = min(len(scores), max(1, round(share * len(scores))))
        marked[np.argsort(-scores, kind="stable")[:count]] = True
    return marked


def check_scores(scores: ndarray) -> None:
    """Refuse scores that are NaN.

    Raises:
        InputError: With their number.
    """
    if missing := int(np.isnan(scores).sum()):
        raise InputError(f"{missing} of {len(scores)} scores are NaN, which neither agrees nor disagrees.")


def _check_marks(words: ndarray, marks: ndarray) -> None:
    if marks.dtype != np.bool_ or marks.shape != words.shape:
        raise InputError(
            f"Expected {len(words)} marks of type bool, got {marks.size} of type {marks.dtype}. "
            "Marks given as 0 and 1 become boolean with .astype(bool)."
        )


def _area(scores: ndarray, marks: ndarray) -> float:
    hits, chosen = _hits(scores, marks)
    return float((np.diff(hits, prepend=0) * hits / chosen).sum() / marks.sum())


def _hits(scores: ndarray, marks: ndarray) -> tuple[ndarray, ndarray]:
    """Return for each threshold, from the highest down, the marks (or shares) and the words that reach it."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    return np.cumsum(marks[order])[ends], ends + 1


def _runs(marks: ndarray) -> list[set[int]]:
    """Return the places of each run of marked words."""
    edges = np.flatnonzero(np.diff(marks.astype(int), prepend=0, append=0))
    return [set(range(start, stop)) for start, stop in edges.reshape(-1, 2).tolist()]
