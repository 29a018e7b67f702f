"""What a benchmark measures, read from TOML."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

from expnet.errors import BenchmarkError, did_you_mean
from expnet.finetuning import FinetuneConfig
from expnet.methods.method import describe, fits
from expnet.methods.registry import find_method
from expnet.methods.replacement import Replacement
from expnet.network.channels import Tier
from expnet.network.features import FeatureConfig
from expnet.network.inputs import kind_of
from expnet.training.config import ACROSS_TASKS, FEW_MARKS, STUDENT, FitConfig

P = TypeVar("P")
DOCUMENTS = "documents"  # an option that the benchmark fills with the training texts
WEIGHTS = "weights"  # one that it learns from them
_FILLED: Mapping[str, Any] = {DOCUMENTS: [""], WEIGHTS: [0.0]}
Experiment = Literal[
    "cross-task", "cross-base", "cross-both", "cross-language", "shipped", "adapted", "few marks", "in-domain"
]
# In what a task must differ for an ExpNet to learn from it that is tested on another.
HELD_OUT: Mapping[Experiment, tuple[str, ...]] = {
    "cross-task": ("family",),
    "cross-base": ("base",),
    "cross-both": ("family", "base"),
    "cross-language": ("language",),
}
Against = Literal["rationale", "majority", "each annotator", "shares"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierPlan:
    """The classifiers of a task: loaded, or fine-tuned once per seed and kept in the work folder.

    Attributes:
        load: Demo, folder or hub id; the first classifier of the task.
        of: Name of another task whose classifier this one shares.
        base: Pretrained model to fine-tune: folder, hub id, "demo/base", its three lower layers "demo/lower-half", or
            one that is made from packages at the start of a run: "l3", "e5" or "mpnet".
        train: Labelled texts, `set/split` below the data folder; `+` joins several.
        dev: Labelled texts that choose the epoch; "" holds a tenth of `train` out.
        texts: Most texts to train on, a stratified draw; 0 takes all.
        labels: Classes it tells apart; texts of others are left out. () keeps all.
        names: Names of the label values.
        drop_overlap: Leave out texts whose `overlap` names one of these sets.
        seeds: One more is fine-tuned for each. Without `load` the default is (0,).
        settings: Of `FinetuneConfig`.
    """

    load: str = ""
    of: str = ""
    base: str = "demo/base"
    train: str = ""
    dev: str = ""
    texts: int = 0
    labels: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    drop_overlap: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    settings: FinetuneConfig = field(default_factory=FinetuneConfig)

    @property
    def versions(self) -> tuple[str | int, ...]:
        """What is loaded, and the seeds of what is fine-tuned: the task's classifiers in order."""
        return (*([self.load] if self.load else []), *self.seeds) or (0,)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPlan:
    """Texts to test on.

    `marks` says against whom: "rationale", "majority", "each annotator", or "shares", of the annotators who marked a
    word.
    """

    file: str
    marks: tuple[Against, ...] = ("rationale",)
    texts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # by identity: it holds tables, which have no hash
