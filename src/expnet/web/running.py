"""Run a server on an address until it is told to stop."""

import logging
import math

import uvicorn
from fastapi import FastAPI

from expnet.web.limits import Limits

_CONNECTIONS = 1000


def configuration(app: FastAPI, limits: Limits, *, host: str = "127.0.0.1", port: int = 8000) -> uvicorn.Config:
    """Return uvicorn's configuration: when stopped, it first answers the requests that it has accepted."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,  # the guard writes one, without what clients send
        server_header=False,
        ws="none",
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=math.ceil(limits.seconds) + 1,
    )


def run(app: FastAPI, limits: Limits, *, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM, and log requests to standard error."""
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.WARNING)
    logging.getLogger("expnet.serve").setLevel(logging.INFO)
    uvicorn.Server(configuration(app, limits, host=host, port=port)).run()
