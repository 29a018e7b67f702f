"""The second output of the universal explainer: what it says of classifiers, bases and tasks that it has not seen.

    python scripts/measure_used.py ../shared/data runs
    python scripts/tables.py

Sources are classifiers of three tasks on four bases: the demos, and some of `benchmarks/backbones-small.toml`, which
are fine-tuned if `runs` does not have them. On each, a network is measured that has learned from those of other bases,
one from those of other tasks, one from those that differ in both, and the one that `--ship` puts into the package,
which has learned from other texts of all. No test set is read; one seed.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure_adapt import marked
from measure_front import compared, learned, rules

import expnet
from expnet._version import __version__
from expnet.benchmark.measure.scores import ScoringJob
from expnet.benchmark.plan import read_plan
from expnet.benchmark.prepare.data import Data, draw
from expnet.benchmark.prepare.making import Workshop
from expnet.methods.registry import find_method
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.network.scorer import Scorer
from expnet.network.universal import FOLDER, universal
from expnet.rationales import Record
from expnet.training.build import new_scorer, with_used
from expnet.training.config import ACROSS_TASKS
from expnet.training.removals import Removals, answers, learn_answers, sums

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "docs" / "used.json"
CLASSIFIERS = (
    "demo/sentiment",
    "demo/acceptability",
    "demo/hate-speech",
    "sentiment on l3",
    "sentiment on e5",
    "sentiment on mpnet",
    "acceptability on mpnet",
)
RULES = ("random", "saliency", "generic_relevance", "deeplift", "grad_sam_deeplift")
JUDGED, UNMARKED, REMOVALS = 40, 150, 16
METHODS = ("expnet_used", "expnet_both")
CONFIG = replace(ACROSS_TASKS, steps=600)


@dataclass(frozen=True, slots=True)
class RemovalSource:
    """A classifier, texts to measure on, and its answers to removals from others and from these."""

    name: str
    task: str
    base: str
    classifier: Classifier
    held: Sequence[Record]
    learned: Sequence[Removals]
    judged: Sequence[Removals]

    @classmethod
    def of(cls, name: str, workshop: Workshop) -> "RemovalSource":
        """Load a classifier and ask it."""
        task, base = name.removeprefix("demo/").replace("-", " "), "demo/base"
        if not name.startswith("demo/"):
            task, base = name.split(" on ")
        plan = next(plan for plan in workshop.plan.tasks if plan.name == f"{task} on {base}")
        classifier = expnet.load(name).classifier if name.startswith("demo/") else workshop.classifier(plan, 0)
        train, dev = (marked(records or []) for records in workshop.data.to_train_explainer(plan))
        held = [(dev or train)[i] for i in draw(dev or train, JUDGED, 0)]
        judged = {record.text for record in held}
        texts = [record.text for record in train if record.text not in judged][:UNMARKED]
        network = new_scorer(classifier, CONFIG)
        said = [
            list(answers(classifier, some, network, REMOVALS, seed, None))
            for seed, some in ((0, texts), (1, [record.text for record in held]))
        ]
        print(name, *map(len, said), flush=True)
        return cls(name, task, base, classifier, held, *said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, help="the output folder of the benchmark")
    parser.add_argument("--ship", action="store_true", help="put the network of all sources into the package")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    plan = read_plan(ROOT / "benchmarks" / "backbones-small.toml")
    workshop = Workshop(plan, Data(args.data, plan), args.runs)
    sources = [RemovalSource.of(name, workshop) for name in CLASSIFIERS]
    if args.ship:
        ship(trained(sources))
    made: dict[frozenset[str], Scorer] = {frozenset(CLASSIFIERS): shipped()}
    tasks: dict[str, Any] = {}
    added: dict[str, Any] = {}
    for source in sources:
        networks = {
            "other bases": [other for other in sources if other.base != source.base],
            "other tasks": [other for other in sources if other.task != source.task],
            "neither": [other for other in sources if other.task != source.task and other.base != source.base],
        }
        makers = rules(RULES) | {"universal/gradient": lambda: learned(universal("gradient"))}
        networks["all"] = sources
        joined = {}
        for what, others in networks.items():
            key = frozenset(other.name for other in others)
            made[key] = made.get(key) or trained(others)
            joined[what] = with_used(universal("gradient"), made[key])
            for method in METHODS if what in ("neither", "all") else METHODS[:1]:
                makers[f"{method}, {what}"] = partial(job, method, joined[what])
        tasks[source.name] = compared(source.classifier, source.held, makers, source.name)
        added[source.name] = {
            what: figures(network.used, source.judged) for what, network in joined.items() if network.used
        }
        settings = {"expnet": __version__, "seed": 0, "unmarked": UNMARKED, "removals": REMOVALS}
        OUTPUT.write_text(json.dumps({**settings, "tasks": tasks, "sums": added}, indent=1) + "\n")


def trained(sources: Sequence[RemovalSource]) -> Scorer:
    """Return the network that has learned from the answers of these classifiers."""
    network = new_scorer(sources[0].classifier, CONFIG)
    learn_answers(network, [source.learned for source in sources], CONFIG)
    return network


def shipped() -> Scorer:
    """Return the second output of the explainer in the package."""
    used = universal("gradient").used
    assert used is not None
    return used


def job(method: str, network: ExpNet) -> ScoringJob:
    """Return the job of an output of a network."""
    return ScoringJob(find_method(method), {}, 0, network)


@torch.no_grad()
def figures(network: Scorer, windows: Sequence[Removals]) -> dict[str, float]:
    """Return how sums of scores go along with the answers: their correlation, and the median of their error's share.

    The error is that of the sum of all words against the logit with fewest words taken away less that with most.
    """
    said = [added for window in windows for added in sums(network, [window])]
    go = [float(np.corrcoef(a, window.logits)[0, 1]) for a, window in zip(said, windows, strict=True)]
    off = [
        abs(float((a[-1] - a[0]) - (window.logits[-1] - window.logits[0])))
        / max(abs(float(window.logits[-1] - window.logits[0])), 1e-6)
        for a, window in zip(said, windows, strict=True)
    ]
    return {"correlation": round(float(np.nanmean(go)), 4), "error": round(float(np.median(off)), 4)}


def ship(used: Scorer) -> None:
    """Give the universal explainer with gradients this second output; its first, and what is known of it, stay."""
    folder = FOLDER / "gradient"
    figures = (folder / "README.md").read_text().split("## On tasks it had not learned from")[1]
    network = with_used(universal("gradient"), used)
    second = {"classifiers": list(CLASSIFIERS), "texts of each": UNMARKED, "removals": REMOVALS, "steps": CONFIG.steps}
    network.config = replace(network.config, provenance={**network.config.provenance, "used": second})
    network.save_pretrained(folder)
    card = f"{network.generate_model_card()}\n## On tasks it had not learned from{figures}"
    (folder / "README.md").write_text(card)


if __name__ == "__main__":
    main()
