"""Make the same shards in the processes of a Ray cluster, through Ray Data."""

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from expnet.batch.job import Engine, Work
from expnet.errors import BatchError, require_extra
from expnet.explainer import Explainer
from expnet.identity import models


def on_ray(
    load: Callable[[], Explainer],
    *,
    workers: int = 2,
    address: str | None = None,
    gpus: int | float = 0,
    threads: int = 1,
) -> Engine:
    """Make shards in several processes, on this machine or on a cluster.

    Every process must see the input and the output under the same paths, and have expnet installed. A shard is made by
    the same code as without Ray and is written atomically, so Ray's own checkpoints are not needed: an
    interrupted job resumes with the missing shards.

    Args:
        load: Loads the explainer; called once in each process.
        workers: Number of processes.
        address: Of a running cluster, "auto" on one of its machines; by default Ray starts here and stops afterwards.
        gpus: GPUs, or a share of one, for each process.
        threads: CPU threads for each process.

    Raises:
        MissingExtraError: If Ray is not installed.
    """
    require_extra("ray", "ray")

    def run(work: Work, numbers: Sequence[int]) -> Iterator[Counter[str]]:
        if not numbers:
            return
        import ray

        ours = not ray.is_initialized()
        if ours:
            _start(address, workers * threads)
        try:
            yield from _results(load, work, numbers, workers, gpus, threads)
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]  # after the traceback
            raise BatchError(f"A Ray process failed; finished shards are kept. {reason}") from error
        finally:
            if ours:
                ray.shutdown()

    return run


class _ShardWorker:
    """One process: loads the explainer, then makes whatever shards Ray gives it."""

    def __init__(self, load: Callable[[], Explainer], work: Work, threads: int) -> None:
        torch.set_num_threads(threads)
        self.explainer, self.work, self.reader = load(), work, work.reader()
        models_here = models(self.explainer)
        if different := [name for name, value in models_here.items() if work.run[name] != value]:
            raise BatchError(
                f"This process loaded another model than the one that started the job: {different} differ. Load the "
                "same model in every process."
            )

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        made = (self.work.make(int(number), self.explainer, self.reader) for number in batch["number"])
        return {"statuses": [json.dumps(counts) for counts in made]}


def _start(address: str | None, processors: int) -> None:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports no usage to its makers
    if address is None:
        # One more than the workers take: Ray needs it to feed them.
        ray.init(address="local", num_cpus=processors + 1, include_dashboard=False, logging_level=logging.WARNING)
    else:
        ray.init(address=address, logging_level=logging.WARNING)


def _results(
    load: Callable[[], Explainer],
    work: Work,
    numbers: Sequence[int],
    workers: int,
    gpus: int | float,
    threads: int,
) -> Iterator[Counter[str]]:
    import ray.data

    shards = ray.data.from_items([{"number": number} for number in numbers], override_num_blocks=len(numbers))
    shards.context.enable_progress_bars = False  # the job shows its own
    done = shards.map_batches(
        _ShardWorker,
        fn_constructor_args=(load, work, threads),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=threads,
        num_gpus=gpus,
    )
    for row in done.iter_rows():
        yield Counter(json.loads(row["statuses"]))
