"""The output folder: what made it, and its shards, each written atomically."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from expnet.batch.formats import is_kind, readable
from expnet.errors import BatchError
from expnet.files.atomic import write_atomic

# Readers of Parquet folders leave out names that begin with "_" or ".".
_JOB, _LOCK = "_job.json", ".lock"
_KEY = b"expnet"


def shard_path(folder: Path, number: int) -> Path:
    """Return where a shard belongs; shards sort in the order of the rows."""
    return folder / f"part-{number:06}.parquet"


@contextmanager
def open_folder(folder: Path, run: Mapping[str, Any]) -> Iterator[None]:
    """Prepare the folder of a new job, or resume the same job in it; other processes are locked out meanwhile.

    Raises:
        BatchError: If the folder holds something else, what it holds was made by another job (it says what differs), or
            another process is writing to it.
    """
    file = folder / _JOB
    with readable(folder):
        if not file.is_file() and folder.is_dir() and any(not _ours(path) for path in folder.iterdir()):
            raise BatchError(f"{folder} holds files, but no job to resume: give an empty or a new folder.")
    with _writing(folder):
        folder.mkdir(exist_ok=True)
    with _locked(folder):
        with _writing(folder):
            for path in filter(_unfinished, folder.iterdir()):  # of a process that died
                path.unlink(missing_ok=True)
        if not file.is_file():
            with _writing(file):
                write_atomic(file, (json.dumps(run, indent=1, sort_keys=True) + "\n").encode())
        if differences := _differences(_read_job(file), run):
            raise BatchError(
                f"{folder} belongs to a job with other settings: {'; '.join(differences)}. Use the same "
                "settings again, or another folder."
            )
        yield


def count_shards(folder: Path) -> int:
    """Return how many shards a job's folder is to hold; 0 if it does not say.

    Raises:
        BatchError: If what it says is damaged.
    """
    file = folder / _JOB
    with readable(folder):
        count = _read_job(file).get("shards") if file.is_file() else None
    return count if type(count) is int else 0


def write_shard(path: Path, table: pa.Table, about: Mapping[str, Any]) -> None:
    """Write a shard with what made it in its metadata.

    Raises:
        BatchError: If the disk is full or writing is not allowed; nothing is left behind then.
    """
    sink = pa.BufferOutputStream()
    described = table.replace_schema_metadata({_KEY: json.dumps(about, sort_keys=True)})
    pq.write_table(described, sink, compression="zstd")
    with _writing(path):
        write_atomic(path, sink.getvalue())


def missing_shards(folder: Path, shards: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the numbers of the shards that are still to be made.

    Args:
        folder: Where they belong.
        shards: For each shard what its metadata must say, beside the statuses.

    Raises:
        BatchError: If a Parquet file in the folder, or in one in it, is none of these shards, such as a copy or another
            job's: whoever reads the folder would read it, too.
    """
    expected = {shard_path(folder, number): about for number, about in enumerate(shards)}
    for path in sorted(path for path in folder.rglob("[!._]*") if is_kind(path, ".parquet")):
        if path not in expected:
            raise BatchError(f"{path} is not one of the {len(shards)} shards of this job: take it out of the folder.")
        stored = _about(path)
        if differences := _differences({**stored, "statuses": None}, {**expected[path], "statuses": None}):
            raise BatchError(
                f"{path} is not the shard of this job that belongs there: {'; '.join(differences)}. Take it out of the "
                "folder and run the same again."
            )
    return [number for number, path in enumerate(expected) if not path.is_file()]


def read_about(file: BufferedIOBase, path: Path) -> dict[str, Any]:
    """Return the job's entry in the metadata of a shard, open for reading; its number of rows must agree.

    Raises:
        BatchError: If expnet did not write the shard, or it is damaged.
    """
    with readable(path):
        parquet = pq.read_metadata(file)
    metadata = parquet.metadata or {}
    if _KEY not in metadata:
        raise BatchError(f"{path} was not written by expnet: take it out of the folder.")
    about = _json(metadata[_KEY], path)
    shard, counts = about.get("shard"), about.get("statuses")
    rows = parquet.num_rows
    if not (isinstance(shard, dict) and isinstance(counts, dict) and all(type(n) is int for n in counts.values())):
        raise BatchError(f"{path} is damaged: its metadata lacks the shard or the statuses. Take it out of the folder.")
    if shard.get("rows") != rows or sum(counts.values()) != rows:
        raise BatchError(
            f"{path} is damaged: it has {rows} rows, its metadata says {shard.get('rows')} with {counts}. Take it out "
            "of the folder."
        )
    return about


def statuses(folder: Path, number: int) -> Counter[str]:
    """Return how many rows of a shard have each status."""
    return Counter(_about(shard_path(folder, number))["statuses"])


def first_failure(folder: Path, prefix: str) -> str:
    """Return status and error of the first row."""
    with readable(folder), shard_path(folder, 0).open("rb") as file:
        row = pq.read_table(file, columns=[prefix + "status", prefix + "error"]).slice(0, 1).to_pylist()[0]
    return f"{row[prefix + 'status']}: {row[prefix + 'error']}"


def _about(path: Path) -> dict[str, Any]:
    with readable(path), path.open("rb") as file:
        return read_about(file, path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder; the lock ends with the process, however that ends."""
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        with _writing(folder):
            lock.acquire()
    except Timeout as error:
        raise BatchError(
            f"Another process is writing to {folder}: wait until it is done, or give another folder."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except Timeout:
        raise
    except OSError as error:
        raise BatchError(
            f"{path} cannot be written: {error.strerror or error}. Finished shards are intact: fix the cause and run "
            "the same command again."
        ) from error


def _read_job(file: Path) -> dict[str, Any]:
    with readable(file):
        return _json(file.read_bytes(), file)


def _json(content: bytes, path: Path) -> dict[str, Any]:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BatchError(f"{path} is damaged: what it says of its job is not valid JSON: {error}.") from error
    if not isinstance(parsed, dict):
        raise BatchError(f"{path} is damaged: what it says of its job is a {type(parsed).__name__}, not an object.")
    return parsed


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    now = json.loads(json.dumps(now))  # as it comes back from a file: tuples are lists
    return [
        f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def _ours(path: Path) -> bool:
    return path.name == _LOCK or _unfinished(path)


def _unfinished(path: Path) -> bool:
    return path.name.startswith(".") and path.suffix == ".tmp"
