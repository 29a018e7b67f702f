"""The application: the pages of a desk behind the server's guard."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.staticfiles import StaticFiles

from expnet._version import __version__
from expnet.studio import page
from expnet.studio.desk import Desk
from expnet.web import STATIC, refusals
from expnet.web.guard import Guard
from expnet.web.limits import Limits
from expnet.web.origins import known_names

_PATIENCE = 10  # seconds


def create_app(desk: Desk, *, limits: Limits | None = None, hosts: Sequence[str] | None = None) -> FastAPI:
    """Return an ASGI application in which a person marks texts and trains an explainer.

    Args:
        desk: The texts, the marks and the model.
        limits: Of requests, in bytes and seconds.
        hosts: Names that browsers may use for this server, or None for any, as for `expnet.serve.create_app`.

    Raises:
        InputError: If one of them cannot be a name.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        if desk.fitting is not None:
            desk.fitting.cancel()
            await asyncio.to_thread(desk.fitting.join, _PATIENCE)  # a process cannot end well in the midst of a step

    app = FastAPI(title="expnet studio", version=__version__, lifespan=lifespan, openapi_url=None)
    app.include_router(page.router(desk))
    app.mount("/studio", StaticFiles(directory=Path(__file__).parent / "static"))
    app.mount("/static", StaticFiles(directory=STATIC))

    def refuse(request: Request, error: Exception) -> Response:
        number = str(request.path_params.get("number", "")) if request.method == "GET" else ""
        known = int(number) if number.isdecimal() else 0
        return page.failure(desk, refusals.refused(error), number=known, up=request.url.path.count("/") - 1)

    for kind in refusals.EXPECTED:
        app.add_exception_handler(kind, refuse)
    app.add_middleware(
        Guard,
        limits=limits or Limits(),
        names=None if hosts is None else known_names(hosts),
        answered=lambda route, status, seconds: None,
        log_texts=False,
    )
    return app
