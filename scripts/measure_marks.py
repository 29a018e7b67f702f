"""Few marks after adaptation: does it pay that the network they start from has learned from random removals, too?

    python scripts/measure_marks.py ../shared/data runs demo/sentiment "sentiment on mpnet" ...
    python scripts/tables.py

A network is adapted to a classifier on 200 unmarked texts, to the teacher alone or to the teacher and removals, and is
then fitted to 16 and to 64 marked texts, in three draws. A classifier is a demo, or one of the plan
`benchmarks/backbones.toml`, which is fine-tuned if `runs` does not have it. Figures are of development texts, means of
the draws; a gain is that of the start from removals. No test set is read; one seed.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure_adapt import JUDGED, LEARNED, UNMARKED, marked
from measure_front import METRICS, learned, rounded, values

import expnet
from expnet._version import __version__
from expnet.benchmark.measure.measures import Values
from expnet.benchmark.measure.scores import ScoringJob
from expnet.benchmark.plan import TaskPlan, read_plan
from expnet.benchmark.prepare.data import Data, draw
from expnet.benchmark.prepare.making import Workshop
from expnet.model.classifier import Classifier
from expnet.network.channels import Tier
from expnet.network.expnet import ExpNet
from expnet.network.universal import teacher_of
from expnet.rationales import Record
from expnet.training.adapt import adapt
from expnet.training.fit import fit

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "docs" / "marks.json"
MARKS, DRAWS = (0, 16, 64), (0, 1, 2)
TIERS: tuple[Tier, ...] = ("attention", "gradient")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, help="the output folder of the benchmark")
    parser.add_argument("classifiers", nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    plan = read_plan(ROOT / "benchmarks" / "backbones.toml")
    workshop = Workshop(plan, Data(args.data, plan), args.runs)
    for name in args.classifiers:
        figures = measured(workshop, name)
        report = json.loads(OUTPUT.read_text()) if OUTPUT.is_file() else {}
        if report.get("expnet") != __version__:
            report = {"expnet": __version__, "seed": 0, "unmarked": UNMARKED, "draws": len(DRAWS), "classifiers": {}}
        report["classifiers"][name] = figures
        OUTPUT.write_text(json.dumps(report, indent=1) + "\n")


def measured(workshop: Workshop, name: str) -> dict[str, Any]:
    """Return for each tier, start and number of marks the figures, and the gain of the start from removals."""
    task, classifier = opened(workshop, name)
    train, dev = map(marked, (records or [] for records in workshop.data.to_train_explainer(task)))
    held = [(dev or train)[i] for i in draw(dev or train, JUDGED, 0)]
    judged = {record.text for record in held}
    train = [record for record in train if record.text not in judged]
    makers: dict[str, Callable[[], ScoringJob]] = {}
    for tier in TIERS:
        for start, removals in LEARNED.items():
            adapted = adapt(
                classifier, teacher_of("gradient"), [r.text for r in train[:UNMARKED]], removals=removals, tier=tier
            )
            for marks in MARKS:
                for number in DRAWS if marks else DRAWS[:1]:
                    maker = partial(fitted, classifier, adapted, train, tier, marks, number)
                    makers[key(tier, start, marks, number)] = maker
    of_texts = values(classifier, held, makers, name)
    return {
        tier: {
            f"{marks} marks": compared({start: drawn(of_texts, tier, start, marks) for start in LEARNED})
            for marks in MARKS
        }
        for tier in TIERS
    }


def opened(workshop: Workshop, name: str) -> tuple[TaskPlan, Classifier]:
    """Return a classifier and its task; a demo's is that of the plan's classifier on the demos' base."""
    demo = name.startswith("demo/")
    planned = f"{name.removeprefix('demo/').replace('-', ' ')} on demo/base" if demo else name
    task = next(task for task in workshop.plan.tasks if task.name == planned)
    return task, expnet.load(name).classifier if demo else workshop.classifier(task, 0)


def fitted(
    classifier: Classifier, start: ExpNet, train: Sequence[Record], tier: Tier, marks: int, number: int
) -> ScoringJob:
    """Return the job of the network that learned on from so many marked texts, of a draw by that seed."""
    if not marks:
        return learned(start)
    records = [train[i] for i in draw(train, marks, number)]
    return learned(fit(classifier, records, start=start, tier=tier, seed=number))


def key(tier: Tier, start: str, marks: int, number: int) -> str:
    return f"{tier}, {start}, {marks} marks, draw {number}"


def drawn(of_texts: Mapping[str, Values], tier: Tier, start: str, marks: int) -> dict[str, np.ndarray]:
    """Return the figures of every text, means of the draws."""
    draws = [of_texts[key(tier, start, marks, number)] for number in (DRAWS if marks else DRAWS[:1])]
    return {metric: np.mean([np.array(one[metric], float) for one in draws], axis=0) for metric in METRICS}


def compared(starts: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, list[float]]]:
    """Return the figures of both starts and the gain of the second, text by text."""
    alone, removals = starts.values()
    report = {
        name: {metric: rounded(figures[metric].tolist()) for metric in METRICS} for name, figures in starts.items()
    }
    return report | {"gain": {metric: rounded((removals[metric] - alone[metric]).tolist()) for metric in METRICS}}


if __name__ == "__main__":
    main()
