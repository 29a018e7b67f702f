"""How much memory a call takes, and what to do where there is not enough."""

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
    """Return the most memory that a call holds beyond what was held before, in megabytes.

    On a GPU it is what torch took there, elsewhere what the operating system says of the process; NaN if it does not.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
        run()
        return (torch.cuda.max_memory_allocated(device) - held) / 2**20
    if not sys.platform.startswith("linux"):
        return float("nan")
    # What earlier calls left behind or freed may still be resident, and would hide what this one takes. The allocator
    # gives back what it can: not the end of a heap that has grown in parts, megabytes in a process of long standing.
    gc.collect()
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
    # Writing 5 makes the kernel start the peak (VmHWM) anew from what is resident now.
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    run()
    return (_resident("VmHWM") - before) / 1024


def exhausted(error: Exception) -> bool:
    """Whether an error says that memory did not suffice; on a processor torch raises a mere RuntimeError."""
    plain = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return plain or isinstance(error, MemoryError | torch.OutOfMemoryError)


def bisect_on_error(
    run: Callable[[Sequence[T]], Sequence[R]],
    items: Sequence[T],
    *,
    splits: Callable[[Exception], bool] = exhausted,
    alone: Callable[[T, Exception], R] | None = None,
) -> list[R]:
    """Run on all items together; if that fails, on each half by itself, until the error has found its item.

    Args:
        run: Gives a result for each item, in order.
        items: At least one.
        splits: Which errors are worth another try with fewer items; others are raised.
        alone: Makes a result of the item that fails by itself, and its error, which otherwise is raised.
    """
    try:
        return list(run(items))
    except Exception as error:  # raised again, unless the caller says what to make of it
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
