"""What a server tells of a request while it is answered; here nobody, in `otel` OpenTelemetry."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from starlette.types import ASGIApp

from expnet.explainer import Explainer
from expnet.serve.tasks import Task
from expnet.text.texts import Text
from expnet.web.limits import Item


class JobTrace:
    """Told how the texts of one request fare."""

    def taken(self, requests: int, texts: int) -> None:
        """Told that they wait no longer: they are part of a batch of so many requests and texts."""

    def read(self, explainer: Explainer, texts: Sequence[Text]) -> None:
        """Told the texts before they run, in the model's thread."""


_NOBODY = JobTrace()


class Traces:
    """Told of requests and their texts. This one records nothing and costs nothing."""

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """Return an application that answers as this one does."""
        return app

    def answered(self, route: str, status: int) -> None:
        """Told of an answer, while its request is the current one; the route is a pattern, not what a client wrote."""

    @contextmanager
    def job(self, model: str, task: Task, items: Sequence[Item]) -> Iterator[JobTrace]:
        """Yield what is to be told of texts from when they arrive for a model until they are answered or given up."""
        yield _NOBODY

    def flush(self) -> None:
        """Send what has not been sent yet."""
