"""A real server, under load, among clients that behave badly, and told to stop."""

import inspect
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from urllib.request import urlopen

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.testclient import TestClient
from typer.testing import CliRunner

from expnet.cli.app import app
from expnet.cli.hosts import served_names
from expnet.cli.serve import serve as command
from expnet.errors import InputError
from expnet.serve import Limits
from expnet.web import running
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.live import Unhurried, live
from tests.models import build, save

LIMITS = Limits(body=5000, texts=4, waiting=8, seconds=10)
HEAD = (
    b"POST /v1/models/tiny:explain HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n"
)


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


@pytest.fixture(scope="module")
def server(explainer):
    with live({"tiny": explainer}, LIMITS) as server:
        yield server


def at_once(server, texts, clients):
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(server.explain, texts))


# Load


def test_below_the_queue_limit_every_request_is_answered_with_its_own_text(server, explainer):
    texts = [f"text {number} {'good' * (number % 3)}" for number in range(64)]
    answers = at_once(server, texts, clients=8)
    assert [status for status, _ in answers] == [200] * len(texts)
    for text, (_, answer) in zip(texts, answers, strict=True):
        (explanation,) = answer["explanations"]
        assert explanation["text"] == text
        alone = [word.score for word in explainer.explain(text).words]
        assert [word["score"] for word in explanation["words"]] == pytest.approx(alone, abs=1e-5)
    batches = float(re.search(r'expnet_batch_texts_count\{model="tiny"\} (.*)', server.get("/metrics"))[1])
    assert batches < len(texts)  # some were explained together


def test_above_the_queue_limit_some_are_refused_cleanly_and_later_ones_are_not(explainer):
    with live({"tiny": Unhurried(explainer, 0.3)}, LIMITS) as server:
        answers = at_once(server, [f"text {number}" for number in range(40)], clients=40)
        statuses = [status for status, _ in answers]
        assert set(statuses) == {200, 429}
        assert statuses.count(200) >= LIMITS.waiting
        assert all("texts wait for this model, at most 8 may" in answer["error"] for s, answer in answers if s == 429)
        assert server.explain("afterwards")[0] == 200


# Bad clients


def test_whoever_goes_away_leaves_nothing_behind(explainer):
    slow = Unhurried(explainer, 1.0)
    with live({"tiny": slow}, LIMITS) as server, ThreadPoolExecutor(1) as pool:
        half = server.connect(HEAD % 1000 + b'{"instances": ["')
        half.close()
        first = pool.submit(server.explain, "first")
        assert slow.begun.wait(10)
        body = json.dumps({"instances": ["a", "b", "c", "d"]}).encode()
        gone = [server.connect(HEAD % len(body) + body) for _ in range(2)]
        wait_until(server, 8)  # as many as may
        for connection in gone:
            connection.close()
        wait_until(server, 0)
        assert first.result()[0] == 200
        assert server.explain("next")[0] == 200
        assert 'status="499"} 2' in server.get("/metrics").replace(".0", "")


def wait_until(server, texts):
    end = time.monotonic() + 20
    while f'expnet_waiting_texts{{model="tiny"}} {texts:.1f}' not in server.get("/metrics"):
        assert time.monotonic() < end, f"there were never {texts} texts that wait"


def test_a_body_that_comes_too_slowly_is_given_up(explainer):
    with live({"tiny": explainer}, Limits(seconds=0.5)) as server:
        slow = server.connect(HEAD % 1000 + b'{"instances"')
        assert server.explain("meanwhile")[0] == 200
        assert received(slow).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("size", [5001, 200_000])
def test_a_body_that_is_too_large_is_refused_even_to_who_is_still_sending(server, size):
    sender = server.connect(HEAD % size)
    sender.settimeout(20)
    try:
        for _ in range(0, size, 1000):
            sender.sendall(b" " * 1000)
        sender.sendall(b" ")
    except (BrokenPipeError, ConnectionResetError):
        assert size > 8 * LIMITS.body  # far too large: the server has hung up
        return
    assert received(sender).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"POST /v1/models/tiny:explain HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nnot a size\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["binary", "length", "chunks", "address"],
)
def test_what_is_no_http_is_refused_and_the_server_goes_on(server, sent):
    sender = server.connect(sent)
    assert received(sender).startswith(b"HTTP/1.1 400 ")
    assert server.explain("next")[0] == 200


def received(connection: socket.socket) -> bytes:
    with connection:
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
            if b"\r\n\r\n" in part:
                break
    return b"".join(parts)


