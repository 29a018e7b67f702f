"""Train the universal ExpNets on all tasks of the ring, and write the benchmark's figures for unseen tasks.

    expnet benchmark benchmarks/ring.toml --data ../shared/data --output runs
    python scripts/make_universal.py ../shared/data runs
    python scripts/measure_used.py ../shared/data runs --ship

The last gives the network with gradients its second output again, which a new network does not have. The shipped
networks are trained on all families. The figures are those of networks made in the same way without the family that
they are tested on.
"""

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from expnet.benchmark.plan import Plan, read_plan
from expnet.benchmark.prepare.data import Data
from expnet.benchmark.prepare.making import Workshop
from expnet.benchmark.present import comparison
from expnet.benchmark.present.summary import HEADLINE, figure, group, main_marks, places
from expnet.benchmark.rows import Row, RowFile
from expnet.network.expnet import ExpNet
from expnet.network.universal import FOLDER

ROOT = Path(__file__).parents[1]
BASE = "all-MiniLM-L6-v2"  # demo/base
METHODS = {"attention": "expnet", "gradient": "expnet_gradient"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, help="the output folder of the benchmark")
    parser.add_argument("--figures-only", action="store_true")
    args = parser.parse_args()
    plan = read_plan(ROOT / "benchmarks" / "ring.toml")
    if not args.figures_only:
        workshop = Workshop(plan, Data(args.data, plan), args.runs)
        for tier in plan.tiers:
            shutil.rmtree(FOLDER / tier, ignore_errors=True)
            workshop.universal(tier).save_pretrained(FOLDER / tier)
    rows = RowFile(args.runs / f"{plan.name}.jsonl").read()
    report = {tier: learned(plan, FOLDER / tier) | figures(rows, method) for tier, method in METHODS.items()}
    (FOLDER / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for tier in plan.tiers:
        network = ExpNet.from_pretrained(FOLDER / tier)
        (FOLDER / tier / "README.md").write_text(f"{network.generate_model_card()}\n{card(report[tier]['sets'])}")


def learned(plan: Plan, folder: Path) -> dict[str, Any]:
    """Return the sets that a network was trained on by the plan's families, and what its classifiers are based on."""
    sources = ExpNet.from_pretrained(folder).config.provenance["sources"]
    families: dict[str, list[str]] = {}
    for task in plan.tasks:
        if task.train in sources:
            families.setdefault(task.family, []).append(task.train)
    return {"learned": families, "base": BASE}


def card(sets: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the parts of a model card beside the provenance: protocol, results, limits."""
    lines = [
        f"| {name} | {figures['texts']} | {figures['ours']:.3f} [{figures['interval'][0]:.3f}, "
        f"{figures['interval'][1]:.3f}] | {figures['best']:.3f} {figures['best method']} | {figures['random']:.3f} |"
        for name, figures in sets.items()
    ]
    return f"""## On tasks it had not learned from

Average precision, means over texts and {max(figures["seeds"] for figures in sets.values())} seeds, 95 % bootstrap
intervals over texts. The network here learned from all families of tasks named above; each line is of networks made
the same way without the family of that set (`benchmarks/ring.toml`). The best of all fixed methods is chosen on the
very test, which favours it.

| set | texts | this explainer | best fixed method | random |
|---|---|---|---|---|
{chr(10).join(lines)}

## Limits

Learned from English texts and one size of classifier (all-MiniLM-L6-v2, 6 layers of 12 heads). It says which words
people would mark, not what caused the decision; see `docs/benchmark.md`. A few marked texts of the task at hand make a
better explainer: `expnet fit`.
"""


def figures(rows: Sequence[Row], method: str) -> dict[str, Any]:
    """Return average precision on each set of a family that the network was not trained on, and that of others."""
    sets = {}
    for place, here in places([row for row in main_marks(rows) if not row.sample]).items():
        ours = [row for row in here if row.experiment == "cross-task" and row.method == method]
        best, random = comparison.best(here), [row for row in here if row.method == "random"]
        if not (ours and best and random):
            continue
        mean = figure(ours, HEADLINE)
        sets[place] = {
            "ours": round(mean.mean, 4),
            "interval": [round(mean.low, 4), round(mean.high, 4)],
            "texts": mean.n,
            "seeds": mean.seeds,
            "best": round(figure(best, HEADLINE).mean, 4),
            "best method": best[0].method,
            "random": round(figure(random, HEADLINE).mean, 4),
        }
    return {"metric": HEADLINE, "versions": sorted(group(rows, lambda row: row.provenance["expnet"])), "sets": sets}


if __name__ == "__main__":
    main()
