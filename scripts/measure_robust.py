"""What `finetune --mask-robust 0.5` costs in accuracy, and what it changes where words are removed.

    python scripts/measure_robust.py ../shared/data runs "sentiment on demo/base" demo/sentiment ...
    python scripts/tables.py

Classifiers of the plan `benchmarks/backbones-small.toml` (3,000 texts) and demos (all texts, the recipe of
`make_demo.py`), each fine-tuned with masked words in half of the training texts and without; `runs` keeps them, and a
demo without is the one that is shipped. Figures are of development texts; no test set is read.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from make_demo import RECIPES, answers, read, tune
from measure_adapt import marked
from measure_front import compared, rules

from expnet._version import __version__
from expnet.benchmark.plan import Plan, read_plan
from expnet.benchmark.prepare.data import Data, draw
from expnet.benchmark.prepare.making import Workshop
from expnet.demo import adapted_classifier, demo_classifier
from expnet.finetuning import figures
from expnet.model.classifier import Classifier
from expnet.rationales import Record

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "docs" / "robust.json"
RULES = ("random", "generic_relevance", "deeplift")
JUDGED, SHARE = 60, 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, help="the output folder of the benchmark")
    parser.add_argument("classifiers", nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    plain = read_plan(ROOT / "benchmarks" / "backbones-small.toml")
    for name in args.classifiers:
        kinds = {}
        for what, share in (("none", 0.0), (f"{SHARE:.0%}", SHARE)):
            if name.startswith("demo/"):
                kinds[what] = demo(args.data, args.runs / "robust", name, share)
            else:
                plan = robust(plain) if share else plain
                kinds[what] = planned(Workshop(plan, Data(args.data, plan), args.runs), name)
            print(name, what, kinds[what], flush=True)
        report = json.loads(OUTPUT.read_text()) if OUTPUT.is_file() else {}  # another process may have written
        if report.get("expnet") != __version__:
            report = {"expnet": __version__, "seed": 0, "classifiers": {}}
        report["classifiers"][name] = kinds
        OUTPUT.write_text(json.dumps(report, indent=1) + "\n")


def robust(plan: Plan) -> Plan:
    """Return the plan with masked words in a share of the texts that its classifiers are fine-tuned on."""
    tasks = []
    for task in plan.tasks:
        settings = replace(task.classifier.settings, mask_robust=SHARE)
        tasks.append(replace(task, classifier=replace(task.classifier, settings=settings)))
    return replace(plan, tasks=tuple(tasks))


def planned(workshop: Workshop, name: str) -> dict[str, Any]:
    """Return a classifier's own figures, and what removing words by some methods does to it."""
    task = next(task for task in workshop.plan.tasks if task.name == name)
    classifier = workshop.classifier(task, 0)
    train, dev = workshop.data.to_train_explainer(task)
    told = json.loads((Path(classifier.name) / "finetune.json").read_text())
    return {"dev": told["dev"], "dev_figures": told["dev_figures"], "removal": removal(classifier, dev or train, name)}


def demo(data: Path, work: Path, name: str, share: float) -> dict[str, Any]:
    """Return the same of a demo: as shipped, or fine-tuned by its recipe with masked words."""
    recipe = next(recipe for recipe in RECIPES if f"demo/{recipe.name}" == name)
    dev = read(data, recipe.dev)
    if share:
        folder = work / f"{recipe.name}-{share}"
        tune(recipe, data, dev, folder, replace(recipe.finetune, mask_robust=share))
        classifier = adapted_classifier(folder, name=name)
    else:
        classifier = demo_classifier(name)
    held = read(data, recipe.marked_dev or recipe.marked_train, drop_overlap=recipe.drop_overlap)
    reached = figures(*answers(classifier, dev, recipe.label_names))
    return {"dev": len(dev), "dev_figures": reached, "removal": removal(classifier, held, name)}


def removal(classifier: Classifier, records: Sequence[Record], name: str) -> dict[str, dict[str, list[float]]]:
    records = marked(records)
    return compared(classifier, [records[i] for i in draw(records, JUDGED, 0)], rules(RULES), name)


if __name__ == "__main__":
    main()
