"""The tables of docs/research.md; scripts/tables.py writes them."""

from typing import Any

from expnet.benchmark.present.summary import figure, learning_curves, main_marks, shots_name
from expnet.benchmark.rows import Row

# Tasks that are much alike count once in a mean.
FAMILIES = {
    "acceptability": ("acceptability", "learner errors", "minimal pairs"),
    **{name: (name,) for name in ("sentiment", "hate speech", "tweets", "inference")},
}
SET_OF_PEOPLE = "fair_sst/test"


def ablation(measured: dict[str, Any]) -> str:
    """Return average precision of each variation on each task, and the mean over families."""
    figures = measured["figures"]
    lines = ["| | " + " | ".join(figures) + " | mean of families |", "|---|" + "---|" * (len(figures) + 1)]
    for name in dict.fromkeys(name for task in figures.values() for name in task):
        of = {task: by_name[name]["average_precision"] for task, by_name in figures.items() if name in by_name}
        families = [[of[task] for task in tasks if task in of] for tasks in FAMILIES.values()]
        means = [sum(values) / len(values) for values in families if values]
        cells = [f"{of[task]:.3f}" if task in of else "–" for task in figures]
        whole = f"{sum(means) / len(means):.3f}" if len(of) == len(figures) else "–"
        lines.append(f"| {name} | {' | '.join(cells)} | {whole} |")
    note = f"{measured['texts']} development texts of each task, seed {measured['seed']}, expnet {measured['expnet']}."
    return "\n".join([*lines, "", note])


def front(measured: dict[str, Any]) -> str:
    """Return agreement with people and faithfulness of each explainer, with intervals."""
    parts = []
    for task, by_name in measured["tasks"].items():
        lines = [f"| {task} | average precision ↑ | comprehensiveness ↑ | sufficiency ↓ |", "|---|---|---|---|"]
        for name, figures in by_name.items():
            cells = [f"{mean:.3f} [{low:.3f}, {high:.3f}]" for mean, low, high, _ in figures.values()]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        texts = max(figures["average_precision"][3] for figures in by_name.values())
        parts.append("\n".join([*lines, "", f"{texts} development texts, seed {measured['seed']}."]))
    return "\n\n".join(parts)


def starts(measured: dict[str, Any]) -> str:
    """Return agreement and faithfulness after so many marks, from a start without and with removals, and the gains."""
    lines = [
        "| classifier | tier, marks | teacher | and removals | gain in average precision | in comprehensiveness |",
        "|---|---|---|---|---|---|",
    ]
    for classifier, tiers in measured["classifiers"].items():
        for tier, numbers in tiers.items():
            for marks, (alone, removals, gain) in ((marks, of.values()) for marks, of in numbers.items()):
                cells = [" / ".join(f"{value[0]:.3f}" for value in list(of.values())[:2]) for of in (alone, removals)]
                gains = [f"{mean:+.3f} [{low:.3f}, {high:.3f}]" for mean, low, high, _ in list(gain.values())[:2]]
                lines.append(f"| {classifier} | {tier}, {marks} | {' | '.join([*cells, *gains])} |")
    note = f"60 development texts, {measured['unmarked']} unmarked ones, means of {measured['draws']} draws of marks, "
    return "\n".join([*lines, "", f"{note}seed {measured['seed']}, expnet {measured['expnet']}."])


def means(measured: dict[str, Any]) -> str:
    """Return the means over classifiers of each explainer that was measured on all of them."""
    tasks = list(measured["tasks"].values())
    lines = ["| mean of classifiers | average precision ↑ | comprehensiveness ↑ | sufficiency ↓ |", "|---|---|---|---|"]
    for name in tasks[0]:
        cells = [sum(task[name][metric][0] for task in tasks) / len(tasks) for metric in tasks[0][name]]
        lines.append(f"| {name} | {' | '.join(f'{cell:.3f}' for cell in cells)} |")
    return "\n".join([*lines, "", f"{len(tasks)} classifiers, seed {measured['seed']}, expnet {measured['expnet']}."])


