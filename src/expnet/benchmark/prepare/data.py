"""The texts of a plan: read, sampled, and split without overlap."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from expnet.benchmark.plan import ClassifierPlan, Plan, SetPlan, TaskPlan
from expnet.errors import BenchmarkError
from expnet.rationales import Record, read_records

Marks = list[Bool[ndarray, " _"]]  # words, which are as many as each text has


@dataclass(frozen=True, slots=True)
class TestSet:
    """Annotated texts to test on, each with a marked word at least.

    `numbers` are their places in the file, `judged` the words that people could have marked; `majority` are the same
    texts with the marks of most annotators, empty where the plan does not ask for them.
    """

    name: str
    records: tuple[Record, ...]
    numbers: tuple[int, ...]
    judged: tuple[Bool[ndarray, " words"], ...]
    majority: tuple[Record, ...] = ()

    def marks(self, against: str = "rationale") -> Marks:
        """Return which of the judged words of each text are marked, by "rationale" or by "majority"."""
        records = self.majority if against == "majority" else self.records
        return [_marks(record)[judged] for record, judged in zip(records, self.judged, strict=True)]

    def annotators(self) -> list[Marks]:
        """Return for each text the marks of each annotator who marked any of its judged words."""
        marks_of_texts = [
            [
                np.array(record.word_marks(annotation.spans), bool)[judged]
                for annotation in record.annotations
                if annotation.spans
            ]
            for record, judged in zip(self.records, self.judged, strict=True)
        ]
        return [[marks for marks in of_text if marks.any()] for of_text in marks_of_texts]

    def shares(self) -> list[Float[ndarray, " _"]]:
        """Return the share of these annotators who marked each of the judged words of each text."""
        return [
            np.mean(marks, axis=0) if marks else np.zeros(judged.sum())
            for marks, judged in zip(self.annotators(), self.judged, strict=True)
        ]

    def take(self, places: Sequence[int]) -> "TestSet":
        """Return some of the texts."""
        return replace(
            self,
            records=tuple(self.records[i] for i in places),
            numbers=tuple(self.numbers[i] for i in places),
            judged=tuple(self.judged[i] for i in places),
            majority=tuple(self.majority[i] for i in places) if self.majority else (),
        )


class Data:
    """The files of a plan below a folder. What is tested is never trained on.

    No classifier sees a text that its task tests on, no ExpNet a text that any task does.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan
        self._files: dict[tuple[str, str], list[Record]] = {}
        # Neither plans nor files change while they run.
        self.digest = lru_cache(maxsize=None)(self._digest)
        self.share = lru_cache(maxsize=None)(self._share)
        self.test_set = lru_cache(maxsize=None)(self._test_set)
        self.to_train_explainer = lru_cache(maxsize=None)(self._to_train_explainer)

    def records(self, files: str, rationale: str = "rationale", overlap: Sequence[str] = ()) -> list[Record]:
        """Read `set/split`, or several joined by `+`, without texts whose `overlap` names one of these sets."""
        records: list[Record] = []
        for file in files.split("+"):
            if (file, rationale) not in self._files:
                self._files[file, rationale] = read_records(self.path(file), rationale=rationale)
            kept = self._files[file, rationale]
            for name in overlap:
                ids = {record.id for record in read_records(self.path(file), drop_overlap=name)}
                kept = [record for record in kept if record.id in ids]
            records += kept
        return records

    def path(self, file: str) -> Path:
        """Return the path of `set/split`.

        Raises:
            BenchmarkError: If there is no such file.
        """
        for suffix in (".jsonl.gz", ".jsonl"):
            if (path := self.folder / f"{file}{suffix}").is_file():
                return path
        raise BenchmarkError(f"The plan {self.plan.name!r} names {file!r}, but there is no {path} or {path}.gz.")

    def _digest(self, files: str) -> str:
        """Return a hash of what the files hold."""
        digest = hashlib.sha256()
        for file in files.split("+"):
            digest.update(self.path(file).read_bytes())
        return digest.hexdigest()[:16]

    @cached_property
    def tested(self) -> frozenset[str]:
        """Every text that the plan tests on, reduced to letters and digits."""
        return self._tested(self.plan.tasks)

    def _tested(self, tasks: Sequence[TaskPlan]) -> frozenset[str]:
        return frozenset(_reduced(r) for task in tasks for test in task.tests for r in self.records(test.file))

    def to_train_classifier(self, task: TaskPlan) -> tuple[list[Record], list[Record]]:
        """Return labelled texts to fine-tune on and to choose the epoch by; without a `dev`, a tenth is held out."""
        plan = task.classifier
        tested = self._tested([task])
        train = self.records(plan.train, overlap=plan.drop_overlap)
        train = [record for record in train if _wanted(record, plan) and _reduced(record) not in tested]
        train = [train[i] for i in draw(train, plan.texts, self.plan.seed)]
        if plan.dev:
            return train, [record for record in self.records(plan.dev) if _wanted(record, plan)]
        held = set(draw(train, len(train) // 10, self.plan.seed))
        return [r for i, r in enumerate(train) if i not in held], [train[i] for i in sorted(held)]

    def _to_train_explainer(self, task: TaskPlan) -> tuple[list[Record], list[Record] | None]:
        """Return marked texts to learn from and to choose the epoch by (None: `fit` holds some out)."""
        drawn: list[list[Record]] = []
        for files, most in ((task.train, task.train_texts), (task.dev, task.dev_texts)):
            records = self.records(files) if files else []
            marked = [r for r in records if _wanted(r, task) and _reduced(r) not in self.tested and _marks(r).any()]
            drawn.append([marked[i] for i in draw(marked, most, self.plan.seed)])
        return drawn[0], drawn[1] or None

    def unmarked(self, task: TaskPlan, count: int) -> list[Record]:
        """Return `count` of the task's training texts, marked or not, for training without marks.

        A task without marked texts to train on has those of its classifier.
        """
        files = task.train or task.classifier.train
        unmarked = [r for r in self.records(files) if _wanted(r, task) and _reduced(r) not in self.tested]
        return [unmarked[i] for i in draw(unmarked, count, self.plan.seed)]

    def _share(self, task: TaskPlan) -> float:
        """Return the share of words that F1 marks: the marked share of the development texts, never of a test.

        A task without marked texts of its own gets the mean of the others.
        """
        train, dev = self.to_train_explainer(task)
        if not (dev or train):
            return float(np.mean([self.share(other) for other in self.plan.tasks if other.train]))
        return float(np.mean(np.concatenate([_marks(r)[_judged(r)] for r in dev or train])))

    def _test_set(self, task: TaskPlan, test: SetPlan) -> TestSet:
        """Return the texts of a set to test on."""
        records = self.records(test.file)
        chosen = [i for i, r in enumerate(records) if _wanted(r, task) and r.rationale and _marks(r)[_judged(r)].any()]
        chosen = [chosen[i] for i in draw([records[i] for i in chosen], test.texts, self.plan.seed)]
        majority: tuple[Record, ...] = ()
        if "majority" in test.marks:
            most = self.records(test.file, rationale="rationale_majority")
            majority = tuple(most[i] for i in chosen)
        picked = tuple(records[i] for i in chosen)
        return TestSet(test.file, picked, tuple(chosen), tuple(_judged(r) for r in picked), majority)


def draw(records: Sequence[Record], count: int, seed: int) -> list[int]:
    """Return the places of `count` records, each label in its share, in their order; all of them if count is 0.

    A smaller draw of the same seed is part of a larger one, up to rounding.
    """
    if not 0 < count < len(records):
        return list(range(len(records)))
    order = np.random.default_rng(seed).permutation(len(records))
    rank: dict[int, float] = {}
    labels: dict[str | None, list[int]] = {}
    for place in order.tolist():
        labels.setdefault(records[place].label, []).append(place)
    for places in labels.values():
        for position, place in enumerate(places):
            rank[place] = (position + 0.5) / len(places)  # the share of its label that stands before it
    return sorted(sorted(rank, key=lambda place: (rank[place], place))[:count])


def _wanted(record: Record, plan: TaskPlan | ClassifierPlan) -> bool:
    return not plan.labels or record.label in plan.labels


def _reduced(record: Record) -> str:
    text = f"{record.text.text} {record.text.pair or ''}".casefold()
    return "".join(character for character in text if character.isalnum())


def _marks(record: Record) -> Bool[ndarray, " words"]:
    return np.array(record.word_marks() if record.rationale is not None else [False] * len(record.text.words), bool)


def _judged(record: Record) -> Bool[ndarray, " words"]:
    return np.array(record.judged_words(), bool)
