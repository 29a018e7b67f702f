"""One ExpNet for classifiers it was not trained on: another seed, another size, another model.

    python scripts/measure_models.py ../shared/data runs --base all-mpnet-base-v2=FOLDER
    python scripts/tables.py

For two tasks of `benchmarks/ring.toml`, on development texts; no test set is read. Each base is fine-tuned on texts
of the task; one more is all-MiniLM-L6-v2 with every second layer left out. The explainers: the one of other families,
which was trained on neither the task nor the classifier; the one of all families, and one of this task alone,
transferred from the classifiers they were trained on; both adapted to the classifier on unmarked texts; and one trained
on this classifier with marks of the task. One seed; resumes where it stopped.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ablate import development, evaluated, rule
from on_ring import ROOT, opened
from torch import nn
from transformers import AutoModel, AutoTokenizer

from expnet._version import __version__
from expnet.benchmark.plan import TaskPlan
from expnet.benchmark.prepare.data import draw
from expnet.benchmark.prepare.making import Workshop
from expnet.demo import base_model
from expnet.explainer import load_classifier
from expnet.finetuning import finetune
from expnet.model.classifier import Classifier
from expnet.network.channels import Tier
from expnet.network.expnet import ExpNet
from expnet.rationales import Record
from expnet.training.adapt import adapt
from expnet.training.config import with_tier
from expnet.training.mixture import Source, fit_mixture

OUTPUT = ROOT / "docs" / "models.json"
TASKS = ("sentiment", "hate speech")
RULES = ("raw_attention", "saliency", "grad_sam", "generic_relevance")
TAUGHT, MARKED, UNMARKED = 2000, 1000, 300  # texts: for a classifier, for its own explainer, to adapt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base", action="append", default=[], help="NAME=FOLDER of a pretrained model; repeat it")
    workshop, args = opened(parser)
    plan, data = workshop.plan, workshop.data
    bases = {"every second layer of all-MiniLM-L6-v2": every_second_layer(args.runs / "bases" / "MiniLM-L3")}
    bases |= {name: Path(folder) for name, folder in (item.split("=", 1) for item in args.base)}
    report = json.loads(OUTPUT.read_text()) if OUTPUT.is_file() else {}
    if report.get("expnet") != __version__:
        report = {"expnet": __version__, "seed": 0, "marked": MARKED, "unmarked": UNMARKED, "tasks": {}}
    for task in (task for task in plan.tasks if task.name in TASKS):
        held = development(plan, data, task)
        classifiers = {"another seed of all-MiniLM-L6-v2": lambda task=task: workshop.classifier(task, 1)}
        for name, base in bases.items():
            classifiers[name] = lambda task=task, name=name, base=base: tuned(workshop, task, name, base)
        for name, classifier in classifiers.items():
            figures = report["tasks"].setdefault(task.name, {}).setdefault(name, {})
            for explainer, reached in measured(workshop, task, classifier(), held, figures.keys()):
                figures[explainer] = reached
                print(task.name, name, explainer, reached, flush=True)
                OUTPUT.write_text(json.dumps(report, indent=1) + "\n")


def every_second_layer(folder: Path) -> Path:
    """Write all-MiniLM-L6-v2 with layers 0, 2 and 4 only, and return where."""
    model = AutoModel.from_pretrained(base_model())
    model.encoder.layer = nn.ModuleList(list(model.encoder.layer)[::2])
    model.config.num_hidden_layers = len(model.encoder.layer)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base_model()).save_pretrained(folder)
    return folder


def tuned(workshop: Workshop, task: TaskPlan, name: str, base: Path) -> Classifier:
    """Return the classifier that a base becomes on the texts of a task."""
    train, dev = workshop.data.to_train_classifier(task)
    folder = workshop.work / "classifiers" / f"{task.name} {name}".replace(" ", "-")
    if not (folder / "finetune.json").is_file():
        some = [train[i] for i in draw(train, TAUGHT, 0)]
        settings = replace(task.classifier.settings, seed=0)
        resume = any(folder.glob("checkpoints/checkpoint-*"))
        finetune(base, some, dev, folder, settings, label_names=dict(task.classifier.names), resume=resume)
    return load_classifier(str(folder))


def specialist(workshop: Workshop, task: TaskPlan, tier: Tier) -> ExpNet:
    """Return the ExpNet for any heads that is trained on this task alone, with its first classifier."""
    return workshop.learned([task], 0, with_tier(workshop.plan.cross, tier))


def measured(
    workshop: Workshop, task: TaskPlan, classifier: Classifier, held: Sequence[Record], done: Sequence[str]
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield average precision and AUROC of each explainer that is not measured yet."""
    cache = workshop.work / "features"
    texts = {record.text for record in held}
    marked = [record for record in workshop.data.to_train_explainer(task)[0] if record.text not in texts]
    marked = [marked[i] for i in draw(marked, MARKED, 0)]
    others = [record for record in workshop.data.unmarked(task, 0) if record.text not in texts]
    unmarked = [others[i].text for i in draw(others, UNMARKED, 0)]
    for name in RULES:
        if name not in done:
            yield name, rule(classifier, held, name)
    for tier in ("attention", "gradient"):
        student = with_tier(workshop.plan.student, tier)
        makers = {
            "other families": lambda tier=tier: workshop.cross_task(task, 0, tier),
            "transferred": lambda tier=tier: workshop.universal(tier),
            "adapted": lambda student=student: adapt(
                classifier, workshop.universal("gradient"), unmarked, removals=0, config=student
            ),
            "transferred, this task alone": lambda tier=tier: specialist(workshop, task, tier),
            "adapted, this task alone": lambda student=student: adapt(
                classifier, specialist(workshop, task, "gradient"), unmarked, removals=0, config=student
            ),
            "in-domain": lambda tier=tier: fit_mixture(
                [Source(classifier=classifier, train=marked)], config=with_tier(workshop.plan.own, tier), cache=cache
            ),
        }
        for name, make in makers.items():
            if (called := f"{name}, {tier}") not in done:
                yield called, evaluated(classifier, held, make(), cache)


if __name__ == "__main__":
    main()
