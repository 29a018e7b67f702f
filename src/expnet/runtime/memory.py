"""Measure how much memory a call takes, and run in smaller batches when memory runs out."""

import ctypes
import gc
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def peak(run: Callable[[], object], device: torch.device) -> float:
    """Return the peak memory that a call holds beyond what was held before, in megabytes.

    On a GPU it is what torch allocated there, on Linux the resident memory of the process; elsewhere NaN.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
        run()
        return (torch.cuda.max_memory_allocated(device) - held) / 2**20
    if not sys.platform.startswith("linux"):
        return float("nan")
    # Memory that earlier calls held or freed may still be resident, and would hide what this one takes. The allocator
    # returns what it can; in a long-running process some megabytes stay.
    gc.collect()
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
    # Writing 5 resets the peak (VmHWM) to what is resident now.
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    run()
    return (_resident("VmHWM") - before) / 1024


def exhausted(error: Exception) -> bool:
    """Return whether an error says that memory ran out; on the CPU torch raises a plain RuntimeError."""
    plain = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return plain or isinstance(error, MemoryError | torch.OutOfMemoryError)


def bisect_on_error(
    run: Callable[[Sequence[T]], Sequence[R]],
    items: Sequence[T],
    *,
    splits: Callable[[Exception], bool] = exhausted,
    alone: Callable[[T, Exception], R] | None = None,
) -> list[R]:
    """Run on all items together; on an error, bisect until it belongs to a single item.

    Args:
        run: Returns one result per item, in order.
        items: At least one.
        splits: Whether an error is worth another try with fewer items; other errors are raised.
        alone: Turns a single item that fails, and its error, into a result; without it the error is raised.
    """
    try:
        return list(run(items))
    except Exception as error:  # raised again, unless `alone` turns it into a result
        if not splits(error) or (len(items) == 1 and alone is None):
            raise
        if len(items) == 1 and alone is not None:
            return [alone(items[0], error)]
    # Outside the `except` block: inside it, the error still holds the memory of the failed attempt.
    middle = len(items) // 2
    halves = (items[:middle], items[middle:])
    return [result for half in halves for result in bisect_on_error(run, half, splits=splits, alone=alone)]


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(field)))
