"""Atomic writes: a reader finds the whole file or none."""

import os
from pathlib import Path
from typing import Any
from uuid import uuid4


def write_atomic(path: Path, content: Any) -> None:
    """Write bytes, or a buffer of them, to a file that is never seen in part, whenever the process dies.

    Raises:
        OSError: If there is no room, or writing is not allowed; what was there before still is.
    """
    # The name is new each time: on a cluster a worker that was given up may still be writing.
    unfinished = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
