"""Compute figures from word scores, text by text."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from expnet.benchmark.measure.scores import Scores
from expnet.benchmark.prepare.data import Marks
from expnet.methods.replacement import Replacement
from expnet.metrics import (
    auroc,
    average_precision,
    best_f1,
    iou_f1,
    leave_one_annotator_out,
    mark_top,
    precision_recall,
    rank_correlation,
    soft_average_precision,
    token_f1,
    top_overlap,
)
from expnet.metrics.erasure import soft_comprehensiveness, soft_erasure, soft_sufficiency
from expnet.metrics.faithfulness import (
    comprehensiveness,
    deletion_area,
    insertion_area,
    leave_one_out_correlation,
    leave_one_out_deltas,
    perturbation_curves,
    sufficiency,
)
from expnet.metrics.limits import RemovalLimits, losses_of_rankings, removal_limits
from expnet.model.batches import encoded
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding
from expnet.text.texts import Text

Values = dict[str, list[float]]
Curve = dict[str, list[float]]
Limits = tuple[float, float, float]  # the least, the most, and what is lost without any word
_NORMALISED = ("normalised_comprehensiveness", "normalised_sufficiency")


def plausibility(scores: Scores, marks: Marks, share: float, threshold: float | None = None) -> Values:
    """Evaluate scores against human marks; all NaN for a text without a marked word.

    Args:
        scores: Of the judged words of each text.
        marks: Theirs.
        share: Of each text's words to mark, the same for every method.
        threshold: The method's own, if it has one: adds `own_f1`.
    """
    return _columns(_plausibility(s, m, share, threshold) for s, m in zip(scores, marks, strict=True))


def against_each(scores: Scores, annotators: Sequence[Marks], share: float, threshold: float | None = None) -> Values:
    """Evaluate scores against each annotator, and return the mean over the annotators of a text."""
    return _columns(
        _mean([_plausibility(s, marks, share, threshold) for marks in people])
        for s, people in zip(scores, annotators, strict=True)
    )


def against_shares(scores: Scores, shares: Scores) -> Values:
    """Evaluate scores against the share of annotators who marked each word; NaN for a text without a marked word."""
    return _columns(_soft(s, of_text) for s, of_text in zip(scores, shares, strict=True))


def people_against_shares(annotators: Sequence[Marks]) -> Values:
    """Evaluate each annotator's marks against the shares of the others, two at least; the mean over annotators."""

    def others(marks: Marks, mine: int) -> ndarray:
        share: ndarray = np.mean([*marks[:mine], *marks[mine + 1 :]], axis=0)
        return share

    return _columns(
        _mean([_soft(mine.astype(float), others(marks, i)) for i, mine in enumerate(marks) if len(marks) > 2])
        for marks in annotators
    )


def people(annotators: Sequence[Marks], share: float) -> Values:
    """Evaluate each annotator against the majority of the others, with marks as scores; the mean over annotators.

    Their F1 is that of their own marks, not of a share.
    """

    def one(mine: Bool[ndarray, " words"], others: Bool[ndarray, " words"]) -> dict[str, float]:
        figures = _plausibility(mine.astype(float), others, share, None)
        own = _chosen(mine, others)
        return figures | own | {"best_f1": own["f1"]}

    pairs = [leave_one_annotator_out(marks) if marks else [] for marks in annotators]
    return _columns(_mean([one(mine, others) for mine, others in of_text]) for of_text in pairs)


def mark_all(marks: Marks) -> Values:
    """Mark every word: the floor that F1 alone does not see."""

    return _columns(_plausibility(np.zeros(len(text_marks)), text_marks, 1.0, None) for text_marks in marks)


def faithfulness(
    classifier: Classifier,
    texts: Sequence[Text],
    target: Sequence[int],
    scores: Mapping[str, Scores],
    replacement: Replacement,
    *,
    soft: bool = False,
    seed: int = 0,
) -> dict[str, tuple[Values, Curve]]:
    """Remove words in the order of each method and measure the target's probability.

    Returns:
        For each method its figures text by text, and its deletion and insertion curves, means over the texts.
    """
    parts: dict[str, list[tuple[Values, ndarray, ndarray]]] = {name: [] for name in scores}
    fractions, order = list[float](), list[int]()
    for places, encoding in encoded(classifier, texts):
        order += places
        wanted = torch.tensor([target[place] for place in places])
        some = {name: [per_text[place] for place in places] for name, per_text in scores.items()}
        curves = perturbation_curves(classifier, encoding, wanted, some, replacement=replacement)
        deltas = leave_one_out_deltas(classifier, encoding, wanted, replacement=replacement)
        softly = _softly(classifier, encoding, wanted, some, seed) if soft else {}
        for name, curve in curves.items():
            fractions = curve.fractions.tolist()
            taus = [leave_one_out_correlation(s, d)[0] for s, d in zip(some[name], deltas, strict=True)]
            values = {
                "comprehensiveness": comprehensiveness(curve).tolist(),
                "sufficiency": sufficiency(curve).tolist(),
                "deletion_area": deletion_area(curve).tolist(),
                "insertion_area": insertion_area(curve).tolist(),
                "kendall": taus,
            }
            parts[name].append((values | softly.get(name, {}), curve.removed, curve.kept))
    return {name: _joined(batches, order, fractions) for name, batches in parts.items()}


