"""How an explainer does on other kinds of text than it was trained on: the sentiment demo's own beside others.

    python scripts/measure_elsewhere.py ../shared/data
    python scripts/tables.py

The classifier is `demo/sentiment`; its own ExpNet was trained on sentences of film reviews. Development splits only.
"""

import argparse
import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

import expnet
from expnet.benchmark.prepare.data import draw
from expnet.metrics import average_precision
from expnet.metrics.statistics import estimate
from expnet.rationales import Record, read_records
from expnet.runtime.progress import track

OUTPUT = Path(__file__).parents[1] / "docs" / "elsewhere.json"
SETS = {"sst_tree/dev": 250, "tse/dev": 250, "movies/val": 100}
SYSTEMS = {
    "the demo's explainer": (None, "expnet"),
    "universal/attention": ("universal/attention", "expnet"),
    "universal/gradient": ("universal/gradient", "expnet"),
    "generic_relevance": (None, "generic_relevance"),
    "random": (None, "random"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    explainers = {name: expnet.load(explainer=name) for name, _ in SYSTEMS.values()}
    report: dict[str, object] = {"seed": 0, "versions": {name: version(name) for name in ("expnet", "torch")}}
    for place, count in SETS.items():
        records = [record for record in read_records(args.data / f"{place}.jsonl.gz") if record.rationale]
        records = [records[i] for i in draw(records, count, 0)]
        reached = {
            system: np.array(
                [agreement(explainers[name], method, record) for record in track(records, place, show=True)]
            )
            for system, (name, method) in SYSTEMS.items()
        }
        report[place] = {name: asdict(estimate(values)) for name, values in reached.items()} | {
            "gain of universal/gradient over the demo's": asdict(
                estimate(reached["universal/gradient"] - reached["the demo's explainer"])
            )
        }
        OUTPUT.write_text(json.dumps(report, indent=1) + "\n")


def agreement(explainer: expnet.Explainer, method: str, record: Record) -> float:
    """Return the average precision of a text's words against its marks; NaN where all or none are marked."""
    scores = np.array([word.score for word in explainer.explain(record.text, method=method).words])
    return average_precision(scores, np.array(record.word_marks()))


if __name__ == "__main__":
    main()
