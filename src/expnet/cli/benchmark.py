"""`expnet benchmark`: run a plan, or resume it."""

from pathlib import Path
from typing import Annotated

import typer

from expnet.cli import options
from expnet.errors import InputError

QUICK = Path(__file__).parents[1] / "benchmark" / "quick.toml"


def benchmark(
    plan: Annotated[Path | None, typer.Argument(help="A plan in TOML; docs/benchmark.md says what it holds.")] = None,
    data: Annotated[Path, typer.Option(help="Folder of the annotated sets, as set/split.jsonl.gz.")] = Path("data"),
    output: Annotated[Path, typer.Option(help="Folder for rows, classifiers, ExpNets and scores.")] = Path("runs"),
    only: Annotated[
        list[str] | None, typer.Option(help="Run only this task of the plan; repeat it for several.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Run a miniature on the embedded demos instead of a plan.")
    ] = False,
    threads: options.ThreadsOption = 0,
) -> None:
    """Measure methods as a plan says. What an earlier run finished is not run again."""
    from expnet.benchmark.measure.run import run
    from expnet.benchmark.plan import read_plan
    from expnet.benchmark.present.examples import write_examples

    if quick == (plan is not None):
        raise InputError("Expected either a plan, or --quick for the miniature.")
    options.set_threads(threads)
    chosen = read_plan(plan or QUICK)
    file = run(chosen, data, output, only=only or (), progress=True)
    examples = write_examples(chosen, data, output)
    print(f"{len(file.read())} rows in {file.path}, examples in {examples}.")
    print(f"Read them with: expnet report {file.path} --examples {examples} --output report.html")
