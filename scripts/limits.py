"""The tables of docs/limits.md: plausibility beside faithfulness, and how stable scores are.

`python scripts/tables.py` writes them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from expnet.benchmark.present.comparison import best, main_replacement
from expnet.benchmark.present.summary import HEADLINE, by_text, figure, group, main_marks, mean, places, system
from expnet.benchmark.rows import Row

FAITHFUL = (
    "ExpNet, adapted",
    "ExpNet with gradients, adapted",
    "ExpNet with gradients, in-domain",
    "raw_attention",
    "grad_sam",
    "deeplift",
    "leave_one_out",
    "lime",
    "shapley_sampling",
    "random",
)
STEADY = (
    "ExpNet, adapted",
    "ExpNet, 16 marks, from adapted",
    "ExpNet with gradients, adapted",
    "raw_attention",
    "saliency",
    "input_x_gradient",
    "globenc",
)
CHANGES = {
    "another seed": "another seed",
    "another classifier": "another classifier",
    "head and 3 of 6 layers random": "half of the layers random",
    "head and 6 of 6 layers random": "all layers random",
    "another class": "another class",
}


def tables(rows: Sequence[Row]) -> dict[str, str]:
    return {
        "unmarked tasks": unmarked(rows),
        "plausible and faithful": faithful(rows),
        "what changes scores": steady(rows),
    }


def unmarked(rows: Sequence[Row]) -> str:
    """Return average precision on each set: ours without marks of the task, the best rule, the best control, people."""
    chosen = [row for row in main_marks(rows) if not row.sample]
    lines = []
    for place, here in places(chosen).items():
        of = group(here, system)
        control = best(here, ("control", "floor"))
        columns = (of["ExpNet, adapted"], of["ExpNet with gradients, adapted"], best(here), control, of.get("human"))
        means = [figure(column, HEADLINE).mean if column else None for column in columns]
        lines.append((place, *means[:4], system(control[0]), means[4]))
    names = ("ExpNet", "with gradients", "best fixed method", "best control", "which control", "one annotator")
    return _markdown(("set", *names), lines)


def faithful(rows: Sequence[Row]) -> str:
    """Return means over sets of figures over the texts on which every one of these systems was measured."""
    mask = main_replacement(rows)
    erased = [row for row in rows if row.kind == "faithfulness" and str(row.condition.get("replacement")) == mask]
    columns = {
        "average precision": (main_marks(rows), HEADLINE),
        "comprehensiveness ↑": (erased, "comprehensiveness"),
        "sufficiency ↓": (erased, "sufficiency"),
        "tau with leave-one-out ↑": (erased, "kendall"),
    }
    sets = {row.set for row in erased}
    means = [
        _means([row for row in chosen if row.set in sets], metric, FAITHFUL) for chosen, metric in columns.values()
    ]
    return _markdown(("method", *columns), [(name, *(of_column[name] for of_column in means)) for name in FAITHFUL])


def steady(rows: Sequence[Row]) -> str:
    """Return means over sets of the rank correlation of scores before and after each change."""
    changed = [row for row in rows if row.kind in ("stability", "sanity")]
    by = group(changed, lambda row: str(row.condition.get("against")))
    means = [_means(by[against], "rank_correlation", STEADY) for against in CHANGES]
    return _markdown(
        ("method", *CHANGES.values()), [(name, *(of_change.get(name) for of_change in means)) for name in STEADY]
    )


def elsewhere(report: Mapping[str, Any]) -> str:
    """Return how explainers do on texts of the kind that the demo's own was trained on, and on others."""
    systems = ("the demo's explainer", "universal/attention", "universal/gradient", "generic_relevance", "random")
    last = "gain of universal/gradient over the demo's"
    lines: list[Sequence[str | float | None]] = []
    for place, systems_here in report.items():
        if "/" in place:
            gain = systems_here[last]
            means = [systems_here[name]["mean"] for name in systems]
            interval = f"{gain['mean']:.3f} [{gain['low']:.3f}, {gain['high']:.3f}]"
            lines.append((place, str(systems_here[systems[0]]["n"]), *means, interval))
    return _markdown(("set", "texts", *systems, last), lines)


def _means(rows: Sequence[Row], metric: str, names: Sequence[str]) -> dict[str, float]:
    """Return each system's mean over sets and classifiers, of means over the texts that all these systems have."""
    means_of: dict[str, list[float]] = {}
    for here in group([row for row in rows if system(row) in names], lambda row: (row.set, row.classifier)).values():
        texts = {name: by_text(of_system, metric) for name, of_system in group(here, system).items()}
        shared = set.intersection(*map(set, texts.values()))
        for name, values in texts.items():
            means_of.setdefault(name, []).append(mean(values[text] for text in shared))
    return {name: mean(values) for name, values in means_of.items()}


def _markdown(header: Sequence[str], lines: Sequence[Sequence[str | float | None]]) -> str:
    def cell(value: str | float | None) -> str:
        return "–" if value is None else value if isinstance(value, str) else f"{value:.3f}"

    rows = [header, ["---"] * len(header), *([cell(value) for value in line] for line in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
