"""Rows for each kind of measurement of a plan."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from expnet.benchmark.measure import measures
from expnet.benchmark.measure.cost import cost
from expnet.benchmark.measure.measures import Limits, Values
from expnet.benchmark.measure.scores import Scores, ScoringJob, word_scores
from expnet.benchmark.plan import DOCUMENTS, Plan, SetPlan, TaskPlan
from expnet.benchmark.prepare.contestants import Contestant
from expnet.benchmark.prepare.data import Data, TestSet, draw
from expnet.benchmark.prepare.making import Workshop, fingerprint
from expnet.benchmark.rows import Kind, Row
from expnet.methods.layers import layer_stack
from expnet.methods.replacement import Replacement
from expnet.metrics.sanity import randomised

_COST_TEXTS = 8


class Bench:
    """Runs the measurements of a plan; every method returns the rows of one cell."""

    def __init__(self, plan: Plan, data: Data, workshop: Workshop) -> None:
        self.plan, self.data, self.workshop = plan, data, workshop
        self._limits: dict[tuple[str, str, tuple[int, ...]], dict[int, Limits]] = {}

    def texts(self, task: TaskPlan, test: SetPlan, most: int = 0) -> TestSet:
        """Return a test set, or a stratified sample of it."""
        whole = self.data.test_set(task, test)
        return whole.take(draw(whole.records, most, self.plan.seed))

    def floors(self, task: TaskPlan, test: SetPlan) -> list[Row]:
        """Evaluate marking every word and, where each annotator's marks are known, people against each other."""
        texts, share, rows = self.texts(task, test), self.data.share(task), []
        for marks in test.marks:
            if marks == "each annotator":
                everything = [np.zeros(len(word_marks)) for word_marks in texts.marks()]
                floor = measures.against_each(everything, texts.annotators(), 1.0)
            elif marks == "shares":
                shares = texts.shares()
                floor = measures.against_shares([np.zeros(len(of_text)) for of_text in shares], shares)
            else:
                floor = measures.mark_all(texts.marks(marks))
            rows.append(self._reference("floor", "mark_all", task, texts, floor, marks))
            people = texts.annotators()
            soft = marks == "shares"
            ceiling = measures.people_against_shares(people) if soft else measures.people(people, share)
            if ceiling:  # nothing below three annotators
                rows.append(self._reference("human", "human", task, texts, ceiling, marks))
        return rows

    def plausibility(self, task: TaskPlan, test: SetPlan, who: Contestant) -> list[Row]:
        """Evaluate a method's scores against human marks."""
        texts = self.texts(task, test, self.plan.methods.sample_texts if who.sample else 0)
        job, share = who.job(), self.data.share(task)
        scores = self.workshop.scores(task, who.round, texts, job)
        judged = [word_scores[words] for word_scores, words in zip(scores, texts.judged, strict=True)]
        threshold = None if job.network is None else job.network.config.threshold
        rows = []
        for marks in test.marks:
            if marks == "each annotator":
                values = measures.against_each(judged, texts.annotators(), share, threshold)
            elif marks == "shares":
                values = measures.against_shares(judged, texts.shares())
            else:
                values = measures.plausibility(judged, texts.marks(marks), share, threshold)
            rows.append(self._row("plausibility", task, texts, who, job, values, marks=marks))
        return rows

    def faithfulness(
        self, task: TaskPlan, test: SetPlan, group: Sequence[Contestant], replacement: Replacement
    ) -> list[Row]:
        """Measure the probability while words are replaced in the order of each method; all methods together."""
        plan = self.plan.faithfulness
        first = replacement == plan.replacements[0]
        sample = all(who.sample for who in group)
        texts = self.texts(task, test, self.plan.methods.sample_texts if sample else plan.texts)
        jobs = [who.job() for who in group]
        scores = {
            str(place): self.workshop.scores(task, who.round, texts, job)
            for place, (who, job) in enumerate(zip(group, jobs, strict=True))
        }
        explained = self.workshop.explained(task, 0, texts)
        inputs = [record.text for record in texts.records]
        classifier = self.workshop.classifier(task, 0)
        measured = measures.faithfulness(
            classifier, inputs, explained, scores, replacement, soft=plan.soft and first, seed=self.plan.seed
        )
        normalised = {name: dict[str, list[float]]() for name in scores}
        if plan.most_words and first:
            limits = self._limits.setdefault((task.name, texts.name, texts.numbers), {})
            normalised = measures.normalised(
                classifier, inputs, explained, scores, replacement, plan.most_words, limits
            )
        rows = []
        for name, who, job in zip(scores, group, jobs, strict=True):
            (values, curves), between = measured[name], normalised[name]
            values = values | between
            rows.append(
                self._row("faithfulness", task, texts, who, job, values, curves=curves, replacement=replacement)
            )
        return rows

    def stability(self, task: TaskPlan, test: SetPlan, who: Contestant, other: Contestant | None) -> list[Row]:
        """Compare scores with those of the same text again, alone, with another seed, of another classifier.

        `other` is the same kind of ExpNet of the next round, if there is one.
        """
        texts, job = self.texts(task, test, self.plan.stability_texts), who.job()
        classifier, explained = self.workshop.classifier(task, 0), self.workshop.explained(task, 0, texts)
        records = texts.records
        scores = self.workshop.scores(task, who.round, texts, job)
        against = {"the same again": word_scores(classifier, records, explained, job)}
        against["alone, not in a batch"] = [
            word_scores(classifier, [record], [target], job)[0]
            for record, target in zip(records, explained, strict=True)
        ]
        if not job.method.deterministic:
            again = ScoringJob(job.method, job.options, job.seed + 1, job.network)
            against["another seed"] = word_scores(classifier, records, explained, again)
        if other is not None:
            against["another seed"] = word_scores(classifier, records, explained, other.job())
        if len(self.workshop.versions(task)) > 1:
            against["another classifier"] = word_scores(self.workshop.classifier(task, 1), records, explained, job)
        return self._compared("stability", task, texts, who, job, scores, against)

    def sanity(self, task: TaskPlan, test: SetPlan, who: Contestant) -> list[Row]:
        """Compare scores with those of a randomised model, and of another class."""
        texts, job = self.texts(task, test, self.plan.stability_texts), who.job()
        classifier, explained = self.workshop.classifier(task, 0), self.workshop.explained(task, 0, texts)
        scores = self.workshop.scores(task, who.round, texts, job)
        depth, classes = len(layer_stack(classifier.model)), len(classifier.labels)
        against = {}
        for layers in (depth // 2, depth):
            ruined = randomised(classifier, layers=layers, seed=self.plan.seed)
            against[f"head and {layers} of {depth} layers random"] = word_scores(ruined, texts.records, explained, job)
        if classes > 1:
            others = [(target + 1) % classes for target in explained]
            against["another class"] = word_scores(classifier, texts.records, others, job)
        return self._compared("sanity", task, texts, who, job, scores, against)

    def cost(self, task: TaskPlan, test: SetPlan, who: Contestant) -> list[Row]:
        """Measure time and memory on one batch."""
        texts, job = self.texts(task, test, _COST_TEXTS), who.job()
        values = cost(self.workshop.classifier(task, 0), [record.text for record in texts.records], job)
        row = self._row("cost", task, texts, who, job, values, forward=job.method.forward, backward=job.method.backward)
        return [replace(row, texts=tuple(range(len(values["ratio"]))))]

    def _reference(
        self, experiment: str, method: str, task: TaskPlan, texts: TestSet, values: Values, marks: str
    ) -> Row:
        return Row(
            kind="plausibility",
            experiment=experiment,
            family=task.family,
            set=texts.name,
            classifier=task.name,
            method=method,
            condition={"marks": marks},
            texts=texts.numbers,
            values=values,
            provenance={"data": self.data.digest(texts.name)},
        )

    def _compared(
        self,
        kind: Kind,
        task: TaskPlan,
        texts: TestSet,
        who: Contestant,
        job: ScoringJob,
        scores: Scores,
        against: Mapping[str, Scores],
    ) -> list[Row]:
        rows, share = [], self.data.share(task)
        for name, other in against.items():
            values = measures.agreement(scores, other, share)
            rows.append(self._row(kind, task, texts, who, job, values, against=name))
        return rows

    def _row(
        self,
        kind: Kind,
        task: TaskPlan,
        texts: TestSet,
        who: Contestant,
        job: ScoringJob,
        values: Values,
        *,
        curves: Mapping[str, Sequence[float]] | None = None,
        **condition: str,
    ) -> Row:
        options = {name: value for name, value in job.options.items() if name != DOCUMENTS}
        provenance: dict[str, Any] = {"data": self.data.digest(texts.name), "options": options, "seed": job.seed}
        provenance["classifier"] = self.workshop.fingerprint(self.workshop.classifier(task, who.round))[:16]
        if job.network is not None:
            provenance["explainer"] = fingerprint(job.network)[:16]
            provenance["learned from"] = job.network.config.provenance.get("sources")
        return Row(
            kind=kind,
            experiment=who.experiment,
            family=task.family,
            set=texts.name,
            classifier=task.name,
            method=who.label,
            condition={**who.condition, **condition},
            sample=who.sample,
            texts=texts.numbers,
            values=values,
            curves=curves or {},
            provenance=provenance,
        )
