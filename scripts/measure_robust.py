"""What `finetune --mask-robust 0.5` costs in accuracy, and what it changes where words are removed.

    python scripts/measure_robust.py ../shared/data runs "sentiment on demo/base" "sentiment on l3" ...
    python scripts/tables.py

Classifiers are those of the plan `benchmarks/backbones-small.toml` (3,000 texts), each fine-tuned with masked words in
half of the training texts and without; `runs` keeps them. Figures are of development texts; no test set is read.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from measure_adapt import marked
from measure_front import compared, rules

from expnet._version import __version__
from expnet.benchmark.plan import Plan, read_plan
from expnet.benchmark.prepare.data import Data, draw
from expnet.benchmark.prepare.making import Workshop

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
        figures = {}
        for what, plan in (("none", plain), (f"{SHARE:.0%}", robust(plain))):
            figures[what] = measured(Workshop(plan, Data(args.data, plan), args.runs), name)
            print(name, what, figures[what], flush=True)
        report = json.loads(OUTPUT.read_text()) if OUTPUT.is_file() else {}  # another process may have written
        if report.get("expnet") != __version__:
            report = {"expnet": __version__, "seed": 0, "classifiers": {}}
        report["classifiers"][name] = figures
        OUTPUT.write_text(json.dumps(report, indent=1) + "\n")


def robust(plan: Plan) -> Plan:
    """Return the plan with masked words in a share of the texts that its classifiers are fine-tuned on."""
    tasks = []
    for task in plan.tasks:
        settings = replace(task.classifier.settings, mask_robust=SHARE)
        tasks.append(replace(task, classifier=replace(task.classifier, settings=settings)))
    return replace(plan, tasks=tuple(tasks))


def measured(workshop: Workshop, name: str) -> dict[str, Any]:
    """Return the classifier's own figures, and what removing words by some methods does to it."""
    task = next(task for task in workshop.plan.tasks if task.name == name)
    classifier = workshop.classifier(task, 0)
    train, dev = (marked(records or []) for records in workshop.data.to_train_explainer(task))
    held = [(dev or train)[i] for i in draw(dev or train, JUDGED, 0)]
    told = json.loads((Path(classifier.name) / "finetune.json").read_text())
    removal = compared(classifier, held, rules(RULES), name)
    return {"dev": told["dev"], "dev_figures": told["dev_figures"], "removal": removal}


if __name__ == "__main__":
    main()
