"""The one clock for all timing: candidates take turns, so that other load on the machine affects them alike."""

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from expnet.runtime.progress import track

Run = Callable[[], object]
Clock = Literal["seconds", "processor"]
_SURE, _RARELY = 3, 5  # rounds before a candidate counts as slow, and every how many rounds it runs from then on


@dataclass(frozen=True, slots=True)
class Took:
    """The time of one run.

    Attributes:
        seconds: Wall-clock time.
        processor: CPU time of this process in seconds, summed over its threads; other processes affect it less. Work on
            a GPU is not included.
    """

    seconds: float
    processor: float

    def on(self, clock: Clock) -> float:
        """Return the seconds by one of the two clocks."""
        return self.seconds if clock == "seconds" else self.processor


@dataclass(frozen=True, slots=True)
class Times:
    """All runs of one candidate, and those of the reference in the same rounds.

    Attributes:
        took: Its runs, one for each round in which it ran.
        reference: The runs of the reference in these rounds.
    """

    took: tuple[Took, ...]
    reference: tuple[Took, ...]

    def median(self, clock: Clock = "seconds") -> float:
        """Return the median time of a run, in seconds."""
        return statistics.median(seconds.on(clock) for seconds in self.took)

    def ratios(self, clock: Clock = "seconds") -> list[float]:
        """Return, for each round, the candidate's time over that of the reference."""
        return [own.on(clock) / of.on(clock) for own, of in zip(self.took, self.reference, strict=True)]


class Stopwatch:
    """Starts when it is made; for what runs only once, such as a whole job in a process of its own."""

    def __init__(self) -> None:
        """Start both clocks."""
        self._seconds, self._processor = time.perf_counter(), time.process_time()

    def read(self) -> Took:
        """Return the time since the start."""
        return Took(time.perf_counter() - self._seconds, time.process_time() - self._processor)


def timed(run: Run, device: torch.device | None = None) -> Took:
    """Time one run, including the work that it leaves to a GPU."""
    watch = Stopwatch()
    run()
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
    return watch.read()


def interleave(
    runs: Mapping[str, Run],
    *,
    reference: str,
    rounds: int,
    device: torch.device | None = None,
    seconds: float = float("inf"),
    slow: float = float("inf"),
    warm: bool = False,
    progress: bool = False,
) -> dict[str, Times]:
    """Time candidates in rounds: in each, every one runs once, in an order that changes from round to round.

    Args:
        runs: The candidates, by name.
        reference: The one that the others are compared with; it runs in every round.
        rounds: Number of rounds.
        device: Where they run; a GPU is waited for.
        seconds: Most time to spend on one candidate. It stops running when that is used up; if its warm-up run alone
            uses it up, that run counts.
        slow: A candidate that takes more than so many times the reference runs, after 3 rounds, in every fifth.
        warm: Whether all have just run; otherwise each does before the first round.
        progress: Show a progress bar.

    Returns:
        The times of each candidate, in the order of `runs`.
    """
    taken: dict[str, list[tuple[Took, Took]]] = {name: [] for name in runs}
    spent = dict.fromkeys(runs, 0.0)
    if not warm:
        runs[reference]()  # once more, as the first run of all may be slower than any
        first = {name: timed(run, device) for name, run in runs.items()}
        spent = {name: took.seconds for name, took in first.items()}
        taken |= {name: [(took, first[reference])] for name, took in first.items() if took.seconds >= seconds}
    order, chance = list(runs), random.Random(0)
    for number in track(range(rounds), "rounds", show=progress):
        chance.shuffle(order)
        due = [name for name in order if name != reference and _due(taken[name], spent[name], number, seconds, slow)]
        if not due and len(runs) > 1:
            continue
        round_times = {name: timed(runs[name], device) for name in order if name in due or name == reference}
        for name, took in round_times.items():
            taken[name].append((took, round_times[reference]))
            spent[name] += took.seconds
    return {
        name: Times(tuple(took for took, _ in pairs), tuple(of for _, of in pairs)) for name, pairs in taken.items()
    }


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return first quartile, median and third quartile; of a single value, three times that value."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return low, middle, high


def _due(pairs: Sequence[tuple[Took, Took]], spent: float, number: int, seconds: float, slow: float) -> bool:
    if spent >= seconds:
        return False
    if len(pairs) < _SURE or number % _RARELY == 0:
        return True
    return statistics.median(took.seconds / reference.seconds for took, reference in pairs) <= slow