def by_classifier(measured: dict[str, Any]) -> str:
    """Return average precision and comprehensiveness of each explainer on each classifier, without intervals."""
    tasks = measured["tasks"]
    lines = [f"| explainer | {' | '.join(tasks)} |", f"|---|{'---|' * len(tasks)}"]
    for name in next(iter(tasks.values())):
        cells = [
            f"{of[name]['average_precision'][0]:.3f} / {of[name]['comprehensiveness'][0]:.3f}" for of in tasks.values()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def sums(measured: dict[str, Any]) -> str:
    """Return how scores add up to the logit on each classifier: correlation and median error of each network."""
    networks = list(next(iter(measured["sums"].values())))
    lines = [f"| classifier | {' | '.join(networks)} |", f"|---|{'---|' * len(networks)}"]
    for classifier, figures in measured["sums"].items():
        cells = [f"{figures[name]['correlation']:.2f} / {figures[name]['error']:.0%}" for name in networks]
        lines.append(f"| {classifier} | {' | '.join(cells)} |")
    return "\n".join(lines)


def robust(measured: dict[str, Any]) -> str:
    """Return a classifier's figures with and without masked words in training, and what removal does to each."""
    methods = list(next(iter(measured["classifiers"].values()))["none"]["removal"])
    head = ["classifier", "masked", "accuracy", "macro-F1", "MCC", *(f"removal by {method}" for method in methods)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, kinds in measured["classifiers"].items():
        for masked, figures in kinds.items():
            cells = [f"{figures['dev_figures'][key]:.3f}" for key in ("accuracy", "macro_f1", "mcc")]
            for method in methods:
                mean, low, high, _ = figures["removal"][method]["comprehensiveness"]
                cells.append(f"{mean:.3f} [{low:.3f}, {high:.3f}]")
            lines.append(f"| {name} | {masked} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"Seed {measured['seed']}, expnet {measured['expnet']}."])


def prompts(measured: dict[str, Any]) -> str:
    """Return agreement with people and faithfulness on a prompted language model, and p against raw attention."""
    lines = ["| explainer | average precision ↑ | p | comprehensiveness ↑ | p |", "|---|---|---|---|---|"]
    for name, figures in measured["explanations"].items():
        cells = [f"{mean:.3f} [{low:.3f}, {high:.3f}] | {p:.3f}" for mean, low, high, p in figures.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    note = f"{measured['texts']} development texts, seed {measured['seed']}, expnet {measured['expnet']}."
    return "\n".join(
        [*lines, "", f"Accuracy of the model on SST-2's development split {measured['accuracy']:.3f}. {note}"]
    )


def models(measured: dict[str, Any]) -> str:
    """Return average precision of each explainer on each classifier."""
    lines = []
    for task, classifiers in measured["tasks"].items():
        names = list(dict.fromkeys(name for figures in classifiers.values() for name in figures))
        lines += [f"| {task} | {' | '.join(classifiers)} |", "|---|" + "---|" * len(classifiers)]
        for name in names:
            cells = [
                f"{figures[name]['average_precision']:.3f}" if name in figures else "–"
                for figures in classifiers.values()
            ]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    note = f"Average precision, seed {measured['seed']}, expnet {measured['expnet']}."
    return "\n".join([*lines, note])


def people(rows: list[Row]) -> str:
    """Return token F1 by number of marked texts, each explainer at its own threshold, and that of a person."""
    here = [row for row in main_marks(rows) if row.set == SET_OF_PEOPLE]
    (person,) = {figure([row], "f1").mean for row in here if row.method == "human"}
    by_start = learning_curves(row for row in here if row.experiment in ("adapted", "few marks", "in-domain"))
    steps = sorted({step for at in by_start.values() for step in at})
    lines = ["| start | " + " | ".join(shots_name(step) for step in steps) + " |", "|---|" + "---|" * len(steps)]
    for start, at in by_start.items():
        cells = []
        for step in steps:
            reached = figure(at[step], "own_f1") if step in at else None
            cells.append("–" if reached is None else f"{reached.mean:.3f} [{reached.low:.3f}, {reached.high:.3f}]")
        lines.append(f"| {start} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"One annotator against the others: {person:.3f}."])
