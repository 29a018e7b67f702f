"""In-domain plausibility of an ExpNet beside raw attention and the floors."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from expnet.metrics import auroc, average_precision, bootstrap, mark_top, token_f1
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.network.features import attention_features
from expnet.rationales import Record
from expnet.text.encoding import pool_words

Scores = list[np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class Row:
    """One method on one set: means over texts with their 95 % bootstrap intervals.

    `gain` is the mean difference in average precision to raw attention, text by text.
    """

    set: str
    n: int
    method: str
    auroc: float
    auroc_interval: tuple[float, float]
    average_precision: float
    average_precision_interval: tuple[float, float]
    f1: float
    f1_interval: tuple[float, float]
    gain: float
    gain_interval: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def marked_share(records: Sequence[Record]) -> float:
    """Return the share of marked words in annotated texts."""
    marks = [mark for record in records if record.rationale is not None for mark in record.word_marks()]
    return sum(marks) / len(marks)


def evaluate(
    classifier: Classifier, network: ExpNet, records: Sequence[Record], *, share: float, name: str, seed: int = 0
) -> list[Row]:
    """Compare methods on annotated texts with at least one marked word.

    F1 marks the given share of each text's words, the same for every method; one more row marks the words above
    the threshold that the network carries.
    """
    records = [record for record in records if record.rationale and any(record.word_marks())]
    marks = [np.array(record.word_marks(), dtype=bool) for record in records]
    learned, attention = score(classifier, network, records)
    generator = np.random.default_rng(seed)
    chance = [generator.random(len(m)) for m in marks]
    flat = [np.zeros(len(m)) for m in marks]

    def top(scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return mark_top(scores, share)

    def above(scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return scores >= network.config.threshold

    def everything(scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.ones(len(scores), dtype=bool)

    methods = [
        ("ExpNet", learned, top),
        ("ExpNet, own threshold", learned, above),
        ("raw attention", attention, top),
        ("random", chance, top),
        ("mark all", flat, everything),
    ]
    return [_row(name, method, scores, attention, marks, choose) for method, scores, choose in methods]


def score(classifier: Classifier, network: ExpNet, records: Sequence[Record]) -> tuple[Scores, Scores]:
    """Return the word scores of the network and of raw attention (last layer, anchor row, mean over heads)."""
    learned: Scores = []
    attention: Scores = []
    for start in range(0, len(records), 32):
        encoding = classifier.encode([record.text for record in records[start : start + 32]])
        with torch.inference_mode():
            trace = classifier.trace(encoding)
            features = attention_features(trace, encoding.mask, encoding.real, network.config.features)
            learned += _words(pool_words(network.score(features), encoding))
            attention += _words(pool_words(trace.rows[:, -1].mean(1), encoding))
    return learned, attention


def markdown(rows: Sequence[Row]) -> str:
    """Return a table."""

    def cell(value: float, interval: tuple[float, float]) -> str:
        return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"

    lines = ["| set | n | method | AUROC | average precision | F1 |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {r.set} | {r.n} | {r.method} | {cell(r.auroc, r.auroc_interval)} "
        f"| {cell(r.average_precision, r.average_precision_interval)} | {cell(r.f1, r.f1_interval)} |"
        for r in rows
    ]
    return "\n".join(lines)


def _words(scores: list[Tensor]) -> Scores:
    return [each.numpy().astype(np.float64) for each in scores]


def _row(
    name: str,
    method: str,
    scores: Scores,
    reference: Scores,
    marks: Scores,
    choose: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]],
) -> Row:
    def each(metric: Callable[..., float], of: Scores) -> np.ndarray[Any, Any]:
        return np.array([metric(s, m) for s, m in zip(of, marks, strict=True)])

    precision = each(average_precision, scores)
    gain = precision - each(average_precision, reference)
    columns: list[Any] = []
    for values in (each(auroc, scores), precision):
        columns += [float(np.nanmean(values)), bootstrap(values)]
    f1 = np.array([token_f1(choose(s), m) for s, m in zip(scores, marks, strict=True)])
    gained = float(np.nanmean(gain)), bootstrap(gain)
    return Row(name, len(marks), method, *columns, float(f1.mean()), bootstrap(f1), *gained)
