"""The tables of a benchmark, built from its rows."""

import math
from collections.abc import Iterable, Sequence

from expnet.benchmark.present import comparison, summary
from expnet.benchmark.present.comparison import BOUNDS, Contest, Point
from expnet.benchmark.present.summary import HEADLINE, MeanOverSeeds
from expnet.benchmark.present.table import Cell, Table
from expnet.benchmark.rows import EXPNETS, Row

SAMPLE = " †"
# In this order, and called this way, wherever they stand.
METRICS = {
    "average_precision": "average precision",
    "auroc": "AUROC",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "own_f1": "F1, own threshold",
    "iou_f1": "F1 of spans",
    "best_f1": "best F1 possible",
    "comprehensiveness": "comprehensiveness",
    "sufficiency": "sufficiency",
    "deletion_area": "deletion area",
    "insertion_area": "insertion area",
    "kendall": "Kendall's tau with leave-one-out",
    "normalised_comprehensiveness": "normalised comprehensiveness",
    "normalised_sufficiency": "normalised sufficiency",
    "soft_average_precision": "average precision, against shares",
    "soft_comprehensiveness": "soft comprehensiveness",
    "soft_sufficiency": "soft sufficiency",
    "rank_correlation": "rank correlation",
    "top_overlap": "overlap of top words",
    "ratio": "time, in predictions",
    "megabytes": "memory beyond the prediction's, MB",
}
_TITLES = {
    "plausibility": "Plausibility",
    "faithfulness": "Faithfulness",
    "stability": "Stability",
    "sanity": "Sanity",
    "cost": "Cost",
}
_SAMPLED = (
    "† Measured on a stratified sample, because the method is expensive: not comparable with figures on whole sets."
)
_INTERVALS = "Brackets: 95 % bootstrap interval over texts. With several runs, each text's values are averaged first."
_HUMAN = "Human: one annotator against the majority of the others. Annotators mark words; they do not rank them."


def all_tables(rows: Sequence[Row]) -> dict[str, list[Table]]:
    """Return the tables of each section for which there are rows, by the name of the section."""
    contests = comparison.contests(rows), comparison.contests(rows, sample=True)
    sections = {
        "headline": headline(rows),
        "ahead": ahead(contests[0]),
        "gains": gains(contests[0], "the best method measured on the whole set"),
        "gains_sample": gains(contests[1], "the best expensive method, on its sample"),
        "few_marks": few_marks(rows),
        "trade_off": [trade_off(comparison.trade_off(rows))],
        **{kind: measured(rows, kind) for kind in _TITLES},
    }
    filled = {name: [table for table in tables if table.rows] for name, tables in sections.items()}
    return {name: tables for name, tables in filled.items() if tables}


def headline(rows: Sequence[Row]) -> list[Table]:
    """Return a table per tier with a line per set: the best baseline, each ExpNet, the best control and people."""
    chosen = [row for row in summary.main_marks(rows) if not row.sample]
    started = [row for row in chosen if row.condition.get("start") != "nothing" or row.experiment != "few marks"]
    tiers = summary.group((row for row in started if row.experiment in EXPNETS), lambda row: row.method)
    ours = [list(summary.systems(of_tier, EXPNETS)) for _, of_tier in sorted(tiers.items())]
    return [_headline(chosen, of_tier) for of_tier in ours or [[]]]


def _headline(chosen: Sequence[Row], ours: Sequence[str]) -> Table:
    lines: list[tuple[Cell, ...]] = []
    bold = set()
    for place, here in summary.places(chosen).items():
        expnets = summary.systems(here, EXPNETS)
        best, control = comparison.best(here), comparison.best(here, ("control", "floor"))
        human = [row for row in here if row.experiment == "human"]
        figures = [_figure(of_system) for of_system in (best, *(expnets.get(name, []) for name in ours))]
        means = {i: figure.mean for i, figure in enumerate(figures) if figure and figure.n}
        if means:
            bold.add((len(lines), 3 + max(means, key=lambda i: means[i])))
        texts = max((figure.n for figure in figures if figure), default=0)
        lines.append((place, texts, _who(best), *figures, _who(control), _figure(control), _figure(human)))
    header = (
        "set",
        "texts",
        "best baseline",
        "best baseline: value",
        *ours,
        "best control",
        "best control: value",
        "human",
    )
    whose = f"{ours[0].split(',')[0]}: average" if ours else "Average"
    return Table(
        f"{whose} precision on {len(lines)} set{'s' * (len(lines) != 1)}",
        header,
        tuple(lines),
        (
            _INTERVALS,
            "Bold: the best of each row. The best baseline is chosen on the test set itself, which favours it.",
            _HUMAN,
        ),
        frozenset(bold),
    )


def ahead(contests: Sequence[Contest]) -> list[Table]:
    """Return a table per tier with a line per set: how far each ExpNet is ahead of the best baseline of the set."""
    started = [contest for contest in contests if not contest.system.endswith(summary.FROM_SCRATCH)]
    tables = []
    for tier, same in summary.group(started, lambda contest: contest.system.split(",")[0]).items():
        names = list(dict.fromkeys(contest.system for contest in same))
        lines: list[tuple[Cell, ...]] = []
        for place, here in summary.group(same, lambda contest: contest.place).items():
            of = {contest.system: contest.gain for contest in here}
            lines.append((place, here[0].baseline, here[0].theirs.mean, *(of.get(name) for name in names)))
        signs = [[contest.gain.sign for contest in same if contest.system == name] for name in names]
        lines.append(
            ("ahead / behind", None, None, *(f"{of_system.count(1)} / {of_system.count(-1)}" for of_system in signs))
        )
        header = ("set", "best baseline", "its value", *(name.partition(", ")[2] for name in names))
        note = "Last row: the number of sets whose interval lies above 0 / below 0. " + _INTERVALS
        tables.append(Table(f"{tier}: gain in average precision over the best baseline", header, tuple(lines), (note,)))
    return tables