class TaskPlan:
    """A task: its classifier, its marked texts, its tests.

    Attributes:
        name: Unique in the plan.
        family: Tasks of one family never count as "other tasks" of each other.
        language: Of the texts.
        classifier: What is explained.
        train: Marked texts an ExpNet may learn from; "" if the task is only tested.
        dev: Marked texts that choose epochs and thresholds, and the share of words that F1 marks.
        train_texts: Most training texts, a stratified draw; 0 takes all.
        dev_texts: Likewise for `dev`.
        labels: Explain and learn from texts of these labels only; () uses all.
        tests: Sets to test on.
    """

    name: str
    family: str
    language: str = "en"
    classifier: ClassifierPlan
    train: str = ""
    dev: str = ""
    train_texts: int = 0
    dev_texts: int = 0
    labels: tuple[str, ...] = ()
    tests: tuple[SetPlan, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodsPlan:
    """Methods measured on whole sets, and those measured on a stratified sample because they are expensive.

    A name may carry a variant after a colon, "raw_attention:columns"; `options` holds the options of each name.
    """

    whole: tuple[str, ...] = ()
    sample: tuple[str, ...] = ()
    sample_texts: int = 50
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def measured(self) -> "list[Measured]":
        """Return all of them in order."""
        return [
            Measured(label, label.split(":")[0], dict(self.options.get(label, {})), label not in self.whole)
            for label in (*self.whole, *self.sample)
        ]


@dataclass(frozen=True, slots=True)
class Measured:
    """A method as the plan wants it: what it is called there, its name, its options, whether on a sample only."""

    label: str
    name: str
    options: dict[str, Any]
    sample: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FaithfulnessPlan:
    """On how many texts of each set, with which replacements; `soft` adds the soft versions to the first of them.

    `most_words` adds to the first of them what is normalised by the limits of each text, where it has no more words;
    see `expnet.metrics.limits`. A search of the limits runs the model about 5 × words² times.
    """

    texts: int = 0
    replacements: tuple[Replacement, ...] = ("mask", "delete", "zero")
    soft: bool = False
    most_words: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A benchmark; see `docs/benchmark.md`.

    Attributes:
        name: For the report.
        tasks: What is tested and learned from.
        methods: What is compared with the ExpNets.
        bases: Repeats each task that fine-tunes "demo/base", on each of these bases instead, as "TASK on BASE"; the
            settings of a base, of `FinetuneConfig`, go before the task's.
        experiments: Which ExpNets: trained on tasks of other families, with classifiers on other bases, both, or of
            other languages; those that come with the package, whatever they learned from; distilled from one of other
            families on unmarked texts of the task; trained on a few marked texts, from scratch and from the one before;
            in domain.
        tiers: Which ExpNets: on attention alone, on attention and gradients.
        shots: How many marked texts are few.
        unmarked: Training texts of the task to distil on, and for AT2 to learn from, without their marks.
        seeds: One ExpNet of each kind per seed.
        seed: Of samples, floors and stochastic methods.
        cross, student, few, own: How the ExpNets of these experiments are trained from scratch; `for_warm_start`
            adapts that for a warm start. The features follow the tier.
        faithfulness: What is measured of faithfulness.
        stability_texts: On how many texts stability and sanity are measured; 0 leaves them out.
        examined: Sets on which expensive methods, faithfulness, stability and sanity are measured; () is all.
        cost: Whether time and memory are measured.
        examples: How many texts of each set go into the examples beside the rows.
    """

    name: str
    tasks: tuple[TaskPlan, ...]
    methods: MethodsPlan = field(default_factory=MethodsPlan)
    bases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    experiments: tuple[Experiment, ...] = ("cross-task", "adapted", "few marks", "in-domain")
    tiers: tuple[Tier, ...] = ("attention", "gradient")
    shots: tuple[int, ...] = (16, 64, 256)
    unmarked: int = 500
    seeds: tuple[int, ...] = (0, 1, 2)
    seed: int = 0
    cross: FitConfig = ACROSS_TASKS
    student: FitConfig = STUDENT
    few: FitConfig = FEW_MARKS
    own: FitConfig = field(default_factory=FitConfig)
    faithfulness: FaithfulnessPlan = field(default_factory=FaithfulnessPlan)
    stability_texts: int = 0
    examined: tuple[str, ...] = ()
    cost: bool = False
    examples: int = 3


def read_plan(path: str | Path) -> Plan:
    """Read a plan from a TOML file.

    Raises:
        BenchmarkError: If the file cannot be read, a key is unknown or missing, or a value does not fit; the message
            names where and offers the nearest key.
    """
    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise BenchmarkError(f"The plan {path} cannot be read: {error}") from error
    tasks = data.pop("task", [])
    plan: Plan = _parse(Plan, {**data, "tasks": tasks}, str(path))
    plan = replace(plan, tasks=tuple(repeated for task in plan.tasks for repeated in _on_bases(task, plan, str(path))))
    _check(plan, str(path))
    return plan


_NESTED: dict[tuple[type, str], type] = {
    (Plan, "methods"): MethodsPlan,
    (Plan, "cross"): FitConfig,
    (Plan, "student"): FitConfig,
    (Plan, "few"): FitConfig,
    (Plan, "own"): FitConfig,
    (Plan, "faithfulness"): FaithfulnessPlan,
    (TaskPlan, "classifier"): ClassifierPlan,
    (ClassifierPlan, "settings"): FinetuneConfig,
    (FitConfig, "features"): FeatureConfig,
}
_LISTED: dict[tuple[type, str], type] = {(Plan, "tasks"): TaskPlan, (TaskPlan, "tests"): SetPlan}


def _parse(cls: type[P], data: Any, where: str) -> P:
    if not isinstance(data, Mapping):
        raise BenchmarkError(f"{where}: expected a table, got {data!r}.")
    known = {declared.name: declared for declared in fields(cls)}  # type: ignore[arg-type]  # they are dataclasses
    for name in data:
        if name not in known:
            hint = did_you_mean(name, known)
            raise BenchmarkError(f"{where}: there is no key {name!r}.{hint} Keys: {', '.join(known)}.")
    for name, declared in known.items():
        if declared.default is MISSING and declared.default_factory is MISSING and name not in data:
            raise BenchmarkError(f"{where}: {name!r} is missing.")
    return cls(**{name: _value(cls, name, value, f"{where}, {name}") for name, value in data.items()})


def _value(cls: type, name: str, value: Any, where: str) -> Any:
    if inner := _NESTED.get((cls, name)):
        if inner is FeatureConfig and isinstance(value, Mapping):
            inner = kind_of(value)
        return _parse(inner, value, where)
    if inner := _LISTED.get((cls, name)):
        if not isinstance(value, list):
            raise BenchmarkError(f"{where}: expected tables, got {value!r}.")
        return tuple(_parse(inner, item, f"{where} {number}") for number, item in enumerate(value, start=1))
    kind = get_type_hints(cls)[name]
    value = tuple(value) if isinstance(value, list) else value
    if not fits(value, kind):
        raise BenchmarkError(f"{where}: got {value!r}, expected {describe(kind)}.")
    return value


def _on_bases(task: TaskPlan, plan: Plan, where: str) -> Iterator[TaskPlan]:
    classifier = task.classifier
    if not plan.bases or classifier.load or not classifier.train or classifier.base != "demo/base":
        yield task
        return
    for base, changed in plan.bases.items():
        settings = _parse(FinetuneConfig, {**asdict(classifier.settings), **changed}, f"{where}, bases {base}")
        yield replace(task, name=f"{task.name} on {base}", classifier=replace(classifier, base=base, settings=settings))


def _check(plan: Plan, where: str) -> None:
    names = [task.name for task in plan.tasks]
    if wrong := set(plan.examined) - {test.file for task in plan.tasks for test in task.tests}:
        raise BenchmarkError(f"{where}: examined has {sorted(wrong)}, which no task tests on.")
    if len(set(names)) < len(names):
        raise BenchmarkError(f"{where}: two tasks have the same name: {', '.join(names)}.")
    for task in plan.tasks:
        if task.classifier.of and task.classifier.of not in names:
            raise BenchmarkError(f"{where}: {task.name!r} shares the classifier of {task.classifier.of!r}: no task.")
        if not (task.classifier.of or task.classifier.load or task.classifier.train):
            raise BenchmarkError(f"{where}: the classifier of {task.name!r} needs 'load', 'train' or 'of'.")
    for method in plan.methods.measured():
        attribution = find_method(method.name)
        attribution.check(
            {name: value for name, value in _FILLED.items() if name in attribution.options} | method.options
        )
