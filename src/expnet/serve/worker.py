"""The one thread of a model, and the requests that wait for it."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from expnet.errors import RefusedError
from expnet.explainer import Explainer
from expnet.serve.limits import Item, Limits
from expnet.serve.tasks import Task
from expnet.texts import Text

_SHORT = 100  # characters; below, lengths do not matter


@dataclass(frozen=True, slots=True)
class _Job:
    task: Task
    items: Sequence[Item]
    answer: "asyncio.Future[list[Any]]"

    def suits(self, other: "_Job") -> bool:
        """Whether both can share a batch: texts are padded to the longest, which must not cost more than it saves."""
        short, long = sorted((self._length, other._length))
        return self.task == other.task and long <= 2 * short

    @property
    def _length(self) -> int:
        return max(_SHORT, *(len(text) + len(pair or "") for text, pair in self.items))


class Worker:
    """Runs what is asked of one model, first come first served; equal tasks on texts of like length share a batch."""

    def __init__(
        self, explainer: Explainer, limits: Limits, *, ran: Callable[[int], None] = lambda texts: None
    ) -> None:
        """Take a model; `ran` is told the number of texts of each batch."""
        self._explainer = explainer
        self._limits = limits
        self._ran = ran
        self._jobs: list[_Job] = []
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="expnet-model")
        self._loop: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Texts that wait; those being explained do not count."""
        return sum(len(job.items) for job in self._jobs if not job.answer.done())

    @property
    def running(self) -> bool:
        """Whether requests are taken."""
        return self._loop is not None and not self._loop.done()

    def start(self) -> None:
        """Begin to take requests, in the event loop that runs."""
        self._loop = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Take no more requests; what still waits is refused. A batch that runs is not waited for."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait({self._loop})
        for job in self._jobs:
            if not job.answer.done():
                job.answer.set_exception(RefusedError(503, "The server is shutting down."))
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def do(self, task: Task, items: Sequence[Item]) -> list[Any]:
        """Wait for a place in a batch, and return an answer for each text. If cancelled, the place is given up.

        Raises:
            RefusedError: If too many texts wait (429), or the answer takes too long or the server stops (503).
            ExpnetError: What the task says to these texts.
        """
        if not self.running:
            raise RefusedError(503, "The server is shutting down, or has not started yet.")
        if (waiting := self.waiting) + len(items) > self._limits.waiting:
            raise RefusedError(
                429,
                f"{waiting} texts wait for this model, at most {self._limits.waiting} may: send {len(items)} later.",
            )
        job = _Job(task, items, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._arrived.set()
        try:
            return await asyncio.wait_for(job.answer, self._limits.seconds)
        except TimeoutError as error:
            raise RefusedError(
                503, f"There is no answer after {self._limits.seconds:g} seconds: ask for less, or later."
            ) from error

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            if self.waiting < self._limits.together:
                await asyncio.sleep(self._limits.pause)
            self._arrived.clear()
            while batch := self._take():
                found = await asyncio.get_running_loop().run_in_executor(self._thread, self._answers, batch)
                for job, answer in zip(batch, found, strict=True):
                    if job.answer.done():  # nobody waits for it any more
                        continue
                    if isinstance(answer, BaseException):
                        job.answer.set_exception(answer)
                    else:
                        job.answer.set_result(answer)

    def _take(self) -> list[_Job]:
        """Take the job that has waited longest, and those that suit it and have room beside it."""
        self._jobs = [job for job in self._jobs if not job.answer.done()]
        batch, rest, texts = self._jobs[:1], [], sum(len(job.items) for job in self._jobs[:1])
        for job in self._jobs[1:]:
            if job.suits(batch[0]) and texts + len(job.items) <= self._limits.together:
                batch.append(job)
                texts += len(job.items)
            else:
                rest.append(job)
        self._jobs = rest
        return batch

    def _answers(self, batch: Sequence[_Job]) -> list[list[Any] | Exception]:
        """Return what each job gets: answers, or what went wrong with it. Runs in the thread of the model."""
        answers: dict[int, list[Any] | Exception] = {}
        ready: list[tuple[int, list[Text]]] = []
        for number, job in enumerate(batch):
            try:
                ready.append((number, job.task.prepare(self._explainer, job.items, self._limits)))
            except Exception as error:  # it is handed to whoever asked
                answers[number] = error
        self._together(batch[0].task, ready, answers)
        return [answers[number] for number in range(len(batch))]

    def _together(
        self, task: Task, ready: Sequence[tuple[int, list[Text]]], answers: dict[int, list[Any] | Exception]
    ) -> None:
        """Run jobs as one batch; if that fails, each half by itself, until the error has found its job."""
        if not ready:
            return
        texts = [text for _, part in ready for text in part]
        try:
            found = iter(task.run(self._explainer, texts))
            self._ran(len(texts))
            answers.update((number, [next(found) for _ in part]) for number, part in ready)
        except Exception as error:  # likewise
            if len(ready) == 1:
                answers[ready[0][0]] = error
                return
            middle = len(ready) // 2
            self._together(task, ready[:middle], answers)
            self._together(task, ready[middle:], answers)
