"""A real server on the loopback, in a thread of the tests."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from expnet.explainer import Explainer
from expnet.serve import Limits, create_app
from expnet.web.running import configuration


class Unhurried(Explainer):
    """An explainer that takes `seconds` for a batch, and says when it has begun one."""

    def __init__(self, explainer: Explainer, seconds: int | float) -> None:
        super().__init__(explainer.classifier, explainer.network, name=explainer.name)
        self.seconds, self.begun = seconds, threading.Event()

    def explain(self, texts, **settings):
        if [text.text for text in texts] != ["A short text."]:  # it reads this one as the server starts
            self.begun.set()
            time.sleep(self.seconds)
        return super().explain(texts, **settings)


class Live:
    """A server that runs, and ways to talk to it."""

    def __init__(self, server: uvicorn.Server) -> None:
        self.server = server
        self.port: int = server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"

    def post(self, path: str, content: object) -> tuple[int, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", path, json.dumps(content), {"content-type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def explain(self, *texts: str) -> tuple[int, dict]:
        return self.post("/v1/models/tiny:explain", {"instances": texts})

    def get(self, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path)
        content = connection.getresponse().read().decode()
        connection.close()
        return content

    def connect(self, head: bytes) -> socket.socket:
        """Open a connection and send something, whatever it is."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(head)
        return connection


@contextmanager
def live(explainers: dict[str, Explainer], limits: Limits) -> Iterator[Live]:
    with running(create_app(explainers, limits=limits), limits) as server:
        yield server


@contextmanager
def running(app: FastAPI, limits: Limits) -> Iterator[Live]:
    server = uvicorn.Server(configuration(app, limits, port=0))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield Live(server)
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the server did not stop"
