"""CloudEvents 1.0 over HTTP: a request in an event, and its answer in another, as KServe's V1 does it."""

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from expnet.errors import RefusedError
from expnet.serve.bodies import replace
from expnet.web.origins import EVENT, media_type
from expnet.web.refusals import encode, refused

_Text = Annotated[str, Field(min_length=1)]


class _Event(BaseModel):
    """What we read of an event; its other attributes are for others."""

    model_config = ConfigDict(strict=True)

    specversion: Literal["1.0"]
    id: _Text
    source: _Text
    type: _Text
    datacontenttype: Literal["application/json"] = "application/json"
    data: JsonValue


class CloudEvents:
    """Takes requests out of structured events, and puts what answers an event into one of the same form."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application that reads and answers JSON; each body comes in one message."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            RefusedError: If the body is not JSON (400), or not an event that holds JSON (422).
        """
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        if media_type(headers.get("content-type", "")) == EVENT:
            replaced = replace(scope, receive, encode(_data((await receive())["body"])))
            await self._app(scope, replaced, _EventAnswer(scope, send, _structured))
        elif "ce-specversion" in headers:
            await self._app(scope, receive, _EventAnswer(scope, send, _binary))
        else:
            await self._app(scope, receive, send)


class _EventAnswer:
    """Puts an answer into an event, unless it is a refusal."""

    def __init__(self, scope: Scope, send: Send, put: Callable[[dict[str, str], MutableHeaders, bytes], bytes]) -> None:
        self._scope, self._send, self._put = scope, send, put
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:  # our answers of JSON have one message of content
            headers = MutableHeaders(scope=self._start)
            body = self._put(self._attributes(), headers, message["body"])
            headers["content-length"] = str(len(body))
            await self._send(self._start)
            self._start = None
            await self._send({**message, "body": body})

    def _attributes(self) -> dict[str, str]:
        return {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": f"io.kserve.inference.{self._scope.get('path_params', {}).get('name', '')}",
            "type": "io.kserve.inference.response",
            "time": datetime.now(UTC).isoformat(timespec="microseconds"),
        }


def _structured(attributes: dict[str, str], headers: MutableHeaders, body: bytes) -> bytes:
    headers["content-type"] = EVENT
    return encode({**attributes, "datacontenttype": "application/json", "data": json.loads(body)})


def _binary(attributes: dict[str, str], headers: MutableHeaders, body: bytes) -> bytes:
    for name, value in attributes.items():
        headers[f"ce-{name}"] = value
    return body


def _data(body: bytes) -> JsonValue:
    try:
        return _Event.model_validate_json(body).data
    except ValidationError as error:
        problems = error.errors()
        if problems[0]["type"] == "json_invalid":
            raise RefusedError(400, f"The event is not JSON: {problems[0]['ctx']['error']}.") from error
        placed = [{**problem, "loc": ("body", *problem["loc"])} for problem in problems]
        raise refused(RequestValidationError(placed)) from error
