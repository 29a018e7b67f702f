"""The explainer on differences: what it says of classifiers whose base and task it has not seen, and the shipped one.

    python scripts/measure_difference.py ../shared/data runs --ship
    python scripts/tables.py

Sources are classifiers of four tasks on four bases: the demos, and those of `benchmarks/backbones.toml`, which
are fine-tuned if `runs` does not have them. On nine of them, three tasks on three bases (those of tweets and on e5 only
teach, for want of time), a network is measured that has learned, marks and removals, from those of other tasks on other
bases, beside rules, `universal/gradient`, and the network that `--ship` puts into the package, which has learned from
other texts of all. No test set is read; one seed. Resumes where it stopped.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from measure_adapt import marked
from measure_front import compared, rules
from measure_used import figures, job

import expnet
from expnet._version import __version__
from expnet.benchmark.measure.scores import ScoringJob
from expnet.benchmark.plan import TaskPlan, read_plan
from expnet.benchmark.prepare.data import Data, draw
from expnet.benchmark.prepare.making import Workshop
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.network.universal import FOLDER, universal
from expnet.rationales import Record
from expnet.training.build import new_scorer, with_used
from expnet.training.config import ACROSS_TASKS, with_tier
from expnet.training.mixture import Source, fit_mixture
from expnet.training.removals import Removals, answers, learn_answers

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "docs" / "difference.json"
DEMOS = ("demo/sentiment", "demo/acceptability", "demo/hate-speech")
RULES = ("random", "generic_relevance", "grad_sam", "deeplift", "grad_sam_deeplift")
OUTPUTS = ("expnet_used", "expnet_both")
BASES = "all-MiniLM-L6-v2, paraphrase-MiniLM-L3-v2, multilingual-e5-small and all-mpnet-base-v2"
JUDGED, LEARNED, REMOVALS = 40, 150, 16
MARKS = replace(with_tier(ACROSS_TASKS, "difference"), steps=400)
USED = replace(MARKS, steps=600)


@dataclass(frozen=True)
class DifferenceSource:
    """A classifier, marked texts to learn from and to measure on, and its answers to removals from each, if needed."""

    name: str
    plan: TaskPlan
    classifier: Classifier
    train: Sequence[Record]
    held: Sequence[Record]

    @classmethod
    def of(cls, name: str, workshop: Workshop) -> "DifferenceSource":
        """Load a classifier and ask it."""
        on_base = f"{name.removeprefix('demo/').replace('-', ' ')} on demo/base" if name in DEMOS else name
        plan = next(plan for plan in workshop.plan.tasks if plan.name == on_base)
        classifier = expnet.load(name).classifier if name in DEMOS else workshop.classifier(plan, 0)
        train, dev = (marked(records or []) for records in workshop.data.to_train_explainer(plan))
        held = [(dev or train)[i] for i in draw(dev or train, JUDGED, 0)]
        judged = {record.text for record in held}
        train = [record for record in train if record.text not in judged][:LEARNED]
        return cls(name, plan, classifier, train, held)

    @cached_property
    def learned(self) -> list[Removals]:
        """Its answers to removals from the texts to learn from."""
        return self._answers(self.train, 0)

    @cached_property
    def judged(self) -> list[Removals]:
        """Its answers to removals from the texts to measure on."""
        return self._answers(self.held, 1)

    def _answers(self, records: Sequence[Record], seed: int) -> list[Removals]:
        texts, network = [record.text for record in records], new_scorer(self.classifier, USED)
        print(self.name, len(texts), flush=True)
        return list(answers(self.classifier, texts, network, REMOVALS, seed, None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, help="the output folder of the benchmark")
    parser.add_argument("--ship", action="store_true", help="put the network of all sources into the package")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    plan = read_plan(ROOT / "benchmarks" / "backbones.toml")
    workshop = Workshop(plan, Data(args.data, plan), args.runs)
    fine_tuned = [task.name for task in plan.tasks if task.train]
    covered = {f"{name.removeprefix('demo/').replace('-', ' ')} on demo/base" for name in DEMOS}
    names = [*DEMOS, *sorted(set(fine_tuned) - covered, key=lambda name: (" on e5" in name, name))]
    sources = [DifferenceSource.of(name, workshop) for name in names]
    whole = trained(sources, args.runs)
    report: dict[str, Any] = json.loads(OUTPUT.read_text()) if OUTPUT.is_file() else {}
    settings = {"expnet": __version__, "seed": 0, "texts": LEARNED, "removals": REMOVALS, "classifiers": names}
    if any(report.get(name) != value for name, value in settings.items()):
        report = {**settings, "tasks": {}, "sums": {}}
    for source in sources:
        if source.name in report["tasks"] or source.plan.family == "tweets" or source.plan.classifier.base == "e5":
            continue
        others = [other for other in sources if differ(source, other)]
        neither = trained(others, args.runs)
        makers: dict[str, Callable[[], ScoringJob]] = rules(RULES)
        for name, network in (
            ("universal/gradient", universal("gradient")),
            ("differences, neither", neither),
            ("differences, all", whole),
        ):
            first = "expnet_gradient" if name == "universal/gradient" else "expnet_difference"
            makers |= {f"{name}: {method}": partial(job, method, network) for method in (first, *OUTPUTS)}
        report["tasks"][source.name] = compared(source.classifier, source.held, makers, source.name)
        report["sums"][source.name] = {
            what: figures(network.used, source.judged)
            for what, network in (("neither", neither), ("all", whole))
            if network.used
        }
        OUTPUT.write_text(json.dumps(report, indent=1) + "\n")
    if args.ship:
        ship(whole, report, sources)


def differ(one: DifferenceSource, other: DifferenceSource) -> bool:
    """Return whether two sources have neither task nor base in common."""
    return one.plan.family != other.plan.family and one.plan.classifier.base != other.plan.classifier.base


def trained(sources: Sequence[DifferenceSource], runs: Path) -> ExpNet:
    """Return the network of two outputs that has learned from these, made once and kept."""
    asked = [__version__, asdict(MARKS), asdict(USED), LEARNED, REMOVALS, [source.name for source in sources]]
    asked += [source.classifier.fingerprint() for source in sources]
    folder = runs / "differences" / hashlib.sha256(json.dumps(asked, default=str).encode()).hexdigest()[:16]
    if not (folder / "config.json").is_file():
        of_marks = [
            Source(classifier=of.classifier, train=of.train, name=of.plan.train, family=of.plan.family)
            for of in sources
        ]
        network = fit_mixture(of_marks, config=MARKS, cache=runs / "features")
        used = new_scorer(sources[0].classifier, USED)
        learn_answers(used, [source.learned for source in sources], USED)
        with_used(network, used).save_pretrained(folder)
        print("trained on", len(sources), flush=True)
    return ExpNet.from_pretrained(folder)


def ship(network: ExpNet, report: dict[str, Any], sources: Sequence[DifferenceSource]) -> None:
    """Put the network of all sources into the package, and what is known of those made like it."""
    folder, families = FOLDER / "difference", dict[str, list[str]]()
    for source in sources:
        of_family = families.setdefault(source.plan.family, [])
        of_family += [source.plan.train] if source.plan.train not in of_family else []
    second = {"classifiers": report["classifiers"], "texts of each": LEARNED, "removals": REMOVALS, "steps": USED.steps}
    known_by_name = {"classifiers": report["classifiers"], "used": second}
    network.config = replace(network.config, provenance={**network.config.provenance, **known_by_name})
    network.save_pretrained(folder)
    sets = {}
    for name, measured in report["tasks"].items():
        precision = {method: of_method["average_precision"] for method, of_method in measured.items()}
        best = max((rule for rule in RULES if rule != "random"), key=lambda rule: precision[rule][0])
        mean, low, high, texts = precision["differences, neither: expnet_difference"]
        sets[name] = {"ours": mean, "interval": [low, high], "texts": texts, "seeds": 1}
        sets[name] |= {"best": precision[best][0], "best method": best, "random": precision["random"][0]}
    known: dict[str, Any] = {"learned": families, "base": BASES}
    known |= {"metric": "average_precision", "versions": [__version__], "sets": sets}
    path = FOLDER / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"difference": known}, indent=1) + "\n")
    lines = [
        f"| {name} | {of['texts']} | {of['ours']:.3f} [{of['interval'][0]:.3f}, {of['interval'][1]:.3f}] | "
        f"{of['best']:.3f} {of['best method']} | {of['random']:.3f} |"
        for name, of in sets.items()
    ]
    (folder / "README.md").write_text(f"""{network.generate_model_card()}
## On tasks and bases it had not learned from

Average precision on development texts, 95 % bootstrap intervals over texts, one seed. The network here learned from all
classifiers named above; each line is of a network made the same way without the task and without the base of that
classifier (`scripts/measure_difference.py`). The best of {len(RULES) - 1} fixed methods is chosen on the very texts,
which favours it.

| classifier | texts | this explainer | best fixed method | random |
|---|---|---|---|---|
{chr(10).join(lines)}

## Limits

Learned from English texts and four encoders. It says which words people would mark, its second output what the
classifier uses (`docs/research.md`). Computing it takes about twice as long as `universal/gradient`.
""")


if __name__ == "__main__":
    main()
