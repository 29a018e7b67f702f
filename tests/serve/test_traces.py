"""A request is one trace: the request, its texts waiting, the model at work. Nothing that a client wrote is in it."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen

import pytest
from opentelemetry import trace
from starlette.testclient import TestClient

from expnet.errors import InputError
from expnet.explainer import Explainer
from expnet.model.classifier import Classifier
from expnet.serve import Limits, create_app
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.models import build, save
from tests.serve.test_serve import EXPLAIN, PREDICT, SECRET, Slow, hold, served, wait_for

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otel")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from expnet.serve.otel import OpenTelemetry, from_environment

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


@pytest.fixture
def spans():
    """What an exporter gets: the spans that have ended, in that order."""
    return InMemorySpanExporter()


@pytest.fixture
def provider(spans):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider


@pytest.fixture
def client(explainer, provider):
    with TestClient(create_app({"tiny": explainer}, traces=OpenTelemetry(provider))) as client:
        yield client


def by_name(spans):
    """Return the spans by name, of which there must not be two of one name."""
    ended = spans.get_finished_spans()
    assert len({span.name for span in ended}) == len(ended)
    return {span.name: span for span in ended}


def test_a_request_is_one_trace_that_its_client_may_have_begun(client, spans, explainer):
    asked = {"instances": ["a good film", "bad"], "method": "saliency"}
    assert client.post(EXPLAIN, json=asked, headers=PARENT).status_code == 200
    named = by_name(spans)
    assert list(named) == ["wait", "explain", "POST /v1/models/{name}:explain"]  # in the order they ended
    wait, explain, request = named.values()
    assert {f"{span.context.trace_id:032x}" for span in named.values()} == {TRACE}
    assert f"{request.parent.span_id:016x}" == SPAN
    assert {wait.parent.span_id, explain.parent.span_id} == {request.context.span_id}
    assert request.start_time <= wait.start_time <= wait.end_time <= explain.start_time
    assert explain.end_time <= request.end_time
    assert request.kind is trace.SpanKind.SERVER
    assert dict(request.attributes) == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "http.route": "/v1/models/{name}:explain",
        "http.response.status_code": 200,
    }
    asked = {"expnet.model": "tiny", "expnet.method": "saliency", "expnet.texts": 2}
    assert dict(wait.attributes) == asked
    tokens = int(explainer.classifier.encode(["a good film", "bad"]).mask.sum())
    batch = {"expnet.batch.requests": 1, "expnet.batch.texts": 2, "expnet.tokens": tokens}
    assert dict(explain.attributes) == asked | batch


def test_every_kind_of_work_has_a_span_of_its_name(client, spans):
    client.post(PREDICT, json={"instances": ["a good film"], "truncate": True})
    predict = by_name(spans)["predict"]
    assert "expnet.method" not in predict.attributes
    spans.clear()
    form = {"text": "a good film", "method": ["expnet", "saliency"], "heads": "1"}
    client.post("/", data=form, headers={"origin": "http://testserver"})
    names = {span.name: span for span in spans.get_finished_spans()}
    assert {"compare", "check", "POST /"} <= set(names)
    assert names["compare"].attributes["expnet.method"] == ("expnet", "saliency")


def test_requests_that_share_a_batch_are_traces_of_their_own(explainer, provider, spans):
    slow = Slow(explainer)
    app = create_app({"tiny": slow}, traces=OpenTelemetry(provider))

    async def together(client):
        first = await hold(client, slow)
        more = [asyncio.create_task(client.post(EXPLAIN, json={"instances": [text]})) for text in ("one", "two")]
        await wait_for(client, 2)
        slow.go.set()
        await asyncio.gather(first, *more)

    asyncio.run(served(app, together))
    runs = [span for span in spans.get_finished_spans() if span.name == "explain"]
    assert len({span.context.trace_id for span in runs}) == 3
    shares = [(span.attributes["expnet.batch.requests"], span.attributes["expnet.batch.texts"]) for span in runs]
    assert sorted(shares) == [(1, 1), (2, 2), (2, 2)]
    waited = [span.end_time - span.start_time for span in spans.get_finished_spans() if span.name == "wait"]
    assert len(waited) == 3


def test_what_fails_or_takes_too_long_says_so(explainer, provider, spans):
    slow = Slow(explainer)
    app = create_app({"tiny": slow}, limits=Limits(seconds=4), traces=OpenTelemetry(provider))

    async def late(client):
        answer = await client.post(EXPLAIN, json={"instances": ["first"]})
        slow.go.set()
        return answer.status_code

    assert asyncio.run(served(app, late)) == 503
    named = by_name(spans)
    assert named["explain"].attributes["error.type"] == "RefusedError"
    request = named["POST /v1/models/{name}:explain"]
    assert request.attributes["error.type"] == "503"
    assert {named["explain"].status.status_code, request.status.status_code} == {trace.StatusCode.ERROR}
    assert named["wait"].status.status_code is trace.StatusCode.UNSET


def test_who_goes_away_while_waiting_leaves_a_span_that_has_ended(explainer, provider, spans):
    slow = Slow(explainer)
    app = create_app({"tiny": slow}, traces=OpenTelemetry(provider))

    async def gone(client):
        first = await hold(client, slow)
        waits = asyncio.create_task(client.post(EXPLAIN, json={"instances": ["two"]}))
        await wait_for(client, 1)
        waits.cancel()
        await asyncio.wait({waits})
        slow.go.set()
        await first

    asyncio.run(served(app, gone))
    (given_up,) = (span for span in spans.get_finished_spans() if "error.type" in span.attributes)
    assert (given_up.name, given_up.attributes["error.type"]) == ("wait", "CancelledError")


def test_no_text_path_or_message_is_in_a_trace(explainer, provider, spans, monkeypatch):
    def fail(*args, **settings):
        raise ValueError(f"cannot read {SECRET}")

    # FastAPI would trace by itself, with paths, once the process has a provider.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    with TestClient(create_app({"tiny": explainer}, traces=OpenTelemetry())) as client:
        client.post(EXPLAIN, json={"instances": [SECRET]}, headers={"baggage": f"a={SECRET}", "x": SECRET})
        client.post(EXPLAIN, json={"instances": [SECRET], "target": SECRET})
        client.post(EXPLAIN, json={"instances": [SECRET], "method": SECRET, SECRET: 1})
        client.get(f"/{SECRET}?text={SECRET}")
        client.request(SECRET.upper(), "/")
        client.post(EXPLAIN, content=f'{{"{SECRET}', headers={"content-type": "application/json"})
        client.post("/", data={"text": SECRET, "method": SECRET}, headers={"origin": "http://testserver"})
        monkeypatch.setattr(Explainer, "explain", fail)
        assert client.post(EXPLAIN, json={"instances": [SECRET]}).status_code == 500
    ended = spans.get_finished_spans()
    assert len([span for span in ended if span.kind is trace.SpanKind.SERVER]) == 8
    assert {span.instrumentation_scope.name for span in ended} == {"expnet"}
    assert SECRET.lower() not in "".join(span.to_json() for span in ended).lower()
    assert {"_OTHER other", "GET other"} <= {span.name for span in ended}


def test_what_the_caller_does_not_sample_is_not_recorded_nor_read_a_second_time(client, spans, monkeypatch):
    reads, encode = [], Classifier.encode
    monkeypatch.setattr(Classifier, "encode", lambda *args, **asked: reads.append(1) or encode(*args, **asked))
    for sampled in ("00", "01"):
        reads.append(sampled)
        client.post(
            PREDICT, json={"instances": ["a good film"]}, headers={"traceparent": f"00-{TRACE}-{SPAN}-{sampled}"}
        )
    once, twice = reads[1 : reads.index("01")], reads[reads.index("01") + 1 :]
    assert len(twice) == len(once) + 1
    assert len(spans.get_finished_spans()) == 3


def test_a_server_without_traces_imports_none_of_it_and_wraps_nothing():
    code = """
