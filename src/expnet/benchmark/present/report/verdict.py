"""The results of a benchmark in sentences."""

import math
from collections.abc import Sequence

from expnet.benchmark.present import comparison, summary
from expnet.benchmark.present.comparison import Contest, Point
from expnet.benchmark.rows import EXPNETS, Row

_LEARNED = {
    "cross-both": "that was trained neither on the task nor on the base of the classifier",
    "cross-task": "that was not trained on the task",
    "cross-language": "that was not trained on the language",
    "cross-base": "that was not trained on the base of the classifier",
    "adapted": "that was trained on texts of the task, but without marks,",
    "in-domain": "trained on all marked texts of the task",
}
_ALPHA = 0.05
# What somebody new asks first: how good is it without marked texts? The first of these that was measured.
_UNMARKED = ("adapted", "cross-task", "cross-base", "cross-language", "cross-both")


def in_short(rows: Sequence[Row]) -> list[str]:
    """Return three sentences at most, raw: without marked texts, after the fewest, and plausible beside faithful."""
    contests = comparison.contests(rows)
    plausible = [row for row in rows if row.kind == "plausibility" and row.experiment == "baseline" and not row.sample]
    rival = f"the best of {_count(len({row.method for row in plausible}), 'fixed method')}"
    sentences = []
    unmarked = [contest for name in _UNMARKED for contest in contests if contest.experiment == name]
    if first := [contest for contest in unmarked if contest.experiment == unmarked[0].experiment]:
        sentences.append(f"Without marked texts of the task, {_score(first, rival)}.")
    few = [contest for contest in contests if contest.experiment == "few marks"]
    if fewest := [contest for contest in few if _trained(contest) == _trained(few[0])]:
        marks = _trained(few[0]).split(" ")[0]
        sentences.append(f"Trained on {marks} marked texts of the task, {_score(fewest, 'it')}.")
    points = comparison.comparable(comparison.trade_off(rows))
    return [*sentences, *_faithful(points)[:1]] if sentences else verdict(rows)[:1]


def _trained(contest: Contest) -> str:
    """Return how an ExpNet was trained, without what it sees."""
    return contest.system.partition(", ")[2]


def _score(contests: Sequence[Contest], rival: str) -> str:
    parts = []
    for name, same in summary.group(contests, lambda contest: contest.system.split(",")[0]).items():
        ahead, behind = (sum(contest.gain.sign == sign for contest in same) for sign in (1, -1))
        parts.append(f"{name} is ahead of {rival} on {ahead} of {_count(len(same), 'set')} and behind on {behind}")
    return "; ".join(parts)


def verdict(rows: Sequence[Row]) -> list[str]:
    """Return sentences, raw: who is ahead on how many sets, who is faithful, and at what cost."""
    contests, points = comparison.contests(rows), comparison.comparable(comparison.trade_off(rows))
    baselines = [row for row in rows if row.kind == "plausibility" and row.experiment == "baseline"]
    expensive = len({row.method for row in baselines if row.sample})
    fixed = _count(len({row.method for row in baselines if not row.sample}), "fixed method")
    sentences = []
    for experiment in _LEARNED:
        sentences += _compared(contests, experiment, f"the best of {fixed}")
        if experiment == "adapted":
            sentences += _few(contests)
    rival = f"the best of {_count(expensive, 'expensive method')}, on their samples,"
    sentences += _compared(comparison.contests(rows, sample=True), "cross-task", rival)
    if not contests:
        sentences.append("No ExpNet was measured beside a fixed method, so nothing can be said about who is ahead.")
    return [*sentences, *_faithful(points)]


def _compared(contests: Sequence[Contest], experiment: str, rival: str) -> list[str]:
    same = summary.group(
        (contest for contest in contests if contest.experiment == experiment), lambda contest: contest.system
    )
    return [f"An {name.split(',')[0]} {_LEARNED[experiment]} {_standing(some, rival)}" for name, some in same.items()]


def _standing(contests: Sequence[Contest], rival: str) -> str:
    ahead, even, behind = ([contest for contest in contests if contest.gain.sign == sign] for sign in (1, 0, -1))
    sure = sum(contest.holm < _ALPHA for contest in ahead)
    return (
        f"ranks the words that people marked better than {rival} on {len(ahead)} of {_count(len(contests), 'set')} "
        f"and worse on {len(behind)}; on {len(even)} the 95 % interval of the difference includes 0. "
        + (f"Of those ahead, {sure} stay significant after correction for testing several sets." if ahead else "")
    ).strip()


def _few(contests: Sequence[Contest]) -> list[str]:
    some = [contest for contest in contests if contest.experiment == "few marks"]
    parts = [
        f"on {sum(contest.gain.sign > 0 for contest in same)} of {len(same)} with {name.removeprefix('ExpNet, ')}"
        for name in dict.fromkeys(contest.system for contest in some)
        if (same := [contest for contest in some if contest.system == name])
    ]
    return [f"After a few marked texts of the task it is ahead of that method {'; '.join(parts)}."] if parts else []


def _faithful(points: Sequence[Point]) -> list[str]:
    ours = [point for point in points if point.experiment in EXPNETS]
    if not ours:
        return []
    first = min(ours, key=lambda point: EXPNETS.index(point.experiment))
    most = max(points, key=lambda point: point.faithfulness)
    places = [
        1 + sum(getattr(point, what) > getattr(first, what) for point in points)
        for what in ("plausibility", "faithfulness")
    ]
    trade_off = (
        f"Plausible is not faithful: among {len(points)} methods on {_count(first.sets, 'set')}, {first.system} is "
        f"number {places[0]} by agreement with people and number {places[1]} by how much the prediction loses without "
        f"its top words; number 1 there is {most.system}."
    )
    if math.isnan(first.cost):
        return [trade_off]
    theirs = "" if math.isnan(most.cost) else f"; {most.system} takes {most.cost:,.1f}"
    return [trade_off, f"{first.system} takes the time of {first.cost:,.1f} predictions{theirs}."]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)
