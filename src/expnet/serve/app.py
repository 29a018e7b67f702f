"""The application: models, endpoints and page behind one guard."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI, Request, Response
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.staticfiles import StaticFiles

from expnet._version import __version__
from expnet.errors import InputError
from expnet.explainer import Explainer
from expnet.serve import page, reference, v1, v2
from expnet.serve.binary import BinaryTensors
from expnet.serve.events import CloudEvents
from expnet.serve.metrics import Metrics
from expnet.serve.models import Models, Served, check_name, offered
from expnet.serve.tasks import Explain, Predict, trial_of
from expnet.serve.traces import Traces
from expnet.serve.worker import Worker
from expnet.web import STATIC, refusals
from expnet.web.guard import Guard
from expnet.web.limits import Limits
from expnet.web.origins import known_names


class _Name(StringConvertor):
    regex = "[^/:]+"  # what follows a colon is a verb


register_url_convertor("name", _Name())


def create_app(
    explainers: Mapping[str, Explainer],
    *,
    limits: Limits | None = None,
    methods: Sequence[str] | None = None,
    hosts: Sequence[str] | None = None,
    log_texts: bool = False,
    traces: Traces | None = None,
) -> FastAPI:
    """Return an ASGI application that serves explainers by name, on one thread for each model.

    Args:
        explainers: As from `expnet.load`, by the names they are served under.
        limits: What a request may ask for.
        methods: Names of the attribution methods to offer; all by default.
        hosts: Names and addresses that clients may use for this server; 0.0.0.0 stands for every address. None allows
            any: use it only behind something that checks them, see `docs/serve.md`.
        log_texts: Log what clients send, and error messages that may quote it.
        traces: Told of requests, such as `expnet.serve.otel.OpenTelemetry`; by default nobody is.

    Raises:
        InputError: If there is no explainer, or a name or one of `hosts` is not valid.
        MethodError: If there is no such method.
    """
    if not explainers:
        raise InputError("There is no model to serve.")
    limits, metrics, traces = limits or Limits(), Metrics(), traces or Traces()
    models: dict[str, Served] = {}
    for name, explainer in explainers.items():
        check_name(name)
        worker = Worker(explainer, limits, ran=partial(metrics.ran, name), traced=partial(traces.job, name))
        metrics.watch(name, worker)
        models[name] = Served(name, explainer, worker, offered(explainer, methods), limits, metrics)
    app = FastAPI(
        title="expnet",
        description="Which words made a classifier decide. KServe's V1 protocol: `:predict` and `:explain`; "
        "and its V2, the Open Inference Protocol: `/infer`, with `/explain` beside it.",
        version=__version__,
        lifespan=partial(_lifespan, models=models, traces=traces),
        docs_url=None,  # these pages load scripts from elsewhere; `reference` does not
        redoc_url=None,
        # FastAPI's own spans and log records would hold paths, and messages that quote texts. Older releases ignore it.
        telemetry={"tracing": False, "logs": False},
    )
    app.include_router(v1.router(models, metrics))
    app.include_router(v2.router(models))
    app.include_router(page.router(models))
    app.include_router(reference.router())
    app.mount("/static", StaticFiles(directory=STATIC))
    for kind in refusals.EXPECTED:
        app.add_exception_handler(kind, _refuse)
    app.add_middleware(BinaryTensors)
    app.add_middleware(CloudEvents)
    app.add_middleware(
        Guard,
        limits=limits,
        names=None if hosts is None else known_names(hosts),
        answered=partial(_answered, metrics, traces),
        log_texts=log_texts,
    )
    app.add_middleware(traces.wrap)  # around the guard, whose refusals are answers as well
    return app


def _answered(metrics: Metrics, traces: Traces, route: str, status: int, seconds: float) -> None:
    metrics.answered(route, status, seconds)
    traces.answered(route, status)


@asynccontextmanager
async def _lifespan(_app: FastAPI, models: Models, traces: Traces) -> AsyncIterator[None]:
    """Start the models, and let each read a text, so that an error that every request would meet is raised here."""
    for served in models.values():
        served.worker.start()
        task = Predict() if served.explainer.network is None else Explain(target=0)
        await served.worker.do(task, [trial_of(served.explainer)])
    yield
    for served in models.values():
        await served.worker.stop()
    await asyncio.to_thread(traces.flush)  # a signal may end the process before it exits


async def _refuse(_request: Request, error: Exception) -> Response:
    return refusals.response(refusals.refused(error))
