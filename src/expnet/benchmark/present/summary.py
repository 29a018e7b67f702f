"""Summaries of rows: what was measured where, and figures over texts and seeds."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from expnet.benchmark.rows import EXPNETS, Row
from expnet.errors import BenchmarkError
from expnet.metrics.statistics import estimate

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
HEADLINE = "average_precision"
_NAMES = {
    "expnet": "ExpNet",
    "expnet_gradient": "ExpNet with gradients",
    "expnet_difference": "ExpNet with differences",
}
FROM_SCRATCH = "from scratch"  # rows say "nothing"


@dataclass(frozen=True, slots=True)
class MeanOverSeeds:
    """A mean over texts, of means over seeds, with its 95 % bootstrap interval over texts; NaN if there are none.

    `n` counts the texts that have a value and `seeds` the runs averaged; `sd` is the standard deviation of the means
    of the runs, NaN for a single one, which the interval does not cover.
    """

    mean: float
    low: float
    high: float
    n: int
    seeds: int
    sd: float


def check_rows(rows: Iterable[Row]) -> None:
    """Refuse rows that cannot be averaged.

    Raises:
        BenchmarkError: If a row has not one value per text, or two rows measure the same.
    """
    keys: Counter[str] = Counter()
    for row in rows:
        for metric, values in row.values.items():
            if len(values) != len(row.texts):
                raise BenchmarkError(f"{_name(row)} has {len(values)} values of {metric!r} for {len(row.texts)} texts.")
        keys[_name(row)] += 1
    if twice := [name for name, count in keys.items() if count > 1]:
        raise BenchmarkError(
            f"{len(twice)} measurements are there more than once, first {twice[0]}. Was a file given twice, or the "
            "rows of two runs? Give each run a report of its own; `expnet report --plan NAME` picks those of one plan."
        )


def group(rows: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Return rows by a key, in order of appearance."""
    groups: dict[K, list[T]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)


def system(row: Row) -> str:
    """Return the name of what a row measured: of a method its name, of an ExpNet how it was trained."""
    if row.experiment not in EXPNETS:
        return row.method
    name = _NAMES.get(row.method, row.method)
    if row.experiment != "few marks":
        return f"{name}, {row.experiment}"
    start = row.condition.get("start")
    return f"{name}, {row.condition.get('shots')} marks" + (f", {_from(start)}" if start else "")


def systems(rows: Iterable[Row], experiments: Sequence[str]) -> dict[str, list[Row]]:
    """Return the rows of these experiments by system: experiments as listed, few marks before many."""
    chosen = [row for row in rows if row.experiment in experiments]
    chosen.sort(
        key=lambda row: (
            row.experiment in EXPNETS and row.method,
            experiments.index(row.experiment),
            str(row.condition.get("start")),
            shots(row),
        )
    )
    return group(chosen, system)


def shots(row: Row) -> float:
    """Return the number of marked texts of the task that an ExpNet was trained on: infinite for all, 0 for none."""
    given = "all" if row.experiment == "in-domain" else row.condition.get("shots")
    return math.inf if given == "all" else float(given or 0)


def shots_name(count: float) -> str:
    """Return the name of a number of marked texts: "all" for infinite, the number otherwise."""
    return "all" if math.isinf(count) else f"{count:.0f}"


def learning_curves(rows: Iterable[Row]) -> dict[str, dict[float, list[Row]]]:
    """Return the ExpNets of one place by name and start, and by `shots`, ascending.

    An ExpNet that was adapted without marks is the curve's value at 0 for those that start from it.
    """
    ours = sorted((row for row in rows if row.experiment in EXPNETS), key=lambda row: (row.method, shots(row)))

    def start(row: Row) -> str:
        first = row.condition.get("start") or (row.experiment if row.experiment != "in-domain" else "nothing")
        return f"{_NAMES.get(row.method, row.method)}, {_from(first)}"

    return {name: group(of_start, shots) for name, of_start in group(ours, start).items()}


