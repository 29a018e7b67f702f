"""How well annotators agree with each other, to compare methods with a person."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from expnet.errors import InputError
from expnet.metrics.plausibility import token_f1

# With two annotators, "the others" would be a single one, not a majority.
_LEAST = 3


def majority(annotators: Sequence[Bool[ndarray, " words"]]) -> Bool[ndarray, " words"]:
    """Mark the words that more than half of the annotators marked.

    Raises:
        InputError: If there is no annotator, or they marked different numbers of words.
    """
    _check_annotators(annotators)
    marked: ndarray = 2 * np.sum(annotators, axis=0) > len(annotators)
    return marked


def leave_one_annotator_out(
    annotators: Sequence[Bool[ndarray, " words"]],
) -> list[tuple[Bool[ndarray, " words"], Bool[ndarray, " words"]]]:
    """Return for each annotator of a text their marks, and the marks of the majority of the others as reference.

    Any metric of a method can then be computed for people: marks are predictions, and with `.astype(float)` scores.
    Annotators whose reference is empty are left out, since no method is evaluated on a text without a rationale. The
    list is empty where fewer than three annotators marked the text.

    An annotator who marked nothing counts as having seen no reason. Leave out beforehand those who gave no rationale.

    Raises:
        InputError: If there is no annotator, or they marked different numbers of words.
    """
    _check_annotators(annotators)
    if len(annotators) < _LEAST:
        return []
    pairs = [
        (marks, majority([other for at, other in enumerate(annotators) if at != place]))
        for place, marks in enumerate(annotators)
    ]
    return [(marks, reference) for marks, reference in pairs if reference.any()]


def one_against_others(annotators: Sequence[Bool[ndarray, " words"]]) -> float:
    """Return the mean token F1 of each annotator of a text against the majority of the others.

    NaN where `leave_one_annotator_out` has nobody to compare. Its mean over texts is below the mean over the annotators
    of all texts: where only the dissenting annotator has a reference, that one alone stands for the text.

    Raises:
        InputError: If there is no annotator, or they marked different numbers of words.
    """
    pairs = leave_one_annotator_out(annotators)
    return float(np.mean([token_f1(marks, reference) for marks, reference in pairs])) if pairs else float("nan")


def _check_annotators(annotators: Sequence[ndarray]) -> None:
    lengths = sorted({len(marks) for marks in annotators})
    if len(lengths) != 1:
        raise InputError(f"Expected the marks of one or more annotators on the same words, got lengths {lengths}.")
