"""The tables of docs/backbones.md, from the rows of the plan across bases and languages."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from expnet.benchmark.present import comparison
from expnet.benchmark.present.summary import HEADLINE, MeanOverSeeds, by_text, group, main_marks, mean, system
from expnet.benchmark.present.table import Cell, Table, markdown
from expnet.benchmark.rows import EXPNETS, Row
from expnet.metrics.statistics import estimate

_FAITHFUL = "comprehensiveness"


def tables(rows: Sequence[Row]) -> dict[str, str]:
    """Return the tables of the page by name."""
    plausible = [row for row in main_marks(rows) if not row.sample]
    shares = [row for row in rows if row.condition.get("marks") == "shares" and not row.sample]
    faithful = [row for row in rows if row.kind == "faithfulness" and not row.sample]
    return {
        "bases": markdown(by_base(plausible, HEADLINE, "average precision")),
        "bases shares": markdown(by_base(shares, "soft_average_precision", "soft average precision")),
        "bases removal": markdown(by_base(faithful, _FAITHFUL, "comprehensiveness")),
        "bases together": markdown(together([row for row in rows if row.kind == "faithfulness"])),
        "left out": markdown(left_out(plausible)),
    }


def base_of(row: Row) -> str:
    """Return the base that a row's classifier was fine-tuned from, or the name of a classifier that has only one."""
    return row.classifier.rpartition(" on ")[2]


def by_base(rows: Sequence[Row], metric: str, title: str) -> Table:
    """Return the mean over the tasks of each base for every system, the best on average first."""
    # Bases of several tasks first, whatever was measured first.
    places = dict(sorted(group(rows, base_of).items(), key=lambda place: (-_tasks(place[1]), place[0])))
    several = [base for base, here in places.items() if _tasks(here) > 1] or [*places]
    measured: list[tuple[str, list[float]]] = []
    for name, same in group(rows, system).items():
        figures = [mean_over_tasks(same, base, metric, _tasks(here)) for base, here in places.items()]
        bases = [figure for figure, base in zip(figures, places, strict=True) if base in several]
        if all(map(math.isnan, figures)):
            continue  # measured on some tasks of each base only
        measured.append((name, [*figures, math.nan if any(map(math.isnan, bases)) else mean(bases)]))
    measured.sort(key=lambda line: (math.isnan(line[1][-1]), -line[1][-1]))
    columns = zip(*(figures for _, figures in measured), strict=True)
    best = [max((value for value in column if not math.isnan(value)), default=math.nan) for column in columns]
    bold = {(i, j + 1) for i, (_, line) in enumerate(measured) for j, value in enumerate(line) if value == best[j]}
    lines: list[tuple[Cell, ...]] = [(name, *figures) for name, figures in measured]
    tasks = ", ".join(f"{base} {_tasks(here)}" for base, here in places.items())
    over = "all" if several == [*places] else "bases with several tasks"
    return Table(
        f"Mean {title} by the base of the classifier",
        ("method", *places, "mean of bases"),
        tuple(lines),
        (f"Tasks: {tasks}. The mean is over {over}. Bold: the best of each column.",),
        frozenset(bold),
    )


def together(rows: Sequence[Row]) -> Table:
    """Return faithfulness over all classifiers, the expensive methods among them, on the texts that all were run on."""
    asked = {place: set.intersection(*(set(row.texts) for row in here)) for place, here in group(rows, _place).items()}
    measured: list[tuple[str, MeanOverSeeds, MeanOverSeeds]] = []
    for name, same in group(rows, system).items():
        of_places = group(same, _place)
        if of_places.keys() == asked.keys():
            removal, normalised = (_pooled(of_places, asked, kind) for kind in (_FAITHFUL, f"normalised_{_FAITHFUL}"))
            measured.append((name, removal, normalised))
    measured.sort(key=lambda line: -line[1].mean)
    _, every, searched = measured[0]
    return Table(
        "Comprehensiveness over all classifiers, on the same texts",
        ("method", _FAITHFUL, "normalised"),
        tuple(measured),
        (
            f"{every.n} texts of {len(asked)} classifiers and sets. Normalised: between the worst (0) and the best (1) "
            f"ranking that a search met, on the {searched.n} of these texts that were short enough to search.",
        ),
    )


def _place(row: Row) -> tuple[str, str]:
    return row.classifier, row.set


def _pooled(
    of_places: Mapping[tuple[str, str], Sequence[Row]], asked: Mapping[tuple[str, str], set[int]], metric: str
) -> MeanOverSeeds:
    """Return the mean over the texts asked for of all places, whose own means over seeds count."""
    values = [
        value
        for place, rows in of_places.items()
        for text, value in by_text(rows, metric).items()
        if text in asked[place] and not math.isnan(value)
    ]
    whole = estimate(np.array(values))
    return MeanOverSeeds(whole.mean, whole.low, whole.high, whole.n, seeds=1, sd=math.nan)


def mean_over_tasks(rows: Sequence[Row], base: str, metric: str, tasks: int) -> float:
    """Return the mean over so many tasks of the means over texts; NaN if one is missing."""
    here = group((row for row in rows if base_of(row) == base), lambda row: row.classifier)
    means = [mean(by_text(of_task, metric).values()) for of_task in here.values()]
    return mean(means) if len(means) == tasks else math.nan


def left_out(rows: Sequence[Row]) -> Table:
    """Return for each ExpNet how often it is surely ahead of, level with or behind the best rule of a classifier."""
    contests = comparison.contests(rows)
    lines: list[tuple[Cell, ...]] = []
    for name, same in group(contests, lambda contest: contest.system).items():
        signs = [contest.gain.sign for contest in same]
        gains = [contest.gain.mean for contest in same]
        worst = min(same, key=lambda contest: contest.gain.mean)
        counts = tuple(signs.count(sign) for sign in (1, 0, -1))
        lines.append((name, len(same), *counts, mean(gains), worst.place, worst.gain))
    header = ("ExpNet", "sets", "ahead", "undecided", "behind", "mean gain", "worst set", "its gain")
    notes = (
        "Gain: in average precision over the rule that is best on the very set, AT2 among the rules. Ahead or behind: "
        "the 95 % bootstrap interval over texts lies on one side of 0.",
    )
    order = {name: place for place, name in enumerate(EXPNETS)}
    lines.sort(key=lambda line: order.get(str(line[0]).partition(", ")[2], len(order)))
    return Table("Every ExpNet against the best rule of each set", header, tuple(lines), notes)


def verdicts(report: dict[str, Any]) -> str:
    """Return what a check without marks said, and what people say of the same explainers."""
    lines = ["| verdict | cells | mean lead over the best rule | behind it |", "|---|---|---|---|"]
    for level, of_level in report["levels"].items():
        lines.append(
            f"| {level} | {of_level['cells']} | {of_level['mean lead']:+.3f} | {of_level['below the best rule']} |"
        )
    said = f"Over {report['cells']} cells, the rank correlation of the share of the best rule's gain over random words "
    said += f"that an explainer reaches with its lead is {report['rank correlation']:.2f} (p = {report['p']:.2g})."
    wrong = report["wrong"]
    said += f" Good, but more than {report['tolerated']} below the best rule: {'; '.join(wrong) or 'none'}."
    return "\n".join([*lines, "", said])


def _tasks(rows: Sequence[Row]) -> int:
    return len({row.classifier for row in rows})
