"""Run a plan cell by cell; each is written when it is done, so that an interrupted run resumes where it stopped."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from expnet._version import __version__
from expnet.benchmark.measure.measuring import Bench
from expnet.benchmark.plan import WEIGHTS, Plan, SetPlan, TaskPlan
from expnet.benchmark.prepare.contestants import Contestant, contestants
from expnet.benchmark.prepare.data import Data
from expnet.benchmark.prepare.making import Workshop, fingerprint
from expnet.benchmark.rows import EXPNETS, Row, RowFile
from expnet.errors import BenchmarkError
from expnet.methods.registry import find_method
from expnet.runtime.progress import track
from expnet.runtime.versions import versions
from expnet.timing.clock import Stopwatch


@dataclass(frozen=True, slots=True)
class Cell:
    """Work that is done as a whole or not at all; its `name` is unique and depends on all its inputs."""

    name: str
    title: str
    run: Callable[[], list[Row]]


def run(plan: Plan, folder: Path, output: Path, *, only: Sequence[str] = (), progress: bool = False) -> RowFile:
    """Run the cells of a plan that have no rows yet.

    Several processes may run different tasks of a plan at the same time, once the classifiers are there.

    Args:
        plan: The plan.
        folder: Folder of the data.
        output: Folder for the rows, in a file named after the plan, and for what is made once: classifiers, ExpNets,
            scores.
        only: Names of tasks; () runs all.
        progress: Show a bar on standard error.

    Raises:
        BenchmarkError: If there is no such task, or a set of the plan is missing.
    """
    if unknown := set(only) - {task.name for task in plan.tasks}:
        raise BenchmarkError(f"The plan {plan.name!r} has no task {sorted(unknown)[0]!r}.")
    data = Data(folder, plan)
    bench = Bench(plan, data, Workshop(plan, data, output))
    file = RowFile(output / f"{plan.name}.jsonl")
    done = file.cells()
    todo = [cell for cell in cells(bench, only) if cell.name not in done]
    if todo:
        bench.workshop.make_bases()
    for cell in track(todo, lambda cell: cell.title, show=progress):
        watch = Stopwatch()
        rows = cell.run()
        took = {"plan": plan.name, "seconds": round(watch.read().seconds, 2), **versions()}
        file.append(cell.name, [replace(row, provenance={**row.provenance, **took}) for row in rows])
    return file


def cells(bench: Bench, only: Sequence[str] = ()) -> Iterator[Cell]:
    """Yield every cell of a plan: plausibility of all sets first, cost last."""
    plan = bench.plan
    sets = [(task, test) for task in plan.tasks for test in task.tests if not only or task.name in only]
    examined = [(task, test) for task, test in sets if not plan.examined or test.file in plan.examined]
    everyone = {task.name: contestants(plan, bench.workshop, task) for task in plan.tasks}
    first = {
        name: [who for who in contestants if who.round == 0 and who.closely] for name, contestants in everyone.items()
    }
    for task, test in sets:
        yield _cell(bench, "floors", task, test, [], partial(bench.floors, task, test))
        for who in everyone[task.name]:
            if who.sample and (task, test) not in examined:
                continue
            yield _cell(bench, "plausibility", task, test, [who], partial(bench.plausibility, task, test, who))
    for task, test in examined:
        for replacement in plan.faithfulness.replacements:
            for sample in (False, True):
                if group := [who for who in first[task.name] if who.sample == sample]:
                    work = partial(bench.faithfulness, task, test, group, replacement)
                    yield _cell(bench, f"faithfulness {replacement}", task, test, group, work)
    for task, test in examined if plan.stability_texts else ():
        for who in first[task.name]:
            if not who.sample:
                other = _next_round(who, everyone[task.name])
                yield _cell(bench, "stability", task, test, [who], partial(bench.stability, task, test, who, other))
                yield _cell(bench, "sanity", task, test, [who], partial(bench.sanity, task, test, who))
    for task, test in sets[:1] if plan.cost and sets[0][0] is plan.tasks[0] else ():
        for who in first[task.name]:
            yield _cell(bench, "cost", task, test, [who], partial(bench.cost, task, test, who))


def _cell(
    bench: Bench, what: str, task: TaskPlan, test: SetPlan, who: Sequence[Contestant], work: Callable[[], list[Row]]
) -> Cell:
    plan = bench.plan
    depends: list[Any] = [__version__, what, asdict(task), asdict(test), bench.data.digest(test.file), plan.seed]
    for contestant in who:
        label, condition = contestant.label, dict(contestant.condition)
        depends.append([contestant.experiment, label, condition, plan.methods.options.get(label)])
        depends.append(plan.methods.sample_texts if contestant.sample else 0)
        if contestant.experiment == "shipped":
            depends.append(fingerprint(contestant.job().network))
        elif contestant.experiment in EXPNETS:  # it may have been trained on other tasks
            depends += [asdict(config) for config in (plan.cross, plan.student, plan.few, plan.own)]
            depends.append(plan.unmarked)
            depends += [asdict(replace(other, tests=())) for other in plan.tasks]
        elif WEIGHTS in find_method(contestant.label.split(":")[0]).options:  # learned from unmarked texts
            depends.append(plan.unmarked)
    if not what.startswith(("floors", "plausibility")):
        depends += [asdict(plan.faithfulness), plan.stability_texts]
    digest = hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest()[:12]
    named = f"{who[0].experiment} {who[0].label}" if len(who) == 1 else f"{len(who)} methods"
    return Cell(f"{what} {test.file} {named} {digest}", f"{test.file}: {what}, {named}", work)


def _next_round(who: Contestant, everyone: Sequence[Contestant]) -> Contestant | None:
    """Return the ExpNet that was trained in the same way with the next seed."""
    seeds = ("seed", "classifier")

    def likewise(other: Contestant) -> bool:
        ours, theirs = (
            {k: v for k, v in contestant.condition.items() if k not in seeds} for contestant in (who, other)
        )
        same = (other.label, other.experiment) == (who.label, who.experiment)
        return same and ours == theirs and other.round == 1

    return next(filter(likewise, everyone), None) if who.experiment in EXPNETS else None
