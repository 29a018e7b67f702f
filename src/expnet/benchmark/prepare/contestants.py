"""What is measured on a task: every method of the plan, and the ExpNets."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from expnet.benchmark.measure.scores import ScoringJob
from expnet.benchmark.plan import HELD_OUT, Experiment, Measured, Plan, TaskPlan
from expnet.benchmark.prepare.making import Workshop
from expnet.methods.learned import method_of
from expnet.methods.registry import find_method
from expnet.network.channels import Tier
from expnet.network.universal import universal


@dataclass(frozen=True, slots=True)
class Contestant:
    """A method of the plan, or an ExpNet and how it was trained.

    Attributes:
        experiment: As in `Row`.
        label: What the plan calls the method.
        round: Which of the plan's seeds; see `Workshop`.
        sample: Whether it is measured on a sample only.
        condition: As in `Row`: how the ExpNet was trained, its seed and the classifier's.
        job: Returns it as a `ScoringJob`, after training the ExpNet if necessary.
        closely: Whether more than plausibility is measured: for every method, and for ExpNets trained on no marks, on
            the fewest after adapting, and on all.
    """

    experiment: str
    label: str
    round: int
    sample: bool
    condition: Mapping[str, str | int | float | None]
    job: Callable[[], ScoringJob]
    closely: bool = True


def contestants(plan: Plan, workshop: Workshop, task: TaskPlan) -> list[Contestant]:
    """Return what is measured on a task, the fast ones first."""
    return [*_baselines(plan, workshop, task), *_networks(plan, workshop, task)]


def _baselines(plan: Plan, workshop: Workshop, task: TaskPlan) -> Iterator[Contestant]:
    for round in range(len(workshop.versions(task))):
        for method in plan.methods.measured():
            if method.sample and round:
                continue
            experiment = "control" if find_method(method.name).family == "control" else "baseline"
            condition = {"classifier": workshop.version(task, round)}

            def job(method: Measured = method, round: int = round) -> ScoringJob:
                return workshop.job(task, round, method)

            yield Contestant(experiment, method.label, round, method.sample, condition, job)


def _networks(plan: Plan, workshop: Workshop, task: TaskPlan) -> Iterator[Contestant]:
    for round, seed in enumerate(plan.seeds):
        version = workshop.version(task, round)
        for tier in plan.tiers:
            label = "expnet" if tier == "attention" else f"expnet_{tier}"
            for experiment, shots, start in _trainings(plan, workshop, task):
                if experiment == "shipped" and round >= len(workshop.versions(task)):
                    continue  # no seed makes it another

                def job(
                    experiment: Experiment = experiment,
                    round: int = round,
                    tier: Tier = tier,
                    shots: int = shots,
                    start: str = start,
                ) -> ScoringJob:
                    if experiment in HELD_OUT:
                        network = workshop.across(experiment, task, round, tier)
                    elif experiment == "shipped":
                        network = universal(tier)
                    elif experiment == "adapted":
                        network = workshop.adapted(task, round, tier)
                    else:
                        network = workshop.marked(task, round, tier, shots, warm=start == "adapted")
                    return ScoringJob(method_of(network), {}, plan.seed, network)

                condition: dict[str, str | int | float | None] = {"seed": seed, "classifier": version}
                if start:
                    condition |= {"shots": shots or "all", "start": start}
                closely = experiment != "few marks" or (start == "adapted" and shots == min(plan.shots))
                yield Contestant(experiment, label, round, False, condition, job, closely)


def _trainings(plan: Plan, workshop: Workshop, task: TaskPlan) -> Iterator[tuple[Experiment, int, str]]:
    """Yield experiment, number of marked texts (0: all), and what the ExpNet starts from ("": there are no marks)."""
    known = set(plan.experiments)
    known -= {experiment for experiment in HELD_OUT if not workshop.others(task, experiment)}
    if not workshop.others(task):  # nobody to distil from
        known.discard("adapted")
    yield from ((experiment, 0, "") for experiment in (*HELD_OUT, "shipped", "adapted") if experiment in known)
    if task.train and "few marks" in known:
        for shots in plan.shots:
            yield "few marks", shots, "nothing"
            if "adapted" in known:
                yield "few marks", shots, "adapted"
        if "adapted" in known:
            yield "few marks", 0, "adapted"
    if task.train and "in-domain" in known:
        yield "in-domain", 0, "nothing"