import sys
from expnet.serve import create_app
from expnet.serve.traces import Traces
app = lambda scope, receive, send: None
assert Traces().wrap(app) is app
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_exporters_are_those_that_the_environment_names(monkeypatch):
    def processors():
        provider = from_environment()._provider
        try:
            return [processor.span_exporter for processor in provider._active_span_processor._span_processors]
        finally:
            provider.shutdown()

    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    assert processors() == []
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console, otlp")
    console, otlp = processors()
    assert isinstance(console, ConsoleSpanExporter)
    assert type(otlp).__module__ == "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "smoke/signals")
    with pytest.raises(InputError, match=r"no exporter 'otlp_proto_smoke'.*none, console, otlp_proto_http"):
        from_environment()


@pytest.fixture
def collector():
    """A server that takes what an exporter sends; its bodies and where they went."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    server.received = received
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_command_sends_traces_to_a_collector_also_as_it_is_stopped(explainer, collector, tmp_path, monkeypatch):
    save(tmp_path / "classifier", build("bert"), typed=True)
    explainer.network.save_pretrained(tmp_path / "network")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")  # so that what is sent is sent at the end
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop,region=eu")
    called = ["serve", f"tiny={tmp_path / 'classifier'}", "--explainer", f"tiny={tmp_path / 'network'}", "--port", "0"]
    program = "import torch; torch.set_num_threads(1); from expnet.cli import main; main()"
    command = [sys.executable, "-c", program, *called, "--traces"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    watch = threading.Timer(120, process.kill)
    watch.start()
    try:
        while not (match := re.search(r"running on (http://127.0.0.1:\d+)", line := process.stderr.readline())):
            assert line, "it never ran"
        body = json.dumps({"instances": ["a good film"]}).encode()
        headers = {"content-type": "application/json", **PARENT}
        urlopen(Request(f"{match[1]}{EXPLAIN}", body, headers), timeout=60).close()
        process.send_signal(signal.SIGTERM)
        logged = process.stderr.read()
        assert process.wait(60) == -signal.SIGTERM, logged
    finally:
        watch.cancel()
        process.kill()
        process.wait()
        process.stderr.close()
    ((path, content),) = collector.received
    assert path == "/v1/traces"
    (sent,) = ExportTraceServiceRequest.FromString(content).resource_spans
    about = {pair.key: pair.value.string_value for pair in sent.resource.attributes}
    assert (about["service.name"], about["region"]) == ("shop", "eu")
    names = [span.name for scope in sent.scope_spans for span in scope.spans]
    assert names == ["wait", "explain", "POST /v1/models/{name}:explain"]
    assert b"film" not in content
