"""What random removals add to `expnet adapt`: agreement with people and faithfulness, on development texts.

    python scripts/measure_adapt.py ../shared/data runs demo/sentiment demo/acceptability demo/hate-speech
    python scripts/measure_adapt.py ../shared/data runs "sentiment on l3" "sentiment on e5" "sentiment on mpnet"
    python scripts/tables.py

A classifier is a demo, or one of the plan `benchmarks/backbones-small.toml`, which is fine-tuned if `runs` does not
have it. The teacher is `universal/gradient`, which has learned from other texts of these tasks, on classifiers of one
base. No test set is read; one seed.
"""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measure_front import compared, learned, rules

import expnet
from expnet._version import __version__
from expnet.benchmark.measure.scores import ScoringJob
from expnet.benchmark.plan import read_plan
from expnet.benchmark.prepare.data import Data, draw
from expnet.benchmark.prepare.making import Workshop
from expnet.model.classifier import Classifier
from expnet.network.channels import Tier
from expnet.network.expnet import ExpNet
from expnet.network.universal import universal
from expnet.rationales import Record
from expnet.text.texts import Text
from expnet.training.adapt import adapt

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "docs" / "adapt.json"
RULES = ("random", "raw_attention", "saliency", "grad_sam", "generic_relevance", "deeplift", "grad_sam_deeplift")
LEARNED = {"the teacher alone": 0, "the teacher and 16 removals": 16}
JUDGED, UNMARKED = 60, 200


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
        task = tasks[
            f"{name.removeprefix('demo/').replace('-', ' ')} on demo/base" if name.startswith("demo/") else name
        ]
        classifier = expnet.load(name).classifier if name.startswith("demo/") else workshop.classifier(task, 0)
        figures = measured(classifier, *workshop.data.to_train_explainer(task), name)
        report = json.loads(OUTPUT.read_text()) if OUTPUT.is_file() else {}  # another process may have written
        if report.get("expnet") != __version__:
            report = {"expnet": __version__, "seed": 0, "unmarked": UNMARKED, "tasks": {}}
        report["tasks"][name] = figures
        OUTPUT.write_text(json.dumps(report, indent=1) + "\n")


def measured(
    classifier: Classifier, train: Sequence[Record], dev: Sequence[Record] | None, title: str
) -> dict[str, dict[str, list[float]]]:
    """Return for each explainer mean, interval and number of texts of each figure."""
    train, dev = marked(train), marked(dev or [])
    held = [(dev or train)[i] for i in draw(dev or train, JUDGED, 0)]
    judged = {record.text for record in held}
    texts = [record.text for record in train if record.text not in judged][:UNMARKED]
    makers = rules(RULES)
    tiers: tuple[Tier, ...] = ("attention", "gradient")
    for tier in tiers:
        makers[f"universal/{tier}"] = partial(of_package, tier)
        for said, removals in LEARNED.items():
            makers[f"adapted to {said}, {tier}"] = partial(
                adapted, classifier, universal("gradient"), texts, removals=removals, tier=tier
            )
        makers[f"adapted to 16 removals alone, {tier}"] = partial(adapted, classifier, None, texts, tier=tier)
    return compared(classifier, held, makers, title)


def of_package(tier: Tier) -> ScoringJob:
    """Return the job of a universal network."""
    return learned(universal(tier))


def adapted(classifier: Classifier, teacher: ExpNet | None, texts: Sequence[Text], **settings: Any) -> ScoringJob:
    """Return the job of a network adapted to a classifier."""
    return learned(adapt(classifier, teacher, texts, **settings))


def marked(records: Sequence[Record]) -> list[Record]:
    """Return the records of which some words are marked, and not all."""
    rated = [record for record in records if record.rationale is not None and record.label is not None]
    return [record for record in rated if any(record.word_marks()) and not all(record.word_marks())]


if __name__ == "__main__":
    main()
