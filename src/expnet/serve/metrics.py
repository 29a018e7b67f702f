"""A server's figures for Prometheus: requests, times, batches, texts waiting. They never hold texts."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from expnet.serve.worker import Worker
from expnet.web import refusals

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        """Start at 0, in a registry of its own."""
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter("expnet_requests", "Requests answered.", ["route", "status"], registry=registry)
        self._seconds = Histogram(
            "expnet_request_seconds", "Time until a request was answered.", ["route"], registry=registry
        )
        self._asked = Counter(
            "expnet_model_requests", "What a model was asked to do.", ["model", "task", "status"], registry=registry
        )
        self._texts = Counter(
            "expnet_model_texts", "Texts for which a model gave an answer.", ["model", "task"], registry=registry
        )
        self._batches = Histogram(
            "expnet_batch_texts", "Texts run as one batch.", ["model"], buckets=_TEXTS, registry=registry
        )
        self._waiting = Gauge("expnet_waiting_texts", "Texts that wait for a model.", ["model"], registry=registry)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request; the route is a pattern, not what a client wrote."""
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    @contextmanager
    def asked(self, model: str, task: str, texts: int) -> Iterator[None]:
        """Count what a model is asked to do with so many texts, by its end: the texts only if it succeeds."""
        status = 500
        try:
            yield
            status = 200
            self._texts.labels(model, task).inc(texts)
        except asyncio.CancelledError:
            status = refusals.GONE
            raise
        except refusals.EXPECTED as error:
            status = refusals.refused(error).status
            raise
        finally:
            self._asked.labels(model, task, status).inc()

    def ran(self, model: str, texts: int) -> None:
        """Count a batch of so many texts."""
        self._batches.labels(model).observe(texts)

    def watch(self, model: str, worker: Worker) -> None:
        """Show the number of texts that wait for a model."""
        self._waiting.labels(model).set_function(lambda: worker.waiting)

    def page(self) -> bytes:
        """Return all figures in Prometheus' format."""
        return generate_latest(self._registry)
