"""Traces of a server's requests for OpenTelemetry. They never hold texts, paths or messages of errors."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points

from expnet.errors import InputError, require_extra

for _package in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
    require_extra(_package, "otel")

from opentelemetry import context, propagate, trace
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from expnet._version import __version__
from expnet.explainer import Explainer
from expnet.serve.tasks import Compare, Explain, Heads, Predict, Task
from expnet.serve.traces import JobTrace, Traces
from expnet.text.texts import Text
from expnet.web.limits import Item

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_METHOD = context.create_key("expnet-http-method")
_GROUP = "opentelemetry_traces_exporter"


class OpenTelemetry(Traces):
    """A trace for each request: the request, its texts waiting in the queue, and the model at work on them.

    A request whose `traceparent` header names a trace is part of that trace.
    """

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        """Record with a provider of spans; by default the process's own, as `opentelemetry.trace` has it."""
        self._provider = trace.get_tracer_provider() if provider is None else provider
        self._tracer = self._provider.get_tracer("expnet", __version__)

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """Return an application whose requests have a span, the parent of whatever is recorded in them."""

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
            token = context.attach(context.set_value(_METHOD, method, propagate.extract(Headers(scope=scope))))
            attributes = {"http.request.method": method, "url.scheme": scope["scheme"]}
            try:
                with self._tracer.start_as_current_span(
                    method,
                    kind=trace.SpanKind.SERVER,
                    attributes=attributes,
                    record_exception=False,  # its message may quote a text
                    set_status_on_exception=False,
                ):
                    await app(scope, receive, send)
            finally:
                context.detach(token)

        return traced

    def answered(self, route: str, status: int) -> None:
        """Name the request's span by its route, and say how it ended."""
        span = trace.get_current_span()
        span.update_name(f"{context.get_value(_METHOD)} {route}")
        span.set_attributes({"http.route": route, "http.response.status_code": status})
        if status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(trace.StatusCode.ERROR)

    @contextmanager
    def job(self, model: str, task: Task, items: Sequence[Item]) -> Iterator[JobTrace]:
        """Yield what makes a span of the time that texts wait, and one of the time that the model takes."""
        if not trace.get_current_span().get_span_context().is_valid:  # the server reads a text as it starts
            with super().job(model, task, items) as nobody:
                yield nobody
            return
        spans = _JobSpans(self._tracer, task, {"expnet.model": model, "expnet.texts": len(items), **_methods(task)})
        try:
            yield spans
        except BaseException as error:
            spans.fail(type(error).__name__)
            raise
        finally:
            spans.span.end()

    def flush(self) -> None:
        """Send what the provider has not sent yet, if it can."""
        if isinstance(self._provider, TracerProvider):
            self._provider.force_flush()


class _JobSpans(JobTrace):
    """The spans of some texts: one while they wait, then one while they run."""

    def __init__(self, tracer: trace.Tracer, task: Task, attributes: dict[str, str | int | list[str]]) -> None:
        self._tracer, self._task, self._attributes = tracer, task, attributes
        self._context = context.get_current()  # of the request: the spans that follow begin outside it
        self.span = tracer.start_span("wait", attributes=attributes)

    def taken(self, requests: int, texts: int) -> None:
        self.span.end()
        batch = {"expnet.batch.requests": requests, "expnet.batch.texts": texts}
        name = type(self._task).__name__.lower()
        self.span = self._tracer.start_span(name, self._context, attributes={**self._attributes, **batch})

    def read(self, explainer: Explainer, texts: Sequence[Text]) -> None:
        if self.span.is_recording():  # it takes the tokenizer a second time
            encoding = explainer.classifier.encode(texts, truncate=_truncates(self._task))
            self.span.set_attribute("expnet.tokens", int(encoding.mask.sum()))

    def fail(self, kind: str) -> None:
        self.span.set_attribute("error.type", kind)
        self.span.set_status(trace.StatusCode.ERROR)


def _methods(task: Task) -> dict[str, str | list[str]]:
    match task:
        case Explain() | Heads():
            return {"expnet.method": task.method}
        case Compare():
            return {"expnet.method": [explain.method for explain in task.explains]}
        case _:
            return {}


def _truncates(task: Task) -> bool:
    match task:
        case Explain() | Predict():
            return task.truncate
        case Compare():
            return task.explains[0].truncate
        case _:
            return False


def from_environment() -> OpenTelemetry:
    """Return traces that go where the variables OTEL_* say: by default to a collector on this machine, over HTTP.

    Raises:
        InputError: If there is no exporter of a name in OTEL_TRACES_EXPORTER.
    """
    resource = Resource.create({"service.name": "expnet", "service.version": __version__})
    provider = TracerProvider(resource=resource.merge(OTELResourceDetector().detect()))
    for name in (os.environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(","):
        if name.strip() != "none":
            provider.add_span_processor(BatchSpanProcessor(_exporter(name.strip())))
    return OpenTelemetry(provider)


def _exporter(name: str) -> SpanExporter:
    if name == "otlp":
        protocols = (os.environ.get(f"OTEL_EXPORTER_OTLP_{of}PROTOCOL") for of in ("TRACES_", ""))
        protocol = next(filter(None, protocols), "http/protobuf")
        name = "otlp_proto_" + protocol.partition("/")[0]
    installed = {point.name: point for point in entry_points(group=_GROUP)}
    if name not in installed:
        raise InputError(
            f"There is no exporter {name!r} of OpenTelemetry here, which OTEL_TRACES_EXPORTER or "
            f"OTEL_EXPORTER_OTLP_PROTOCOL asks for. There are: none, {', '.join(sorted(installed))}; "
            "others are packages of their own."
        )
    exporter: SpanExporter = installed[name].load()()
    return exporter
