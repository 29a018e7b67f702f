"""Atomic writes: a reader finds the whole file or folder, or none, whenever the process dies."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4


def write_atomic(path: Path, content: Any) -> None:
    """Write bytes, or a buffer of them, to a file that is never seen in part.

    Raises:
        OSError: If there is no room, or writing is not allowed; what was there before still is.
    """
    unfinished = _beside(path)
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give a path at which to make a folder, which takes its name when the block ends without an error.

    If another process has made the folder meanwhile, that one stays.

    Raises:
        OSError: If the folder cannot take its name.
    """
    unfinished = _beside(folder)
    try:
        yield unfinished
        try:
            unfinished.rename(folder)
        except OSError:  # which systems word differently where the folder is there and holds files
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _beside(path: Path) -> Path:
    # The name is new each time: on a cluster a worker that was given up may still be writing.
    return path.with_name(f".{path.name}.{uuid4().hex}.tmp")