def gains(contests: Sequence[Contest], rival: str) -> list[Table]:
    """Return a table per ExpNet with a line per set: how far it is ahead of the best baseline, and how sure that is."""
    verdicts = {1: "ahead", 0: "undecided", -1: "behind"}
    header = ("set", "texts", "ExpNet", "best method", "its value", "gain", "p", "p, Holm", "verdict")
    notes = (
        _INTERVALS,
        "p: two-sided sign-flip permutation test on the texts that both have; Holm: adjusted for the number of sets. "
        "Ahead or behind: the interval of the gain lies on one side of 0.",
    )
    tables = []
    for name in dict.fromkeys(contest.system for contest in contests):
        lines = [
            (
                contest.place,
                contest.gain.n,
                contest.ours,
                contest.baseline,
                contest.theirs,
                contest.gain,
                contest.gain.p,
                contest.holm,
                verdicts[contest.gain.sign],
            )
            for contest in contests
            if contest.system == name
        ]
        tables.append(Table(f"{name}, against {rival}", header, tuple(lines), notes))
    return tables


def few_marks(rows: Sequence[Row]) -> list[Table]:
    """Return average precision after so many marked texts, a line per set and start."""
    chosen = [row for row in summary.main_marks(rows) if row.experiment in EXPNETS]
    if not any(row.experiment == "few marks" for row in chosen):
        return []
    steps = sorted({summary.shots(row) for row in chosen})
    lines = [
        (place, start, *(_figure(at.get(step, [])) for step in steps))
        for place, here in summary.places(chosen).items()
        for start, at in summary.learning_curves(here).items()
    ]
    header = ("set", "start", *(summary.shots_name(step) for step in steps))
    return [Table("Average precision after a few marked texts of the task", header, tuple(lines), (_INTERVALS,))]


def trade_off(points: Sequence[Point]) -> Table:
    """Return plausibility, faithfulness and cost of each system."""
    rows = tuple(
        (point.system + SAMPLE * point.sample, point.plausibility, point.faithfulness, point.cost, point.sets)
        for point in points
    )
    note = "Means over the sets where both were measured; rows with fewer sets than others cannot be compared."
    header = ("method", "average precision", "comprehensiveness", "time, in predictions", "sets")
    return Table("Plausibility, faithfulness and cost", header, rows, (note, *_sampled(rows)))


def measured(rows: Sequence[Row], kind: str) -> list[Table]:
    """Return the tables with every system and every figure of one kind, one for each place and replacement."""
    tables = []
    for place, here in summary.places([row for row in rows if row.kind == kind]).items():
        for replacement, same in summary.group(here, lambda row: str(row.condition.get("replacement", ""))).items():
            title = f"{_TITLES[kind]}: {place}" + (f", replacement: {replacement}" if replacement else "")
            tables.append(_grid(same, kind, title))
    return tables


def _grid(rows: Sequence[Row], kind: str, title: str) -> Table:
    """Build a line per system, the best first, and a column per figure and `against`."""
    by_method = {
        name: summary.group(of_method, lambda row: row.condition.get("against"))
        for name, of_method in summary.group(rows, _label).items()
    }
    names = [*METRICS, *sorted({metric for row in rows for metric in row.values} - METRICS.keys())]
    columns = [
        (against, metric)
        for against in dict.fromkeys(row.condition.get("against") for row in rows)
        for metric in names
        if any(metric in row.values and row.condition.get("against") == against for row in rows)
    ]
    cells = {
        name: [summary.figure(of_against.get(against, []), metric) for against, metric in columns]
        for name, of_against in by_method.items()
    }
    signs = [comparison.better(kind, metric) for _, metric in columns]
    order = sorted(cells, key=lambda name: (math.isnan(cells[name][0].mean), -signs[0] * cells[name][0].mean))
    eligible = {_label(row) for row in rows if row.experiment not in BOUNDS and not row.sample}
    bold = set()
    for j, sign in enumerate(signs):
        means = {i: sign * cells[name][j].mean for i, name in enumerate(order) if name in eligible}
        best = max((mean for mean in means.values() if not math.isnan(mean)), default=math.nan)
        bold |= {(i, 2 + j) for i, mean in means.items() if mean == best}
    header = (
        "method",
        "texts",
        *(
            f"{METRICS.get(metric, metric)} {'↑' if sign > 0 else '↓'}" + (f", {against}" if against else "")
            for (against, metric), sign in zip(columns, signs, strict=True)
        ),
    )
    lines: tuple[tuple[Cell, ...], ...] = tuple(
        (name, max(figure.n for figure in cells[name]), *cells[name]) for name in order
    )
    notes = ("↑ more is better, ↓ less is better. " + _INTERVALS, *_sampled(lines))
    return Table(title, header, lines, notes, frozenset(bold))


def _label(row: Row) -> str:
    return summary.system(row) + SAMPLE * row.sample


def _figure(rows: Sequence[Row]) -> MeanOverSeeds | None:
    return summary.figure(rows, HEADLINE) if rows else None


def _who(rows: Sequence[Row]) -> str | None:
    return summary.system(rows[0]) if rows else None


def _sampled(rows: Iterable[Sequence[Cell]]) -> tuple[str, ...]:
    return (_SAMPLED,) if any(str(row[0]).endswith(SAMPLE) for row in rows) else ()
