"""`expnet explain-file`: a file or folder of texts in, a folder of explained Parquet shards out."""

import os
import sys
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expnet.cli import options
from expnet.cli.inputs import prompt_of
from expnet.cli.outputs import say
from expnet.errors import InputError, require_extra
from expnet.explanation.escape import printable

if TYPE_CHECKING:
    from expnet.batch.job import Summary

_ray = partial(typer.Option, rich_help_panel="Ray")


class EngineName(StrEnum):
    """What runs the job."""

    local = "local"
    ray = "ray"


def explain_file(
    source: Annotated[
        Path, typer.Argument(help="A .parquet, .jsonl, .csv or .arrow file (.gz too), or a folder of them.")
    ],
    output: Annotated[Path, typer.Argument(help="Folder for the shards. Give the same one again to resume.")],
    model: options.ModelOption = "demo/sentiment",
    explainer: options.ExplainerOption = None,
    text: Annotated[str, typer.Option(help="Column of the texts.")] = "text",
    pair: Annotated[str | None, typer.Option(help="Column of the second texts.")] = None,
    target_column: Annotated[
        str | None, typer.Option(help="Column that holds each row's class to explain, by name or index.")
    ] = None,
    target: options.AllTargetOption = None,
    against: options.AgainstOption = None,
    classes: options.ClassesOption = None,
    method: options.MethodOption = "expnet",
    option: options.MethodSettingsOption = None,
    seed: options.SeedOption = 0,
    truncate: options.TruncateOption = False,
    max_characters: Annotated[
        int, typer.Option(min=1, help="Longer texts are not explained; their status says so.")
    ] = 100_000,
    shard_rows: Annotated[
        int, typer.Option(min=1, help="Rows in a shard. An interrupted job repeats at most one shard.")
    ] = 1024,
    prefix: Annotated[str, typer.Option(help="Put before the names of the added columns.")] = "",
    engine: Annotated[EngineName, _ray(help="ray spreads the job over processes or a cluster.")] = EngineName.local,
    workers: Annotated[int, _ray(min=1, help="Number of processes, with --threads CPU threads each.")] = 2,
    address: Annotated[
        str | None,
        _ray(help="Address of a running cluster; auto if this machine belongs to it."),
    ] = None,
    gpus: Annotated[float, _ray(min=0, help="GPUs for each process; a fraction shares one.")] = 0.0,
    threads: options.ThreadsOption = 0,
    prompt: options.PromptOption = None,
    label: options.LabelOption = None,
    zero_shot: options.ZeroShotOption = None,
    hypothesis: options.HypothesisOption = None,
    revision: options.RevisionOption = None,
    device: options.DeviceOption = None,
    dtype: options.DtypeOption = None,
) -> None:
    """Explain every row of a file or folder. After an interruption, the same command resumes.

    With Ray, `--threads 0` gives each process one thread.
    """
    if not os.path.exists(source):  # Path.exists raises where a folder on the way may not be read
        raise InputError(f"There is no file or folder {source}, or no permission to read it.")
    require_extra("pyarrow", "batch")
    from expnet.batch.job import explain_file as run
    from expnet.batch.on_ray import on_ray
    from expnet.batch.settings import Settings
    from expnet.cli.method_options import chosen_method
    from expnet.explainer import load

    name, method_options = chosen_method(method, option)
    settings = Settings(
        text=text,
        pair=pair,
        target_column=target_column,
        target=target,
        against=against,
        classes=classes,
        method=name,
        options=method_options,
        seed=seed,
        truncate=truncate,
        max_characters=max_characters,
        shard_rows=shard_rows,
        prefix=prefix,
    )
    options.set_threads(threads)
    loaded = partial(
        load,
        model,
        explainer=explainer,
        revision=revision,
        device=device,
        dtype=dtype,
        prompt=prompt_of(prompt, label, zero_shot, hypothesis),
    )
    chosen = (
        on_ray(loaded, workers=workers, address=address, gpus=gpus, threads=max(1, threads))
        if engine is EngineName.ray
        else None
    )
    _report(run(loaded(), source, output, settings=settings, engine=chosen, progress=sys.stderr.isatty()), output)


def _report(summary: "Summary", output: Path) -> None:
    counts = ", ".join(f"{count:,} {status}" for status, count in summary.statuses.most_common()) or "none"
    rows = f"{summary.statuses.total():,} rows in {summary.shards:,} shards"
    print(f"{rows} in {printable(str(output))}: {counts}.")
    if summary.meaning:
        print(printable(summary.meaning))
    if summary.not_read:
        say(f"Not read, unsupported file type: {', '.join(map(str, summary.not_read))}")
    if summary.failure is not None:
        say(f"No row could be explained. The first error: {summary.failure}")
        raise typer.Exit(1)