def normalised(
    classifier: Classifier,
    texts: Sequence[Text],
    target: Sequence[int],
    scores: Mapping[str, Scores],
    replacement: Replacement,
    most_words: int,
    limits: dict[int, Limits],
) -> dict[str, Values]:
    """Return removal between the limits of each text (see `expnet.metrics.limits`), NaN for those with more words.

    Args:
        classifier: The classifier.
        texts: Texts.
        target: A class for each.
        scores: Of each method.
        replacement: What stands for removed words.
        most_words: Texts with more are left out.
        limits: Those of texts that were searched before, by place; what is searched is added.
    """
    columns = {name: {figure: [math.nan] * len(texts) for figure in _NORMALISED} for name in scores}
    short = [place for place, text in enumerate(texts) if 0 < len(text.words) <= most_words]
    for at, encoding in encoded(classifier, [texts[place] for place in short]):
        places = [short[i] for i in at]
        wanted = torch.tensor([target[place] for place in places])
        if len(encoding) > len(places):
            continue  # read in several windows
        if not limits.keys() >= set(places):
            searched = removal_limits(classifier, encoding, wanted, replacement=replacement)
            limits.update(
                zip(places, zip(searched.least, searched.most, searched.everything, strict=True), strict=True)
            )
        known = RemovalLimits(*np.array([limits[place] for place in places]).T)
        some = {name: [per_text[place] for place in places] for name, per_text in scores.items()}
        losses = losses_of_rankings(classifier, encoding, wanted, some, replacement=replacement)
        for name, of_method in losses.items():
            shares = known.comprehensiveness(of_method), known.sufficiency(of_method)
            for figure, values in zip(_NORMALISED, shares, strict=True):
                for place, value in zip(places, values.tolist(), strict=True):
                    columns[name][figure][place] = value
    return columns


def agreement(first: Scores, second: Scores, share: float) -> Values:
    """Return how much two scorings of the same words agree."""
    return _columns(
        {"rank_correlation": rank_correlation(a, b), "top_overlap": top_overlap(a, b, share)}
        for a, b in zip(first, second, strict=True)
    )


def _softly(
    classifier: Classifier, encoding: Encoding, target: torch.Tensor, scores: Mapping[str, Scores], seed: int
) -> dict[str, Values]:
    return {
        name: {
            "soft_comprehensiveness": soft_comprehensiveness(erasure).tolist(),
            "soft_sufficiency": soft_sufficiency(erasure).tolist(),
        }
        for name, erasure in soft_erasure(classifier, encoding, target, scores, seed=seed).items()
    }


def _joined(
    parts: Sequence[tuple[Values, ndarray, ndarray]], order: Sequence[int], fractions: list[float]
) -> tuple[Values, Curve]:
    back = np.argsort(order).tolist()  # to the order of the texts
    joined = {name: [x for part, _, _ in parts for x in part[name]] for name in parts[0][0]}
    values = {name: [of_texts[at] for at in back] for name, of_texts in joined.items()}
    deletion, insertion = (np.nanmean(np.concatenate([part[at] for part in parts]), axis=0) for at in (1, 2))
    return values, {"fractions": fractions, "deletion": deletion.tolist(), "insertion": insertion.tolist()}


def _plausibility(
    scores: Float[ndarray, " words"], marks: Bool[ndarray, " words"], share: float, threshold: float | None
) -> dict[str, float]:
    figures = {"auroc": auroc(scores, marks), "average_precision": average_precision(scores, marks)}
    figures |= _chosen(mark_top(scores, share), marks) | {"best_f1": best_f1(scores, marks)}
    if threshold is not None:
        figures["own_f1"] = token_f1(scores >= threshold, marks)
    return figures if marks.any() else dict.fromkeys(figures, float("nan"))


def _soft(scores: Float[ndarray, " words"], shares: Float[ndarray, " words"]) -> dict[str, float]:
    figures = {"soft_average_precision": soft_average_precision(scores, shares)}
    return figures | {"rank_correlation": rank_correlation(scores, shares) if shares.any() else float("nan")}


def _chosen(chosen: Bool[ndarray, " words"], marks: Bool[ndarray, " words"]) -> dict[str, float]:
    precision, recall = precision_recall(chosen, marks)
    return {"precision": precision, "recall": recall, "f1": token_f1(chosen, marks), "iou_f1": iou_f1(chosen, marks)}


def _mean(rows: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    if not rows:
        return {}
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _columns(texts: Iterable[Mapping[str, float]]) -> Values:
    """Turn a figure dictionary per text into a list per figure; a text without figures gets NaN."""
    rows = list(texts)
    names = next((list(row) for row in rows if row), [])
    return {name: [row.get(name, float("nan")) for row in rows] for name in names}
