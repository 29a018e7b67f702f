"""Which adapted explainer is the better start for a few marks: the teacher's student, or one with removals as well?

    python scripts/measure_fit.py ../shared/data runs demo/sentiment demo/acceptability demo/hate-speech
    python scripts/measure_fit.py ../shared/data runs "sentiment on l3"
    python scripts/tables.py

Classifiers and texts are those of `measure_adapt.py`; marks are drawn three times, with other texts each. Agreement
is measured on development texts of the same source tasks. No test set is read.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure_adapt import LEARNED, UNMARKED, marked
from measure_front import rounded

import expnet
from expnet._version import __version__
from expnet.benchmark.measure.measures import plausibility
from expnet.benchmark.measure.scores import ScoringJob, word_scores
from expnet.benchmark.plan import read_plan
from expnet.benchmark.prepare.data import Data, draw
from expnet.benchmark.prepare.making import Workshop
from expnet.methods.learned import method_of
from expnet.model.classifier import Classifier
from expnet.network.channels import Tier
from expnet.network.expnet import ExpNet
from expnet.network.universal import universal
from expnet.rationales import Record
from expnet.training.adapt import adapt
from expnet.training.fit import fit

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "docs" / "fit.json"
JUDGED, DRAWS, SHOTS = 100, 3, (16, 64)
TIERS: tuple[Tier, ...] = ("attention", "gradient")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, help="the output folder of the benchmark")
    parser.add_argument("classifiers", nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    plan = read_plan(ROOT / "benchmarks" / "backbones-small.toml")
    workshop = Workshop(plan, Data(args.data, plan), args.runs)
    tasks = {task.name: task for task in plan.tasks}
    for name in args.classifiers:
        demo = name.startswith("demo/")
        task = tasks[f"{name.removeprefix('demo/').replace('-', ' ')} on demo/base" if demo else name]
        classifier = expnet.load(name).classifier if demo else workshop.classifier(task, 0)
        figures = measured(classifier, *workshop.data.to_train_explainer(task), name)
        report: dict[str, Any] = json.loads(OUTPUT.read_text()) if OUTPUT.is_file() else {}
        if report.get("expnet") != __version__:
            report = {"expnet": __version__, "unmarked": UNMARKED, "draws": DRAWS, "tasks": {}}
        report["tasks"][name] = figures
        OUTPUT.write_text(json.dumps(report, indent=1) + "\n")


def measured(
    classifier: Classifier, train: Sequence[Record], dev: Sequence[Record] | None, title: str
) -> dict[str, list[float]]:
    """Return mean average precision, interval and number of texts of each explainer."""
    train, dev = marked(train), marked(dev or [])
    held = [(dev or train)[i] for i in draw(dev or train, JUDGED, 0)]
    judged = {record.text for record in held}
    rest = [record for record in train if record.text not in judged]
    unmarked, pool = [record.text for record in rest[:UNMARKED]], rest[UNMARKED:]
    drawn = [np.random.default_rng(seed).permutation(len(pool)) for seed in range(DRAWS)]
    by_name: dict[str, list[float]] = {}
    for tier in TIERS:
        for said, removals in LEARNED.items():
            start = adapt(classifier, universal("gradient"), unmarked, removals=removals, tier=tier)
            by_name[f"adapted to {said}, {tier}"] = agreement(classifier, [start], held)
            for shots in SHOTS:
                fitted = [
                    fit(classifier, [pool[i] for i in places[:shots]], start=start, tier=tier, seed=seed)
                    for seed, places in enumerate(drawn)
                ]
                by_name[f"{shots} marks from it, {said}, {tier}"] = agreement(classifier, fitted, held)
            print(title, said, tier, {name: values[0] for name, values in by_name.items()}, flush=True)
    return by_name


def agreement(classifier: Classifier, networks: Sequence[ExpNet], held: Sequence[Record]) -> list[float]:
    """Return mean, interval and number of texts of the average precision, each text's averaged over networks."""
    target = [classifier.target_index(str(record.label)) for record in held]
    words = [np.array(record.judged_words(), bool) for record in held]
    marks = [np.array(record.word_marks(), bool)[w] for record, w in zip(held, words, strict=True)]
    reached = []
    for network in networks:
        scores = word_scores(classifier, held, target, ScoringJob(method_of(network), {}, 0, network))
        of_words = [s[w] for s, w in zip(scores, words, strict=True)]
        reached.append(plausibility(of_words, marks, 0.3)["average_precision"])
    return rounded(np.mean(reached, axis=0))


if __name__ == "__main__":
    main()
