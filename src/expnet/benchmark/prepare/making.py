"""What a plan needs before it can measure, each made once and cached: classifiers, ExpNets, scores."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from expnet._version import __version__
from expnet.benchmark.measure.scores import FeatureCache, Scores, ScoringJob, keep, kept, targets, word_scores
from expnet.benchmark.plan import DOCUMENTS, HELD_OUT, WEIGHTS, Experiment, Measured, Plan, TaskPlan
from expnet.benchmark.prepare.bases.made import BASES, lower_half, made
from expnet.benchmark.prepare.data import Data, TestSet, draw
from expnet.demo import base_model
from expnet.explainer import load_classifier
from expnet.files.atomic import atomic_folder, write_atomic
from expnet.finetuning import finetune
from expnet.methods.registry import find_method
from expnet.model.classifier import Classifier
from expnet.network.channels import Tier
from expnet.network.expnet import ExpNet
from expnet.rationales import Record
from expnet.training.adapt import adapt
from expnet.training.config import FitConfig, for_warm_start, with_tier
from expnet.training.head_weights import learn_head_weights
from expnet.training.mixture import Source, fit_mixture

_DOCUMENTS = 5000  # enough to count words in


class Workshop:
    """Makes and caches what a plan needs.

    A round is one of the plan's seeds: it has its own ExpNets, and its own classifier of each task that has several.
    """

    def __init__(self, plan: Plan, data: Data, work: Path) -> None:
        self.plan, self.data, self.work = plan, data, work
        self._classifiers: dict[tuple[str, str | int], Classifier] = {}
        self._explained: dict[tuple[str, str, str | int], dict[int, int]] = {}
        self._prints: dict[int, str] = {}
        self._features = FeatureCache()

    def version(self, task: TaskPlan, round: int) -> str | int:
        """Return which of a task's classifiers a round uses: its seed, or what was loaded."""
        versions = self.versions(task)
        return versions[round % len(versions)]

    def versions(self, task: TaskPlan) -> tuple[str | int, ...]:
        """Return a task's classifiers; see `ClassifierPlan`."""
        return self._owner(task).classifier.versions

    def classifier(self, task: TaskPlan, round: int) -> Classifier:
        """Load the classifier of a task, after fine-tuning it if it is not there."""
        task = self._owner(task)
        key = task.name, self.version(task, round)
        if key not in self._classifiers:
            model = key[1] if isinstance(key[1], str) else self._fine_tuned(task, key[1])
            self._classifiers[key] = load_classifier(model)
        return self._classifiers[key]

    def make_bases(self) -> None:
        """Make the bases that the plan names, so that a package that cannot be downloaded stops a run at its start."""
        for base in {task.classifier.base for task in self.plan.tasks} & BASES.keys():
            self._base(base)

    def cross_task(self, task: TaskPlan, round: int, tier: Tier) -> ExpNet:
        """Return the ExpNet that was trained on the tasks of every other family."""
        return self.across("cross-task", task, round, tier)

    def across(self, experiment: Experiment, task: TaskPlan, round: int, tier: Tier) -> ExpNet:
        """Return the ExpNet that was trained on the tasks that `HELD_OUT` allows in this experiment."""
        return self.learned(self.others(task, experiment), round, with_tier(self.plan.cross, tier))

    def universal(self, tier: Tier) -> ExpNet:
        """Return the ExpNet that was trained on all tasks, for tasks that are not in the plan."""
        return self.learned([task for task in self.plan.tasks if task.train], 0, with_tier(self.plan.cross, tier))

    def others(self, task: TaskPlan, experiment: Experiment = "cross-task") -> list[TaskPlan]:
        """Return the tasks with marks to train on that differ from this one as the experiment asks."""

        def differs(other: TaskPlan, what: str) -> bool:
            if what == "base":
                return self._owner(other).classifier.base != self._owner(task).classifier.base
            return bool(getattr(other, what) != getattr(task, what))

        marked = [other for other in self.plan.tasks if other.train]
        return [other for other in marked if all(differs(other, what) for what in HELD_OUT[experiment])]

    def learned(
        self, tasks: Sequence[TaskPlan], round: int, config: FitConfig, *, rounds: Sequence[int] = ()
    ) -> ExpNet:
        """Return the ExpNet trained on these tasks, with their classifiers of `rounds`, by default of `round`."""
        sources = {
            (task.name, self.version(task, turn)): self._source(task, turn)
            for task in tasks
            for turn in rounds or (round,)
        }
        return self._trained(list(sources.values()), self._seeded(config, round))

    def adapted(self, task: TaskPlan, round: int, tier: Tier) -> ExpNet:
        """Return the ExpNet distilled, on unmarked texts of the task, from one of other families with gradients."""
        teacher, config = self.cross_task(task, round, "gradient"), with_tier(self.plan.student, tier)
        texts = self.data.unmarked(self._owner(task), self.plan.unmarked)
        classifier = self.classifier(task, round)
        config = self._seeded(config, round)
        asked = [asdict(config), __version__, fingerprint(teacher), self.fingerprint(classifier)]
        inputs = [record.text for record in texts]
        return self._network(
            _digest(asked, texts), lambda: adapt(classifier, teacher, inputs, removals=0, config=config)
        )

    def marked(self, task: TaskPlan, round: int, tier: Tier, shots: int, *, warm: bool) -> ExpNet:
        """Return an ExpNet trained on `shots` marked texts of the task (0: all), drawn anew for each round.

        With `warm` it starts from the one that was adapted without marks, otherwise from scratch.
        """
        source, plan = self._source(task, round), self.plan
        config = plan.own
        if shots:
            drawn = [source.train[i] for i in draw(source.train, shots, plan.seeds[round])]
            source = Source(classifier=source.classifier, train=drawn, name=f"{shots} of {task.train}")
            config = plan.few
        start = self.adapted(task, round, tier) if warm else None
        config = for_warm_start(config, len(source.train)) if warm else config
        return self._trained([source], with_tier(self._seeded(config, round), tier), start)

    def explained(self, task: TaskPlan, round: int, texts: TestSet) -> list[int]:
        """Return the class to explain for each text."""
        key = task.name, texts.name, self.version(task, round)
        if key not in self._explained:
            whole = self.data.test_set(task, next(test for test in task.tests if test.file == texts.name))
            classes = targets(self.classifier(task, round), whole.records, self._owner(task).classifier.names)
            self._explained[key] = dict(zip(whole.numbers, classes, strict=True))
        return [self._explained[key][number] for number in texts.numbers]

    def job(self, task: TaskPlan, round: int, method: Measured) -> ScoringJob:
        """Return a method as the plan wants it; one that counts words or learns from texts gets training texts."""
        attribution, options = find_method(method.name), dict(method.options)
        if DOCUMENTS in attribution.options:
            files = self._owner(task).classifier.train or task.train or task.tests[0].file
            records = self.data.records(files)
            options[DOCUMENTS] = [records[i].text.text for i in draw(records, _DOCUMENTS, self.plan.seed)]
        if WEIGHTS in attribution.options:
            options.setdefault(WEIGHTS, self.head_weights(task, round))
        return ScoringJob(attribution, options, self.plan.seed)

    def head_weights(self, task: TaskPlan, round: int) -> list[float]:
        """Return the weights of a classifier's heads, learned on unmarked training texts and kept."""
        classifier, texts = self.classifier(task, round), self.data.unmarked(self._owner(task), self.plan.unmarked)
        asked = [self.fingerprint(classifier), self.plan.seed, __version__]
        path = self.work / "head_weights" / f"{_digest(asked, texts)[:16]}.json"
        if not path.is_file():
            learned = learn_head_weights(classifier, [record.text for record in texts], seed=self.plan.seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, json.dumps(learned).encode())
        weights: list[float] = json.loads(path.read_text(encoding="utf-8"))
        return weights

    def scores(self, task: TaskPlan, round: int, texts: TestSet, job: ScoringJob) -> Scores:
        """Return the scores of each text's words."""
        classifier, target = self.classifier(task, round), self.explained(task, round, texts)
        options = {name: value for name, value in job.options.items() if name != DOCUMENTS}
        network = fingerprint(job.network)
        asked = [self.fingerprint(classifier), target, job.method.name, options, job.seed, network, __version__]
        path = self.work / "scores" / f"{_digest(asked, texts.records)}.safetensors"
        scores = kept(path)
        if scores is None:
            scores = word_scores(classifier, texts.records, target, job, self._features)
            keep(path, scores)
        return scores

    def _owner(self, task: TaskPlan) -> TaskPlan:
        """Return the task whose classifier this one shares, itself if it has one."""
        return next(other for other in self.plan.tasks if other.name == (task.classifier.of or task.name))

    def _fine_tuned(self, task: TaskPlan, seed: int) -> Path:
        plan = task.classifier
        train, dev = self.data.to_train_classifier(task)
        settings = replace(plan.settings, seed=seed)
        name = _digest([asdict(settings), plan.base, dict(plan.names)], [*train, *dev])[:12]
        folder = self.work / "classifiers" / f"{task.name.replace(' ', '-').replace('/', '-')}-{seed}-{name}"
        if not (folder / "finetune.json").is_file():
            resume = any(folder.glob("checkpoints/checkpoint-*"))
            names = dict(plan.names)
            finetune(self._base(plan.base), train, dev, folder, settings, label_names=names, resume=resume)
        return folder

    def _base(self, name: str) -> str | Path:
        if name in BASES:
            return made(name, self.work.resolve() / "bases")  # an adapter remembers where its base is
        if name == "demo/lower-half":
            return lower_half(self.work.resolve() / "bases")
        return base_model() if name == "demo/base" else name

    def fingerprint(self, classifier: Classifier) -> str:
        """Return a hash of a classifier's weights, computed once."""
        if id(classifier) not in self._prints:
            self._prints[id(classifier)] = classifier.fingerprint()
        return self._prints[id(classifier)]

    def _source(self, task: TaskPlan, round: int) -> Source:
        train, dev = self.data.to_train_explainer(task)
        classifier = self.classifier(task, round)
        return Source(classifier=classifier, train=train, dev=dev, name=task.train, family=task.family)

    def _seeded(self, config: FitConfig, round: int) -> FitConfig:
        return replace(config, seed=self.plan.seeds[round])

    def _trained(self, sources: Sequence[Source], config: FitConfig, start: ExpNet | None = None) -> ExpNet:
        asked: list[Any] = [asdict(config), __version__, "" if start is None else fingerprint(start)]
        for source in sources:
            parts = (_digest([], source.train), _digest([], source.dev or []))
            asked.append([self.fingerprint(source.classifier), source.family, *parts])
        cache = self.work / "features"
        return self._network(
            _digest(asked, []), lambda: fit_mixture(sources, config=config, warm_start=start, cache=cache)
        )

    def _network(self, name: str, make: Callable[[], ExpNet]) -> ExpNet:
        folder = self.work / "networks" / name[:16]
        if (folder / "config.json").is_file():
            return ExpNet.from_pretrained(folder)
        network = make()
        with atomic_folder(folder) as unfinished:  # another process may be making the same
            network.save_pretrained(unfinished)
        return network


def fingerprint(network: ExpNet | None) -> str:
    """Return a hash of a network's configuration and weights, "" without one."""
    if network is None:
        return ""
    weights = [[name, tensor.tolist()] for name, tensor in sorted(network.state_dict().items())]
    settings = asdict(network.config)
    return _digest([weights, {name: settings[name] for name in ("features", "context", "hidden", "threshold")}], [])


def _digest(asked: Any, records: Sequence[Record]) -> str:
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode())
    for record in records:
        digest.update(repr((record.text, record.label, record.rationale)).encode())
    return digest.hexdigest()
