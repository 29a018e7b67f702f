"""`expnet benchmark`: run a plan, or go on with it."""

from pathlib import Path
from typing import Annotated

import typer

from expnet.errors import InputError

QUICK = Path(__file__).parents[1] / "benchmark" / "quick.toml"


def benchmark(
    plan: Annotated[Path | None, typer.Argument(help="A plan in TOML; docs/benchmark.md says what it holds.")] = None,
    data: Annotated[Path, typer.Option(help="Folder of the rationale data, set/split.jsonl.gz.")] = Path("data"),
    output: Annotated[Path, typer.Option(help="Folder for rows, classifiers, ExpNets, scores.")] = Path("runs"),
    only: Annotated[list[str] | None, typer.Option(help="Run this task of the plan only; repeat it.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A miniature on the embedded demos, no plan.")] = False,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the processor; 0 leaves that to torch.")] = 0,
) -> None:
    """Measure methods as a plan says; what an earlier run finished is not run again."""
    import torch

    from expnet.benchmark.measure.run import run
    from expnet.benchmark.plan import read_plan
    from expnet.benchmark.present.examples import write_examples

    if quick == (plan is not None):
        raise InputError("Expected a plan, or --quick for the miniature: one of the two.")
    if threads:
        torch.set_num_threads(threads)
    chosen = read_plan(plan or QUICK)
    file = run(chosen, data, output, only=only or (), progress=True)
    examples = write_examples(chosen, data, output)
    rows = file.read()
    print(f"{len(rows)} rows in {file.path}, examples in {examples}.")
    print(f"Read them with: expnet report {file.path} --examples {examples} --output report.html")
