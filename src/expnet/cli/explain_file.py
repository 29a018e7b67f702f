"""`expnet explain-file`: a file or folder of texts in, a folder of explained Parquet shards out."""

import os
import sys
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expnet.errors import InputError, require_extra
from expnet.explanation.escape import printable

if TYPE_CHECKING:
    from expnet.batch.job import Summary


class EngineName(StrEnum):
    """Who does the work."""

    local = "local"
    ray = "ray"


def explain_file(
    source: Annotated[
        Path, typer.Argument(help="A .parquet, .jsonl, .csv or .arrow file (.gz too), or a folder of them.")
    ],
    output: Annotated[Path, typer.Argument(help="Folder for the shards; give it again to go on.")],
    model: Annotated[str, typer.Option(help="A demo, a folder or a hub id, as for `expnet explain`.")] = (
        "demo/sentiment"
    ),
    explainer: Annotated[str | None, typer.Option(help="Folder or hub id of an ExpNet; a demo has its own.")] = None,
    text: Annotated[str, typer.Option(help="Column of the texts.")] = "text",
    pair: Annotated[str | None, typer.Option(help="Column of the second texts.")] = None,
    target_column: Annotated[str | None, typer.Option(help="Column of the class to explain, by name or index.")] = None,
    target: Annotated[str | None, typer.Option(help="Class to explain in every row, by name or index.")] = None,
    method: Annotated[str, typer.Option(help="How to explain; `expnet methods` lists the names.")] = "expnet",
    option: Annotated[list[str] | None, typer.Option(help="Option of the method, as NAME=VALUE; repeat it.")] = None,
    seed: Annotated[int, typer.Option(help="For methods that draw random numbers.")] = 0,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Cut long texts instead of reading them in overlapping windows.")
    ] = False,
    max_characters: Annotated[int, typer.Option(min=1, help="Longer rows are not explained but marked.")] = 100_000,
    shard_rows: Annotated[
        int, typer.Option(min=1, help="Rows in a shard; an interrupted job repeats at most one.")
    ] = 1024,
    prefix: Annotated[str, typer.Option(help="Put before the names of the added columns.")] = "",
    engine: Annotated[EngineName, typer.Option(help="ray spreads the work over processes, or a cluster.")] = (
        EngineName.local
    ),
    workers: Annotated[int, typer.Option(min=1, help="Processes of Ray.")] = 2,
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster; auto on one of its machines.")] = None,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs, or a share of one, for each process of Ray.")] = 0.0,
    threads: Annotated[
        int, typer.Option(min=0, help="Processor threads of each process; 0 takes 1 with Ray, and all otherwise.")
    ] = 0,
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda; by default the best there is.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Type of the weights, such as bfloat16.")] = None,
) -> None:
    """Explain every row of a file or folder; after an interruption, the same command goes on."""
    if not os.path.exists(source):  # Path.exists raises where a folder on the way may not be read
        raise InputError(f"There is no file or folder {source}, or it may not be read.")
    require_extra("pyarrow", "batch")
    import torch

    from expnet.batch.job import explain_file as run
    from expnet.batch.on_ray import on_ray
    from expnet.batch.settings import Settings
    from expnet.cli.methods import chosen_methods
    from expnet.explainer import load

    if method == "all":
        raise InputError("explain-file takes one method: run it once for each, into folders of their own.")
    ((name, options),) = chosen_methods([method], option or [])
    settings = Settings(
        text=text,
        pair=pair,
        target_column=target_column,
        target=target,
        method=name,
        options=options,
        seed=seed,
        truncate=truncate,
        max_characters=max_characters,
        shard_rows=shard_rows,
        prefix=prefix,
    )
    if threads:
        torch.set_num_threads(threads)
    loaded = partial(load, model, explainer=explainer, device=device, dtype=dtype)
    chosen = (
        on_ray(loaded, workers=workers, address=address, gpus=gpus, threads=max(1, threads))
        if engine is EngineName.ray
        else None
    )
    found = run(loaded(), source, output, settings=settings, engine=chosen, progress=sys.stderr.isatty())
    _report(found, output)


def _report(found: "Summary", output: Path) -> None:
    counts = ", ".join(f"{count:,} {status}" for status, count in found.statuses.most_common())
    print(
        f"{found.statuses.total():,} rows in {found.shards:,} shards in {printable(str(output))}: {counts or 'none'}."
    )
    if found.note:
        print(printable(found.note))
    if found.not_read:
        names = ", ".join(printable(str(path)) for path in found.not_read)
        print(f"Not read, unsupported file type: {names}", file=sys.stderr)
    if found.failure is not None:
        print(f"Not one row was explained; the first: {printable(found.failure)}", file=sys.stderr)
        raise typer.Exit(1)
