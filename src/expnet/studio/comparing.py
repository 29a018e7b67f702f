"""Before and after: how well explainers agree with people on texts that they were not trained on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from expnet.explainer import Explainer
from expnet.metrics import Estimate, auroc, average_precision, estimate
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.rationales import Record

FOLDS = 4
# If all of fewer texts differ in one direction, that happens by chance in more than 1 of 20 cases: 2 / 2⁵.
ENOUGH_TO_TELL = 6

Verdict = Literal["better", "not shown to be better", "worse"]


@dataclass(frozen=True, slots=True)
class MetricChange:
    """A metric over the texts marked: means of both explainers, and the mean difference with its 95 % interval."""

    name: str
    before: float
    after: float
    difference: Estimate


@dataclass(frozen=True, slots=True)
class Agreement:
    """How both explainers agree with people, on `texts` texts; after is better on `better` of them, worse on `worse`.

    No text was scored by a network that was trained on its marks.
    """

    texts: int
    better: int
    worse: int
    figures: tuple[MetricChange, ...]

    @property
    def verdict(self) -> Verdict:
        """Whether the interval of the first metric's difference excludes 0, on enough texts to tell."""
        difference = self.figures[0].difference
        if self.texts < ENOUGH_TO_TELL or difference.low <= 0 <= difference.high:
            return "not shown to be better"
        return "better" if difference.low > 0 else "worse"


def usable(records: Sequence[Record]) -> list[Record]:
    """Return the records that have both marked and unmarked words: on others nothing can be ranked."""
    return [record for record in records if record.rationale is not None and len(set(record.word_marks())) == 2]


def folds(count: int, *, seed: int = 0) -> Iterator[list[int]]:
    """Yield the places of the texts held out, each text once, in parts of almost the same size."""
    order = np.random.default_rng(seed).permutation(count)
    yield from (sorted(part.tolist()) for part in np.array_split(order, min(FOLDS, count)))


def cross_validated(
    classifier: Classifier, records: Sequence[Record], fit: Callable[[list[Record]], ExpNet]
) -> list[Float[np.ndarray, " _"]]:
    """Return the word scores of each text by a network trained on the texts outside its fold."""
    scores_of: dict[int, np.ndarray] = {}
    for held in folds(len(records)):
        network = fit([record for place, record in enumerate(records) if place not in held])
        scores = word_scores(Explainer(classifier, network), [records[place] for place in held])
        scores_of.update(zip(held, scores, strict=True))
    return [scores_of[place] for place in range(len(records))]


def word_scores(explainer: Explainer, records: Sequence[Record]) -> list[Float[np.ndarray, " _"]]:
    """Return scores for the class of each record, which its marks are reasons for; for the predicted one without."""
    scores_of: dict[int, np.ndarray] = {}
    for label in dict.fromkeys(record.label for record in records):
        places = [place for place, record in enumerate(records) if record.label == label]
        target = explainer.classifier.output_index(label)
        explanations = explainer.explain([records[place].text for place in places], target=target)
        for place, explanation in zip(places, explanations, strict=True):
            scores_of[place] = np.array([word.score for word in explanation.words])
    return [scores_of[place] for place in range(len(records))]


def agreement(
    records: Sequence[Record],
    before: Sequence[Float[np.ndarray, " _"]],
    after: Sequence[Float[np.ndarray, " _"]],
) -> Agreement:
    """Evaluate the scores of two explainers against the marks.

    Args:
        records: Usable records.
        before: Word scores of each.
        after: Those of the other explainer.
    """
    marks = [np.array(record.word_marks()) for record in records]
    figures, gains = [], []
    for name, metric in (("average precision", average_precision), ("AUROC", auroc)):
        first, second = (
            np.array([metric(word_scores, mark) for word_scores, mark in zip(scores, marks, strict=True)])
            for scores in (before, after)
        )
        gains.append(second - first)
        figures.append(MetricChange(name, float(first.mean()), float(second.mean()), estimate(gains[-1])))
    gain = gains[0]
    return Agreement(len(records), int((gain > 0).sum()), int((gain < 0).sum()), tuple(figures))
