"""What matters in the universal ExpNet: change one thing, train without a family, evaluate on its development texts.

    python scripts/ablate.py ../shared/data runs
    python scripts/tables.py

Resumes where it stopped; classifiers and features are those of the benchmark's run. No test set is read. A family
without a development file is evaluated on training texts, on which nothing here was trained. One seed.
"""

import argparse
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from on_ring import ROOT, opened

from expnet._version import __version__
from expnet.benchmark.measure.scores import ScoringJob, word_scores
from expnet.benchmark.plan import Plan, TaskPlan
from expnet.benchmark.prepare.data import Data, draw
from expnet.benchmark.prepare.making import Workshop
from expnet.methods.registry import find_method
from expnet.metrics import auroc, average_precision
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.network.features import ATTENTION, GRADIENT, FeatureConfig
from expnet.network.heads import HeadSetConfig
from expnet.rationales import Record
from expnet.training.adapt import adapt
from expnet.training.config import ACROSS_TASKS, STUDENT, FitConfig, with_tier
from expnet.training.evaluation import annotated_texts, evaluate
from expnet.training.examples import extract

OUTPUT = ROOT / "docs" / "ablation.json"
TEXTS = 300
RULES = ("random", "raw_attention", "value_norm_attention", "saliency", "grad_sam", "generic_relevance")
BY_PLACE = replace(ACROSS_TASKS, features=FeatureConfig(patterns=(*ATTENTION, *GRADIENT)), hidden=(64,))
HEADS = HeadSetConfig(tier="gradient")
NETWORKS: dict[str, FitConfig] = {
    "with gradients, as shipped": ACROSS_TASKS,
    "on attention alone, as shipped": with_tier(ACROSS_TASKS, "attention"),
    "heads by position, gradients": BY_PLACE,
    "heads by position, attention": with_tier(BY_PLACE, "attention"),
    "mean of each layer's heads, gradients": replace(BY_PLACE, features=replace(BY_PLACE.features, heads="mean")),
    "mean of each layer's heads, attention": replace(
        BY_PLACE, features=FeatureConfig(patterns=ATTENTION, heads="mean")
    ),
    "gradients of the predicted class instead of the label": replace(ACROSS_TASKS, explain="predicted"),
    "no head dropout": replace(ACROSS_TASKS, features=replace(HEADS, head_dropout=0.0)),
    "no feature dropout": replace(ACROSS_TASKS, feature_dropout=0.0),
    "one weighted sum over heads instead of eight": replace(ACROSS_TASKS, features=replace(HEADS, summed=1)),
    "no neighbouring tokens": replace(ACROSS_TASKS, context=0),
    "cross-entropy loss instead of ranking": replace(ACROSS_TASKS, entropy=1.0, ranking=0.0),
    "cross-entropy and ranking loss": replace(ACROSS_TASKS, entropy=1.0),
    "100 steps": replace(ACROSS_TASKS, steps=100),
    "1,000 steps": replace(ACROSS_TASKS, steps=1000),
}
STUDENTS: dict[str, tuple[FitConfig, int]] = {
    "adapted on 500 texts, attention": (STUDENT, 500),
    "adapted on 500 texts, gradients": (with_tier(STUDENT, "gradient"), 500),
    "adapted on 500 texts, attention, without received attention": (replace(STUDENT, features=FeatureConfig()), 500),
    "adapted on 100 texts, attention": (STUDENT, 100),
}


def main() -> None:
    workshop, _ = opened(argparse.ArgumentParser(description=__doc__.split("\n")[0]))
    plan, data = workshop.plan, workshop.data
    report = json.loads(OUTPUT.read_text()) if OUTPUT.is_file() else {}
    if report.get("expnet") != __version__ or report.get("texts") != TEXTS:
        report = {"expnet": __version__, "texts": TEXTS, "seed": plan.seeds[0], "figures": {}}
    for task in plan.tasks:
        if task.train:
            held = development(plan, data, task)
            figures = report["figures"].setdefault(task.name, {})
            for name, reached in measured(workshop, task, held, figures.keys()):
                figures[name] = reached
                print(task.name, name, reached, flush=True)
                OUTPUT.write_text(json.dumps(report, indent=1) + "\n")


def development(plan: Plan, data: Data, task: TaskPlan) -> list[Record]:
    """Return marked texts of a task to evaluate on."""
    train, dev = data.to_train_explainer(task)
    texts = dev or train
    return [texts[i] for i in draw(texts, TEXTS, plan.seed)]


def measured(
    workshop: Workshop, task: TaskPlan, held: Sequence[Record], done: Sequence[str]
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield average precision and AUROC of every variation that is not measured yet."""
    for name in RULES:
        if name not in done:
            yield name, rule(workshop.classifier(task, 0), held, name)
    for name, config in NETWORKS.items():
        if name not in done:
            yield name, of_network(workshop, task, held, workshop.learned(workshop.others(task), 0, config))
    several = "trained on three classifiers per task, where available"
    if several not in done:
        everyone = workshop.learned(workshop.others(task), 0, ACROSS_TASKS, rounds=(0, 1, 2))
        yield several, of_network(workshop, task, held, everyone)
    families = sorted({other.family for other in workshop.others(task)})
    for count in range(1, len(families)):
        name = f"trained on {count} of the other families"
        if name not in done:
            some = [other for other in workshop.others(task) if other.family in families[:count]]
            yield name, of_network(workshop, task, held, workshop.learned(some, 0, ACROSS_TASKS))
    teacher = workshop.cross_task(task, 0, "gradient")
    for name, (config, count) in STUDENTS.items():
        if name not in done:
            held_out = {record.text for record in held}
            records = workshop.data.unmarked(task, 0)
            texts = [record.text for record in records if record.text not in held_out]
            some = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[:count]]
            yield (
                name,
                of_network(
                    workshop, task, held, adapt(workshop.classifier(task, 0), teacher, some, removals=0, config=config)
                ),
            )


def of_network(workshop: Workshop, task: TaskPlan, held: Sequence[Record], network: ExpNet) -> dict[str, float]:
    return evaluated(workshop.classifier(task, 0), held, network, workshop.work / "features")


def evaluated(classifier: Classifier, held: Sequence[Record], network: ExpNet, cache: Path) -> dict[str, float]:
    """Return means over texts of what `evaluate` gives."""
    examples = extract(classifier, held, network.config.features, cache=cache)
    return {name: round(value, 4) for name, value in evaluate(network, annotated_texts(examples, held)).items()}


def rule(classifier: Classifier, held: Sequence[Record], name: str) -> dict[str, float]:
    """Return means over texts of AUROC and average precision of a method without options."""
    target = [classifier.target_index(record.label) for record in held]
    scores = word_scores(classifier, held, target, ScoringJob(find_method(name), {}))
    pairs = [
        (text_scores[words], np.array(record.word_marks(), bool)[words])
        for text_scores, record in zip(scores, held, strict=True)
        for words in [np.array(record.judged_words(), bool)]
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return {
            "auroc": round(float(np.nanmean([auroc(*pair) for pair in pairs])), 4),
            "average_precision": round(float(np.nanmean([average_precision(*pair) for pair in pairs])), 4),
        }


if __name__ == "__main__":
    main()
