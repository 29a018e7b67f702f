"""How much memory a call takes."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch


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
    # Writing 5 makes the kernel start the peak (VmHWM) anew from what is resident now.
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    run()
    return (_resident("VmHWM") - before) / 1024


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(field)))
