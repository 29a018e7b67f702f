"""Atomic writes: even if the process dies, a reader sees the whole file or folder, or none of it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4


def write_atomic(path: Path, content: Any) -> None:
    """Write bytes, or a buffer of them, to a file; readers see the old content or the new, never a part.

    Raises:
        OSError: If the disk is full or writing is not allowed; the old file is then unchanged.
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
    """Yield a temporary path for a folder, which is renamed to `folder` if the block ends without an error.

    If another process has made `folder` meanwhile, that one stays.

    Raises:
        OSError: If the folder cannot be renamed.
    """
    unfinished = _beside(folder)
    try:
        yield unfinished
        try:
            unfinished.rename(folder)
        except OSError:  # its type depends on the system where the folder exists and is not empty
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _beside(path: Path) -> Path:
    # A new name each time: on a cluster, a worker that was presumed dead may still be writing.
    return path.with_name(f".{path.name}.{uuid4().hex}.tmp")
