"""How well a check without marks (`expnet trust`) tells which explainers agree with people.

    python scripts/measure_trust.py ../shared/data [NAME=FOLDER:SET,SET...]

Every cell is a classifier (the demos, and further ones that are named), a set and an explainer. Development splits
only. "untrained" is an ExpNet with random weights, of which no check should say anything good. An interrupted run
goes on where it stopped.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

import expnet
from expnet.benchmark.prepare.data import draw
from expnet.explainer import load_classifier
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.network.universal import named, universal
from expnet.rationales import Record, read_records

OUTPUT = Path(__file__).parents[1] / "docs" / "trust.json"
COUNT = 100
SETS = {
    "demo/sentiment": ("sst_tree/dev", "tse/dev"),
    "demo/hate-speech": ("hatexplain/val", "toxic_spans/trial"),
    "demo/acceptability": ("cola_minpairs/dev", "fce/dev", "blimp/dev"),
}
EXPLAINERS = ("own", "universal/gradient", "universal/attention", "untrained")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("classifiers", nargs="*", help="more of them, as NAME=FOLDER:SET,SET")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    checks: dict[str, Any] = json.loads(OUTPUT.read_text()) if OUTPUT.is_file() else {}
    for name, folder, sets in classifiers(args.classifiers):
        for place in sets:
            missing = [which for which in EXPLAINERS if f"{name} {place} {which}" not in checks]
            if not missing:
                continue
            classifier = load_classifier(folder)
            records = annotated(args.data / f"{place}.jsonl.gz")
            for which in missing:
                explainer = explainer_for(classifier, folder, which)
                if explainer is not None:
                    check = explainer.check(records, progress=True).to_dict()
                    checks[f"{name} {place} {which}"] = {key: check[key] for key in check if key != "skipped"}
                    OUTPUT.write_text(json.dumps(checks, indent=1) + "\n")
                    print(f"{name} {place} {which}: {check['level']}", flush=True)


def classifiers(more: Iterable[str]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return name, folder and sets of each classifier."""
    named = [(text.partition("=")[0], *text.partition("=")[2].rsplit(":", 1)) for text in more]
    return [(name, name, sets) for name, sets in SETS.items()] + [
        (name, folder, tuple(sets.split(","))) for name, folder, sets in named
    ]


def annotated(path: Path) -> list[Record]:
    """Draw records that have a marked and an unmarked word."""
    records = [record for record in read_records(path) if record.rationale and len(set(record.word_marks())) == 2]
    return [records[i] for i in draw(records, min(COUNT, len(records)), 0)]


def explainer_for(classifier: Classifier, folder: str, which: str) -> expnet.Explainer | None:
    """Return an explainer by its name; None for a classifier's own if it has none."""
    if which == "own":
        return expnet.load(folder) if folder.startswith("demo/") else None
    if which != "untrained":
        return expnet.Explainer(classifier, named(which), name=which)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ExpNet(universal("attention").config)
    return expnet.Explainer(classifier, network, name=which, trust="It was not trained.")


if __name__ == "__main__":
    main()