# The description


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        *((path, "positive") for path in ("/v1/models", "/v1/models/{name}", "/readyz")),
        *((path, "positive") for path in ("/v2", "/v2/health/ready", "/v2/models/{name}", "/v2/models/{name}/ready")),
        *((f"/v2/models/{{name}}/{verb}", mode) for verb in ("infer", "explain") for mode in ("positive", "negative")),
        *(
            (f"/v1/models/{{name}}:{verb}", mode)
            for verb in ("predict", "explain")
            for mode in ("positive", "negative")
        ),
    ],
)
def test_the_server_does_what_its_description_says(server, path, mode):
    description = schemathesis.openapi.from_url(f"{server.url}openapi.json")
    operation = next(candidate.ok() for candidate in description.get_all_operations() if candidate.ok().path == path)

    @settings(max_examples=20, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
    def holds(case):
        if case.method == "POST":
            case.path_parameters["name"] = "tiny"  # else nearly all are told that there is no such model
        answer = case.call()
        if answer.status_code == 413:  # what is too large is not read, so that nothing else is said of it
            assert len(answer.request.body) > LIMITS.body
        else:
            # Which methods, options, classes and sizes there are is not in the description.
            case.validate_response(answer, excluded_checks=[positive_data_acceptance])

    holds()


# The end


def test_what_was_asked_before_the_end_is_answered(explainer):
    slow = Unhurried(explainer, 1.0)
    with ThreadPoolExecutor(2) as pool:
        with live({"tiny": slow}, LIMITS) as server:
            first = pool.submit(server.explain, "first")
            assert slow.begun.wait(10)
            waits = pool.submit(server.explain, "waits")
            wait_until(server, 1)
        assert [first.result()[0], waits.result()[0]] == [200, 200]
        with pytest.raises(ConnectionRefusedError):
            server.explain("too late")


def test_the_command_serves_until_it_is_told_to_stop(explainer, tmp_path):
    save(tmp_path / "classifier", build("bert"), typed=True)
    explainer.network.save_pretrained(tmp_path / "network")
    called = ["serve", f"tiny={tmp_path / 'classifier'}", "--explainer", f"tiny={tmp_path / 'network'}", "--port", "0"]
    program = "import torch; torch.set_num_threads(1); from expnet.cli import main; main()"
    command = [sys.executable, "-X", "faulthandler", "-c", program, *called]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    watch = threading.Timer(120, process.send_signal, [signal.SIGABRT])  # it says where it hangs
    watch.start()
    try:
        log = []
        while not (match := re.search(r"running on http://127.0.0.1:(\d+)", line := process.stderr.readline())):
            assert line, f"it never ran: {''.join(log)}"
            log.append(line)
        port = int(match[1])
        urlopen(f"http://127.0.0.1:{port}/?text=a+good+film", timeout=60).close()
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            body = json.dumps({"instances": ["a good film"]}).encode()
            connection.sendall((HEAD % len(body)).replace(b"\r\n\r\n", b"\r\nexpect: 100-continue\r\n\r\n"))
            assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            connection.sendall(body)
            assert received(connection).startswith(b"HTTP/1.1 200 ")
        logged = process.stderr.read()
        assert process.wait(60) == -signal.SIGTERM, logged
        assert "POST /v1/models/{name}:explain 200 " in logged
        assert "film" not in logged
    finally:
        watch.cancel()
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.parametrize(
    ("called", "message"),
    [
        (["a/x", "b/x"], "Both a/x and b/x are called 'x': name one, as in mine=b/x"),
        (["demo/sentiment", "--explainer", "mine=a"], "each name once and one of sentiment; got .'mine=a'."),
        (["demo/sentiment", "--explainer", "a"], "Expected explainers as NAME=EXPLAINER"),
    ],
)
def test_models_and_explainers_go_by_names(called, message):
    result = CliRunner().invoke(app, ["serve", *called])
    with pytest.raises(InputError, match=message):
        raise result.exception


def test_the_limits_of_the_command_are_those_of_python():
    given = {
        name.removeprefix("max_"): parameter.default
        for name, parameter in inspect.signature(command).parameters.items()
    }
    limits = asdict(Limits())
    assert {name: given[name] for name in limits if name in given} == {
        name: value for name, value in limits.items() if name not in ("together", "pause")
    }


@pytest.mark.parametrize(
    ("host", "allowed", "hosts", "told"),
    [
        ("127.0.0.1", None, ["127.0.0.1", "localhost", "127.0.0.1", "::1"], False),
        ("127.0.0.2", None, ["127.0.0.2", "localhost", "127.0.0.1", "::1"], False),
        ("localhost", ["me"], ["localhost", "localhost", "127.0.0.1", "::1", "me"], False),
        ("0.0.0.0", None, ["0.0.0.0", "localhost", "127.0.0.1", "::1"], True),
        ("0.0.0.0", ["me"], ["0.0.0.0", "localhost", "127.0.0.1", "::1", "me"], True),
        ("::", ["me", "you"], ["::", "localhost", "127.0.0.1", "::1", "me", "you"], True),
        ("my.machine", None, ["my.machine", "localhost", "127.0.0.1", "::1"], True),
    ],
)
def test_wherever_it_listens_only_names_that_it_knows_are_answered_to(host, allowed, hosts, told, capsys):
    assert served_names(host, allowed) == hosts
    assert ("no passwords" in capsys.readouterr().err) == told


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_the_commands_keep_the_check_of_names_on_every_address(explainer, host, tmp_path, monkeypatch):
    served = []
    monkeypatch.setattr(running, "run", lambda app, limits, *, host, port: served.append(app))
    monkeypatch.setattr("expnet.explainer.load", lambda *args, **settings: explainer)
    (tmp_path / "texts.txt").write_text("one good film\n")
    for called in (
        ["serve", "tiny"],
        ["studio", "tiny", f"{tmp_path}/texts.txt", "--marks", f"{tmp_path}/marks.jsonl"],
    ):
        result = CliRunner().invoke(app, [*called, "--host", host, "--allow-host", "explain.example"])
        assert result.exit_code == 0, result.output
    for application in served:
        with TestClient(application) as client:
            for name, status in (("explain.example", 200), ("10.0.0.7:8000", 200), ("evil.example", 421)):
                assert client.get("/", headers={"host": name}).status_code == status
    assert len(served) == 2
