"""Who is measured on a task: every method of the plan, and the ExpNets."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from expnet.benchmark.making import Workshop
from expnet.benchmark.plan import Measured, Plan, TaskPlan
from expnet.benchmark.scores import Job
from expnet.methods.learned import method_of
from expnet.methods.registry import find_method


@dataclass(frozen=True, slots=True)
class Contestant:
    """A method of the plan, or an ExpNet and how it learned.

    Attributes:
        experiment: As in `Row`.
        label: What the plan calls the method.
        round: Which of the plan's seeds; see `Workshop`.
        sample: Whether it is measured on a sample only.
        condition: As in `Row`: how the ExpNet learned, its seed and the classifier's.
        job: Makes it, training the ExpNet if need be.
    """

    experiment: str
    label: str
    round: int
    sample: bool
    condition: Mapping[str, str | int | float | None]
    job: Callable[[], Job]


def contestants(plan: Plan, workshop: Workshop, task: TaskPlan) -> list[Contestant]:
    """Return who is measured on a task, the quick ones first."""
    return [*_baselines(plan, workshop, task), *_networks(plan, workshop, task)]


def _baselines(plan: Plan, workshop: Workshop, task: TaskPlan) -> Iterator[Contestant]:
    for round in range(len(workshop.versions(task))):
        for method in plan.methods.measured():
            if method.sample and round:
                continue
            experiment = "control" if find_method(method.name).family == "control" else "baseline"
            condition = {"classifier": workshop.version(task, round)}

            def job(method: Measured = method) -> Job:
                return workshop.job(task, method)

            yield Contestant(experiment, method.label, round, method.sample, condition, job)


def _networks(plan: Plan, workshop: Workshop, task: TaskPlan) -> Iterator[Contestant]:
    for round, seed in enumerate(plan.seeds):
        for experiment, shots, start in _lessons(plan, task):

            def job(round: int = round, shots: int = shots, start: str | None = start) -> Job:
                if start is None:
                    network = workshop.cross_task(task, round)
                else:
                    warm = None if start == "nothing" else workshop.cross_task(task, round)
                    network = workshop.few_marks(task, round, shots, warm)
                return Job(method_of(network), {}, plan.seed, network)

            condition: dict[str, str | int | float | None] = {"seed": seed}
            condition["classifier"] = workshop.version(task, round)
            if start is not None:
                condition |= {"shots": shots or "all", "start": start}
            yield Contestant(experiment, "expnet", round, False, condition, job)


def _lessons(plan: Plan, task: TaskPlan) -> Iterator[tuple[str, int, str | None]]:
    """Yield experiment, number of marked texts (0: all), and where the ExpNet starts from (None: it stays there)."""
    if "cross-task" in plan.experiments and any(other.train and other.family != task.family for other in plan.tasks):
        yield "cross-task", 0, None
    if task.train and "few marks" in plan.experiments:
        for shots in plan.shots:
            yield "few marks", shots, "nothing"
            if "cross-task" in plan.experiments:
                yield "few marks", shots, "cross-task"
    if task.train and "in-domain" in plan.experiments:
        yield "in-domain", 0, "nothing"
