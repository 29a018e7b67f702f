"""The thread that runs a model, and the requests that wait for it."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from expnet.errors import RefusedError
from expnet.explainer import Explainer
from expnet.serve.tasks import Check, Predict, Task, trial_of
from expnet.serve.traces import JobTrace
from expnet.text.texts import Text
from expnet.web.failures import is_failure, of_instance, raisable, unreadable
from expnet.web.limits import Item, Limits

_SHORT = 100  # characters; below, lengths do not matter


@dataclass(frozen=True, slots=True)
class _Pending:
    task: Task
    items: Sequence[Item]
    answer: "asyncio.Future[list[Any]]"
    trace: JobTrace

    def suits(self, other: "_Pending") -> bool:
        """Whether both can share a batch: texts are padded to the longest, which must not cost more than it saves."""
        short, long = sorted((self._length, other._length))
        return self.task == other.task and long <= 2 * short

    @property
    def _length(self) -> int:
        return max(_SHORT, *(len(text) + len(pair or "") for text, pair in self.items))


@dataclass(frozen=True, slots=True)
class _BatchedText:
    """A text of a batch: the number of its job, and its own in the job."""

    job: int
    instance: int
    text: Text


class Worker:
    """Runs the jobs of one model in the order they came; equal tasks on texts of similar length share a batch."""

    def __init__(
        self,
        explainer: Explainer,
        limits: Limits,
        *,
        ran: Callable[[int], None],
        traced: Callable[[Task, Sequence[Item]], AbstractContextManager[JobTrace]],
    ) -> None:
        """Take a model; `ran` is told the number of texts of each batch, `traced` of the texts of each request."""
        self._explainer = explainer
        self._limits = limits
        self._ran = ran
        self._traced = traced
        self._jobs: list[_Pending] = []
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
            ExpnetError: As the task raises for these texts.
        """
        if not self.running:
            raise RefusedError(503, "The server is shutting down, or has not started yet.")
        if (waiting := self.waiting) + len(items) > self._limits.waiting:
            raise RefusedError(
                429,
                f"{waiting} texts wait for this model, at most {self._limits.waiting} may: send {len(items)} later.",
            )
        with self._traced(task, items) as trace:
            job = _Pending(task, items, asyncio.get_running_loop().create_future(), trace)
            self._jobs.append(job)
            self._arrived.set()
            try:
                return await asyncio.wait_for(job.answer, self._limits.seconds)
            except TimeoutError as error:
                raise RefusedError(
                    503, f"There is no answer after {self._limits.seconds:g} seconds: send less, or try again later."
                ) from error

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            if self.waiting < self._limits.together:
                await asyncio.sleep(self._limits.pause)
            self._arrived.clear()
            while batch := self._take():
                for job in batch:
                    job.trace.taken(len(batch), sum(len(other.items) for other in batch))
                answers = await asyncio.get_running_loop().run_in_executor(self._thread, self._answers, batch)
                for job, answer in zip(batch, answers, strict=True):
                    if job.answer.done():  # the request was cancelled
                        continue
                    if isinstance(answer, BaseException):
                        job.answer.set_exception(answer)
                    else:
                        job.answer.set_result(answer)

    def _take(self) -> list[_Pending]:
        """Take the job that has waited longest, and those that can share its batch."""
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

    def _answers(self, batch: Sequence[_Pending]) -> list[list[Any] | Exception]:
        """Return the answers of each job, or its error. Runs in the model's thread."""
        places, failed, answers = list[_BatchedText](), dict[int, Exception](), dict[_BatchedText, Any]()
        for number, job in enumerate(batch):
            try:
                texts = job.task.prepare(self._explainer, job.items, self._limits)
                job.trace.read(self._explainer, texts)
            except BaseException as error:  # it is passed on to the request
                failed[number] = self._reason(job.task, error)
            else:
                places += [_BatchedText(number, instance, text) for instance, text in enumerate(texts)]
        self._together(batch, places, answers, failed)
        return [
            failed.get(number) or [answers[place] for place in places if place.job == number]
            for number in range(len(batch))
        ]

    def _together(
        self,
        batch: Sequence[_Pending],
        places: Sequence[_BatchedText],
        answers: dict[_BatchedText, Any],
        failed: dict[int, Exception],
    ) -> None:
        """Run texts as one batch; if that fails, bisect it until each error belongs to one text.

        Args:
            batch: The jobs, with equal tasks.
            places: The texts; those of jobs that have failed already are left out.
            answers: Receives the answer to each text that ran.
            failed: Receives the error of each job that failed, by the job's number.
        """
        places = [place for place in places if place.job not in failed]
        if not places:
            return
        task = batch[0].task
        try:
            answers.update(zip(places, task.run(self._explainer, [place.text for place in places]), strict=True))
            self._ran(len(places))
            return
        except BaseException as error:  # likewise
            if len(places) == 1:
                job, instance = places[0].job, places[0].instance
                reason = self._reason(task, error)
                failed[job] = reason if len(batch[job].items) == 1 else of_instance(reason, instance)
                return
        # Outside the `except` block: inside it, the error still holds the memory of the failed attempt.
        middle = len(places) // 2
        for half in (places[:middle], places[middle:]):
            self._together(batch, half, answers, failed)

    def _reason(self, task: Task, error: BaseException) -> Exception:
        """Return the error for the client; the text is to blame if the model still works on another text."""
        told = raisable(error)
        if not is_failure(told):
            return told
        return unreadable(told) if self._works(task) else told

    def _works(self, task: Task) -> bool:
        trial = Predict() if isinstance(task, Check) else task
        try:
            trial.run(self._explainer, trial.prepare(self._explainer, [trial_of(self._explainer)], self._limits))
        except BaseException:  # what is wrong is known already
            return False
        return True
