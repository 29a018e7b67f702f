"""Middleware between a connection and the application: limits on body size and time, hosts, headers, logs."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from expnet.errors import RefusedError
from expnet.web.failures import logger, where
from expnet.web.limits import Limits
from expnet.web.origins import check_request
from expnet.web.refusals import GONE, response

# A client that is still sending does not read a refusal, so somewhat larger bodies are received and discarded.
_DRAINED = 8
_HEADERS = {
    # Shades are inline styles; apart from them only the server's own styles and scripts are allowed.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    # Other sites get no referrer. With none at all, browsers would hide the origin of this server's own forms, too.
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Middleware that refuses requests, turns errors into answers and writes the log, without texts or paths."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        names: frozenset[str] | None,
        answered: Callable[[str, int, float], None],
        log_texts: bool,
    ) -> None:
        """Wrap an application.

        Args:
            app: The application.
            limits: Of bodies, in bytes and seconds.
            names: Those that clients may use for this server; see `origins.check_request`.
            answered: Told the route, the status and the seconds of each request.
            log_texts: Log bodies and whole tracebacks.
        """
        self._app = app
        self._limits = limits
        self._names = names
        self._answered = answered
        self._log_texts = log_texts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Whoever asks for the head of a page gets what GET would give, without its body.
        head = scope["method"] == "HEAD"
        asked = {**scope, "method": "GET"} if head else scope
        start, answer = time.perf_counter(), _HeaderSender(send, bodiless=head)
        try:
            check_request(scope, self._names)
            body = await _read(receive, self._limits)
            if self._log_texts:
                logger.info("body %r", body)
            await _while_connected(self._app(asked, _Replay(body), answer), receive, answer)
        except RefusedError as error:
            await response(error)(scope, receive, answer)
        except Exception as error:  # the last line: it is logged, and the client is told
            self._log(error)
            if not answer.status:
                failure = RefusedError(500, "The server failed; its log says where.")
                await response(failure)(scope, receive, answer)
        finally:
            route, seconds = _route(asked), time.perf_counter() - start
            status = answer.status or GONE
            self._answered(route, status, seconds)
            logger.info("%s %s %d %.0f ms", scope["method"], route, status, 1000 * seconds)

    def _log(self, error: Exception) -> None:
        """Log what failed and where, without the message, which often quotes its input."""
        if self._log_texts:
            logger.error("failed", exc_info=error)
            return
        logger.error(where(error))


class _HeaderSender:
    """Sends an answer with the headers that all answers have, and keeps its status; 0 until it has begun."""

    def __init__(self, send: Send, *, bodiless: bool) -> None:
        self._send, self._bodiless = send, bodiless
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        elif self._bodiless:
            message = {**message, "body": b""}
        await self._send(message)


class _Replay:
    """Gives the application a body that was already read; the guard itself notices when the client disconnects."""

    def __init__(self, body: bytes) -> None:
        self._message: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def __call__(self) -> Message:
        message, self._message = self._message, None
        if message is None:
            message = await asyncio.get_running_loop().create_future()  # until it is cancelled
        return message


async def _read(receive: Receive, limits: Limits) -> bytes:
    """Read the body of a request.

    Raises:
        RefusedError: If it is too large (413), or does not arrive in time (408).
    """
    chunks, size = [], 0
    try:
        async with asyncio.timeout(limits.seconds):
            while size <= _DRAINED * limits.body:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RefusedError(GONE, "The client went away.")
                size += len(message.get("body", b""))
                if size <= limits.body:
                    chunks.append(message.get("body", b""))
                if not message.get("more_body"):
                    break
    except TimeoutError as error:
        raise RefusedError(408, f"The request did not arrive within {limits.seconds:g} seconds.") from error
    if size > limits.body:
        raise RefusedError(413, f"The request has more than {limits.body:,} bytes: send several smaller ones.")
    return b"".join(chunks)


async def _while_connected(work: Awaitable[None], receive: Receive, answer: _HeaderSender) -> None:
    """Run the application until it is done or the client has disconnected."""
    working, gone = asyncio.ensure_future(work), asyncio.create_task(_disconnect(receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done() and not answer.status:
            working.cancel()
        await asyncio.wait({working})
        if not working.cancelled():
            working.result()
    finally:
        working.cancel()
        gone.cancel()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path_format", "other")
