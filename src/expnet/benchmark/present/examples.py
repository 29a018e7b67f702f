"""Texts with their marks and scores, to look at. They hold texts of the data: not for publication."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from expnet.benchmark.measure.scores import Scores
from expnet.benchmark.plan import Plan, SetPlan, TaskPlan
from expnet.benchmark.prepare.contestants import Contestant, contestants
from expnet.benchmark.prepare.data import Data, TestSet, draw
from expnet.benchmark.prepare.making import Workshop
from expnet.benchmark.rows import EXPNETS
from expnet.metrics import average_precision


def write_examples(plan: Plan, folder: Path, output: Path) -> Path:
    """Write some texts of each set, and those that the first ExpNet gets most wrong, as lines of JSON."""
    data = Data(folder, plan)
    workshop = Workshop(plan, data, output)
    path = output / f"{plan.name}-examples.jsonl"
    output.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for task in plan.tasks:
            for test in task.tests:
                for line in _of_set(plan, data, workshop, task, test):
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return path


def _of_set(plan: Plan, data: Data, workshop: Workshop, task: TaskPlan, test: SetPlan) -> Iterator[dict[str, Any]]:
    texts = data.test_set(task, test)
    shown = [who for who in contestants(plan, workshop, task) if who.round == 0 and not who.sample]
    shown = [who for who in shown if who.experiment != "control"]
    scores = {_called(who): workshop.scores(task, 0, texts, who.job()) for who in shown}
    learned = next((name for name, who in zip(scores, shown, strict=True) if who.experiment in EXPNETS), None)
    precision = {name: _precision(of_texts, texts) for name, of_texts in scores.items()}
    chosen = [(place, "example") for place in draw(texts.records, plan.examples, plan.seed)] if plan.examples else []
    if learned is not None:
        worst = np.argsort(precision[learned], kind="stable")[: plan.examples].tolist()
        chosen += [(place, "worst case") for place in worst]
    for place, why in chosen:
        yield _line(texts, place, why, scores, precision)


def _line(
    texts: TestSet, place: int, why: str, scores: Mapping[str, Scores], precision: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    record = texts.records[place]
    return {
        "set": texts.name,
        "why": why,
        "text": record.text.text,
        "pair": record.text.pair,
        "label": record.label,
        "words": [record.text.word(word) for word in record.text.words],
        "marked": [int(mark) for mark in record.word_marks()],
        "scores": {name: [round(x, 4) for x in of_texts[place].tolist()] for name, of_texts in scores.items()},
        "average_precision": {name: round(float(of_texts[place]), 4) for name, of_texts in precision.items()},
    }


def _precision(scores: Scores, texts: TestSet) -> np.ndarray:
    judged = [word_scores[words] for word_scores, words in zip(scores, texts.judged, strict=True)]
    return np.array([average_precision(s, m) for s, m in zip(judged, texts.marks(), strict=True)])


def _called(who: Contestant) -> str:
    if who.experiment == "few marks":
        return f"{who.label}, {who.condition['shots']} marks, from {who.condition['start']}"
    return f"{who.label}, {who.experiment}" if who.experiment in EXPNETS else who.label
