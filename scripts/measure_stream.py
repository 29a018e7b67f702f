"""The anchor's stream backward, a rule: agreement with people and faithfulness beside other rules and explainers.

    python scripts/measure_stream.py ../shared/data runs
    python scripts/tables.py

Classifiers and texts are those of `measure_difference.py`, whose figures of other rules and of `universal/gradient` are
taken from `docs/difference.json`: run it first. No test set is read; one seed. Resumes where it stopped.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measure_difference import DifferenceSource
from measure_front import compared, learned, rules

from expnet._version import __version__
from expnet.benchmark.measure.scores import ScoringJob
from expnet.benchmark.plan import read_plan
from expnet.benchmark.prepare.data import Data
from expnet.benchmark.prepare.making import Workshop
from expnet.network.universal import universal

ROOT = Path(__file__).parents[1]
OUTPUT, BESIDE = ROOT / "docs" / "stream.json", ROOT / "docs" / "difference.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, help="the output folder of the benchmark")
    parser.add_argument("classifiers", nargs="*", help="by default all of docs/difference.json")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    plan = read_plan(ROOT / "benchmarks" / "backbones.toml")
    workshop = Workshop(plan, Data(args.data, plan), args.runs)
    beside = json.loads(BESIDE.read_text())["tasks"]
    report: dict[str, Any] = json.loads(OUTPUT.read_text()) if OUTPUT.is_file() else {}
    if report.get("expnet") != __version__:
        report = {"expnet": __version__, "seed": 0, "tasks": {}}
    makers: dict[str, Callable[[], ScoringJob]] = rules(["anchor_stream"])
    makers["universal/attention"] = lambda: learned(universal("attention"))
    for name in args.classifiers or beside:
        if name not in report["tasks"]:
            source = DifferenceSource.of(name, workshop)
            others = {one: of for one, of in beside[name].items() if not one.startswith("differences")}
            report["tasks"][name] = others | compared(source.classifier, source.held, makers, name)
            OUTPUT.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