def places(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return rows by set, marks and classifier, under the shortest names that are unique."""
    classifiers = group(rows, lambda row: row.set)
    several = {name for name, of_set in classifiers.items() if len({row.classifier for row in of_set}) > 1}

    def name(row: Row) -> str:
        marks = row.condition.get("marks")
        parts = [row.set, "" if marks == "rationale" else marks, row.classifier if row.set in several else ""]
        return ", ".join(str(part) for part in parts if part)

    return group(rows, name)


def main_marks(rows: Iterable[Row]) -> list[Row]:
    """Return plausibility rows against the first marks of each set: the rationale where there is one."""
    measured = [row for row in rows if row.kind == "plausibility"]
    first = {}
    for name, of_set in group((row for row in measured if row.experiment != "human"), lambda row: row.set).items():
        marks = [row.condition.get("marks") for row in of_set]
        first[name] = "rationale" if "rationale" in marks else marks[0]
    return [row for row in measured if row.set in first and row.condition.get("marks") == first[row.set]]


def by_text(rows: Iterable[Row], metric: str) -> dict[int, float]:
    """Return the mean of each text over rows, which differ by seed; texts without a value are left out."""
    chosen = [row for row in rows if metric in row.values]
    texts = {row.texts for row in chosen}
    if len(texts) == 1 and all(len(set(numbers)) == len(numbers) for numbers in texts):
        return _by_same_text(chosen, metric)
    values_of: dict[int, list[float]] = defaultdict(list)
    for row in chosen:
        for text, value in zip(row.texts, row.values[metric], strict=True):
            if not math.isnan(value):
                values_of[text].append(value)
    return {text: mean(values) for text, values in values_of.items()}


def _by_same_text(rows: Sequence[Row], metric: str) -> dict[int, float]:
    """Do the same for rows on the same texts, many times as fast: the same sums, and texts in the same order."""
    texts = np.array(rows[0].texts, dtype=int)
    values = np.array([row.values[metric] for row in rows], dtype=float).reshape(len(rows), len(texts))
    known = ~np.isnan(values)
    count = known.sum(0)
    total = np.where(known, values, 0.0).sum(0)
    # Texts come in the order in which a row is the first to have a value of them.
    order = np.argsort(np.where(count > 0, known.argmax(0), len(rows)), kind="stable")[: int((count > 0).sum())]
    return dict(zip(texts[order].tolist(), (total[order] / count[order]).tolist(), strict=True))


def mean(values: Iterable[float]) -> float:
    """Return the mean; NaN if there are no values."""
    known = list(values)
    return sum(known) / len(known) if known else math.nan


def figure(rows: Sequence[Row], metric: str, texts: Iterable[int] | None = None) -> MeanOverSeeds:
    """Return the figure of one system at one place.

    Args:
        rows: A row per seed.
        metric: Name of a value; rows without it are left out.
        texts: Count only these.
    """
    chosen = None if texts is None else set(texts)
    runs = [by_text([row], metric) for row in rows if metric in row.values]
    runs = [{text: x for text, x in run.items() if chosen is None or text in chosen} for run in runs]
    means = [mean(run.values()) for run in runs if run]
    values = by_text(rows, metric)
    whole = estimate(np.array([x for text, x in values.items() if chosen is None or text in chosen], dtype=float))
    sd = float(np.std(means, ddof=1)) if len(means) > 1 else math.nan
    return MeanOverSeeds(whole.mean, whole.low, whole.high, whole.n, len(means), sd)


def _from(start: object) -> str:
    return FROM_SCRATCH if start == "nothing" else f"from {start}"


def _name(row: Row) -> str:
    condition = json.dumps(dict(row.condition), ensure_ascii=False, sort_keys=True)
    return f"{row.kind} of {system(row)!r} on {row.set!r} by {row.classifier!r}, {condition}"
