"""Plausible or faithful? ExpNets trained on human marks, leave-one-out scores, and mixtures, on development texts.

    python scripts/measure_front.py ../shared/data runs
    python scripts/tables.py

Classifiers and networks are those of the benchmark's run (`benchmarks/ring.toml`); the teacher was trained on other
families of tasks. No test set is read. Resumes where it stopped; one seed.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from on_ring import ROOT, opened

from expnet._version import __version__
from expnet.benchmark.measure.measures import Values, faithfulness, plausibility
from expnet.benchmark.measure.scores import ScoringJob, word_scores
from expnet.benchmark.plan import TaskPlan
from expnet.benchmark.prepare.data import draw
from expnet.benchmark.prepare.making import Workshop
from expnet.methods.learned import method_of
from expnet.methods.registry import find_method
from expnet.metrics.statistics import estimate
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.rationales import Record
from expnet.training.adapt import adapt
from expnet.training.config import STUDENT, with_tier

OUTPUT = ROOT / "docs" / "front.json"
TASKS = ("sentiment", "acceptability", "hate speech")
RULES = ("random", "raw_attention", "saliency", "generic_relevance", "leave_one_out")
METRICS = ("average_precision", "comprehensiveness", "sufficiency")
TOWARD = "leave_one_out"
JUDGED, UNMARKED = 80, 300


def main() -> None:
    workshop, _ = opened(argparse.ArgumentParser(description=__doc__.split("\n")[0]))
    plan, data = workshop.plan, workshop.data
    report = json.loads(OUTPUT.read_text()) if OUTPUT.is_file() else {}
    if report.get("expnet") != __version__:
        report = {"expnet": __version__, "seed": 0, "toward": TOWARD, "unmarked": UNMARKED, "tasks": {}}
    for task in plan.tasks:
        if task.name in TASKS and task.name not in report["tasks"]:
            train, dev = data.to_train_explainer(task)
            held = [(dev or train)[i] for i in draw(dev or train, JUDGED, 0)]
            report["tasks"][task.name] = measured(workshop, task, held)
            OUTPUT.write_text(json.dumps(report, indent=1) + "\n")


def measured(workshop: Workshop, task: TaskPlan, held: Sequence[Record]) -> dict[str, dict[str, list[float]]]:
    """Return for each explainer mean, interval and number of texts of each figure."""
    classifier, teacher = workshop.classifier(task, 0), workshop.cross_task(task, 0, "gradient")
    judged = {record.text for record in held}
    texts = [record.text for record in workshop.data.unmarked(task, 0) if record.text not in judged]
    texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[:UNMARKED]]
    gradient = with_tier(STUDENT, "gradient")
    makers = rules(RULES)
    makers["human marks of other tasks"] = lambda: learned(teacher)
    makers["distilled from that"] = lambda: learned(adapt(classifier, teacher, texts, removals=0, config=gradient))
    for share in (1 / 3, 2 / 3):
        makers[f"{share:.0%} leave-one-out"] = lambda share=share: learned(
            adapt(classifier, teacher, texts, target_method=TOWARD, method_weight=share, config=gradient)
        )
    makers["leave-one-out alone"] = lambda: learned(
        adapt(classifier, None, texts, target_method=TOWARD, config=gradient)
    )
    makers["leave-one-out alone, attention"] = lambda: learned(adapt(classifier, None, texts, target_method=TOWARD))
    return compared(classifier, held, makers, task.name)


def compared(
    classifier: Classifier, held: Sequence[Record], makers: Mapping[str, Callable[[], ScoringJob]], title: str
) -> dict[str, dict[str, list[float]]]:
    """Return for each explainer mean, interval and number of texts of each figure."""
    by_name = values(classifier, held, makers, title)
    return {name: {metric: rounded(of_texts[metric]) for metric in METRICS} for name, of_texts in by_name.items()}


def values(
    classifier: Classifier, held: Sequence[Record], makers: Mapping[str, Callable[[], ScoringJob]], title: str
) -> dict[str, Values]:
    """Return for each explainer the figures of each text."""
    target = [classifier.target_index(str(record.label)) for record in held]
    scores = {}
    for name, make in makers.items():
        scores[name] = word_scores(classifier, held, target, make())
        print(title, name, flush=True)
    words = [np.array(record.judged_words(), bool) for record in held]
    marks = [np.array(record.word_marks(), bool)[w] for record, w in zip(held, words, strict=True)]
    faithful = faithfulness(classifier, [record.text for record in held], target, scores, "mask")
    by_name = {}
    for name, text_scores in scores.items():
        plausible = plausibility([s[w] for s, w in zip(text_scores, words, strict=True)], marks, 0.3)
        by_name[name] = plausible | faithful[name][0]
    return by_name


def rules(names: Sequence[str]) -> dict[str, Callable[[], ScoringJob]]:
    """Return what makes a job of each method."""
    return {name: lambda name=name: ScoringJob(find_method(name), {}) for name in names}


def learned(network: ExpNet) -> ScoringJob:
    """Return the job of a network."""
    return ScoringJob(method_of(network), {}, 0, network)


def rounded(values: Sequence[float]) -> list[float]:
    whole = estimate(np.array(values))
    return [*(round(x, 4) for x in (whole.mean, whole.low, whole.high)), whole.n]


if __name__ == "__main__":
    main()
