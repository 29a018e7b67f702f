"""The output folder: what made it, and its shards, each there whole or not at all."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from expnet.batch.formats import readable
from expnet.errors import BatchError
from expnet.writing import write_whole

# Readers of Parquet folders leave out names that begin with "_" or ".".
_JOB = "_job.json"
_KEY = b"expnet"


def shard_path(folder: Path, number: int) -> Path:
    """Return where a shard belongs; shards sort in the order of the rows."""
    return folder / f"part-{number:06}.parquet"


def open_folder(folder: Path, run: Mapping[str, Any]) -> None:
    """Prepare the folder of a new job, or go on with one that was made by the same.

    Raises:
        BatchError: If the folder holds something else, or what it holds was made by another job; it says what differs.
    """
    file = folder / _JOB
    if not file.is_file():
        if folder.is_dir() and any(not _unfinished(path) for path in folder.iterdir()):
            raise BatchError(f"{folder} holds files, but no job to go on with: give an empty or a new folder.")
        with _writing(folder):
            folder.mkdir(exist_ok=True)
        with _writing(file):
            write_whole(file, (json.dumps(run, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())
    with readable(file):
        before = json.loads(file.read_bytes())
    differences = [
        f"{name} was {before.get(name)!r} and is {run.get(name)!r}"
        for name in sorted({*before, *run})
        if before.get(name) != run.get(name)
    ]
    if differences:
        raise BatchError(
            f"{folder} was begun with something else: {'; '.join(differences)}. Use the same again, or another folder."
        )
    for path in folder.iterdir():
        if _unfinished(path):  # of a process that died
            path.unlink(missing_ok=True)


def write_shard(path: Path, table: pa.Table, about: Mapping[str, Any]) -> None:
    """Write a shard with what made it in its metadata.

    Raises:
        BatchError: If there is no room, or writing is not allowed; nothing is left behind then.
    """
    sink = pa.BufferOutputStream()
    described = table.replace_schema_metadata({_KEY: json.dumps(about, sort_keys=True, ensure_ascii=False)})
    pq.write_table(described, sink, compression="zstd")
    with _writing(path):
        write_whole(path, sink.getvalue())


def read_about(path: Path) -> dict[str, Any]:
    """Return what stands in a shard's metadata.

    Raises:
        BatchError: If it is no shard of ours.
    """
    with readable(path):
        metadata = pq.read_schema(path).metadata or {}
    if _KEY not in metadata:
        raise BatchError(f"{path} was not written by expnet: take it out of the folder.")
    about: dict[str, Any] = json.loads(metadata[_KEY])
    return about


def statuses(folder: Path, number: int) -> Counter[str]:
    """Return how many rows of a shard have each status."""
    return Counter(read_about(shard_path(folder, number))["statuses"])


def first_failure(folder: Path, prefix: str) -> str:
    """Return status and error of the first row."""
    with readable(folder), shard_path(folder, 0).open("rb") as file:
        row = pq.read_table(file, columns=[prefix + "status", prefix + "error"]).slice(0, 1).to_pylist()[0]
    return f"{row[prefix + 'status']}: {row[prefix + 'error']}"


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BatchError(
            f"{path} cannot be written: {error.strerror or error}. What is there is whole: remove the obstacle and run "
            "the same command again."
        ) from error


def _unfinished(path: Path) -> bool:
    return path.name.startswith(".") and path.suffix == ".tmp"
