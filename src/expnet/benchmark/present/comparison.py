"""Who is ahead: ExpNet and the best baseline set by set, plausibility beside faithfulness and cost."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from expnet.benchmark.present.summary import (
    HEADLINE,
    MeanOverSeeds,
    by_text,
    figure,
    group,
    main_marks,
    mean,
    places,
    system,
    systems,
)
from expnet.benchmark.rows import EXPNETS, Row
from expnet.metrics.statistics import estimate, holm, paired_test

# These are not explanation methods, so they are never the best of a column.
BOUNDS = ("control", "floor", "human")
_LESS = ("sufficiency", "deletion_area", "ratio", "megabytes")


@dataclass(frozen=True, slots=True)
class Gain:
    """A paired mean difference over `n` texts: its 95 % bootstrap interval, and p of the sign-flip permutation test."""

    mean: float
    low: float
    high: float
    n: int
    p: float

    @property
    def sign(self) -> int:
        """1 or -1 if the interval lies on that side of 0, else 0."""
        return (self.low > 0) - (self.high < 0)


@dataclass(frozen=True, slots=True)
class Contest:
    """An ExpNet against the best baseline at one place, on the texts that both have.

    `holm` is p adjusted for the number of places where this kind of ExpNet was measured.
    """

    place: str
    system: str
    experiment: str
    ours: MeanOverSeeds
    baseline: str
    theirs: MeanOverSeeds
    gain: Gain
    holm: float = math.nan


@dataclass(frozen=True, slots=True)
class Point:
    """Means over sets of the sets' means; `cost` in predictions, NaN if not measured."""

    system: str
    experiment: str
    plausibility: float
    faithfulness: float
    cost: float
    sets: int
    sample: bool


def better(kind: str, metric: str) -> int:
    """Return 1 if more of this figure is better, -1 if less."""
    return -1 if metric in _LESS or kind == "sanity" else 1


def gain(ours: Sequence[Row], theirs: Sequence[Row], metric: str) -> Gain | None:
    """Return how far `ours` are ahead on the texts that both have; None if there are none."""
    a, b = by_text(ours, metric), by_text(theirs, metric)
    if not (shared := sorted(a.keys() & b.keys())):
        return None
    first, second = (np.array([values[text] for text in shared]) for values in (a, b))
    difference = estimate(first - second)
    return Gain(difference.mean, difference.low, difference.high, difference.n, paired_test(first, second))


def best(
    rows: Iterable[Row], experiments: Sequence[str] = ("baseline",), metric: str = HEADLINE, *, sample: bool = False
) -> list[Row]:
    """Return the rows of the system with the best mean at one place; none if there is none.

    Args:
        rows: Of one kind and place.
        experiments: The experiments to choose from.
        metric: What is compared.
        sample: Choose among those measured on a sample, instead of among those measured on the whole set.
    """
    by_system = systems((row for row in rows if row.sample == sample), experiments)
    means = {name: mean(by_text(of_system, metric).values()) for name, of_system in by_system.items()}
    known = [name for name, value in means.items() if not math.isnan(value)]
    return by_system[max(known, key=lambda name: better("", metric) * means[name])] if known else []


def contests(rows: Sequence[Row], metric: str = HEADLINE, *, sample: bool = False) -> list[Contest]:
    """Return each ExpNet against the best baseline of each set, as `best` chooses it."""
    contests = []
    for place, here in places(main_marks(rows)).items():
        theirs = best(here, metric=metric, sample=sample)
        for name, ours in systems((row for row in here if not row.sample), EXPNETS).items():
            if (ahead := gain(ours, theirs, metric)) is None:
                continue
            shared = by_text(ours, metric).keys() & by_text(theirs, metric).keys()
            figures = figure(ours, metric, shared), figure(theirs, metric, shared)
            contests.append(
                Contest(place, name, ours[0].experiment, figures[0], system(theirs[0]), figures[1], gain=ahead)
            )
    adjusted: dict[int, float] = {}
    for name in dict.fromkeys(contest.system for contest in contests):
        same = [i for i, contest in enumerate(contests) if contest.system == name]
        adjusted.update(zip(same, holm(np.array([contests[i].gain.p for i in same])).tolist(), strict=True))
    return [replace(contest, holm=adjusted[i]) for i, contest in enumerate(contests)]


def main_replacement(rows: Iterable[Row]) -> str | None:
    """Return the replacement that overviews show: "mask" if it was measured, else the first, None if none was."""
    replacements = [str(row.condition.get("replacement")) for row in rows if row.kind == "faithfulness"]
    return "mask" if "mask" in replacements else next(iter(replacements), None)


def trade_off(rows: Sequence[Row]) -> list[Point]:
    """Return plausibility and faithfulness of each system over the sets where both were measured, best first.

    Systems with fewer `sets` than others cannot be compared with them.
    """
    shown = main_replacement(rows)
    kinds = (
        main_marks(rows),
        [row for row in rows if row.kind == "faithfulness" and str(row.condition.get("replacement")) == shown],
    )
    plausible, faithful = (group(of_kind, lambda row: (system(row), row.set, row.classifier)) for of_kind in kinds)
    both = group((row for key in plausible.keys() & faithful.keys() for row in plausible[key]), system)
    points = []
    for name, of_system in both.items():
        keys = sorted({(name, row.set, row.classifier) for row in of_system})
        means = [
            mean([mean(by_text(side[key], metric).values()) for key in keys])
            for side, metric in ((plausible, HEADLINE), (faithful, "comprehensiveness"))
        ]
        sample = any(row.sample for key in keys for row in (*plausible[key], *faithful[key]))
        points.append(
            Point(
                name,
                of_system[0].experiment,
                means[0],
                means[1],
                _cost(rows, name, of_system[0].method),
                len(keys),
                sample,
            )
        )
    return sorted(points, key=lambda point: (-point.sets, -point.plausibility, point.system))


def comparable(points: Sequence[Point]) -> list[Point]:
    """Return the points whose means are defined, and over the same sets: those with the most."""
    known = [point for point in points if not math.isnan(point.plausibility + point.faithfulness)]
    return [point for point in known if point.sets == max(other.sets for other in known)]


def _cost(rows: Iterable[Row], name: str, method: str) -> float:
    """Return a system's cost; an ExpNet takes the same time however it was trained, so any that was measured counts."""
    costs = [row for row in rows if row.kind == "cost" and row.method == method]
    exact = [row for row in costs if system(row) == name] or costs
    return mean([mean(by_text([row], "ratio").values()) for row in exact])
