"""Tensors in binary, an extension of V2 that its clients use by default: strings that stand behind the JSON."""

import json
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from expnet.errors import RefusedError
from expnet.serve.bodies import replace
from expnet.web.origins import BINARY
from expnet.web.refusals import encode

_SIZE = "binary_data_size"
_LENGTH = 4  # bytes before each string, the least significant first


class BinaryTensors:
    """Takes strings behind the JSON of a request into it. Answers are JSON alone, which the clients read as well."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application that reads JSON; each body comes in one message."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            RefusedError: If the body is not what its header says (400).
        """
        if scope["type"] == "http" and BINARY in (headers := MutableHeaders(scope=scope)):
            body = unpack((await receive())["body"], headers[BINARY])
            del headers[BINARY]
            receive = replace(scope, receive, body)
        await self._app(scope, receive, send)


def unpack(body: bytes, size: str) -> bytes:
    """Return the JSON of a request with the strings that stand behind it.

    Args:
        body: JSON, and after it the strings of each input with a `binary_data_size`, in the order of the inputs.
        size: The number of bytes of the JSON, as its header has it.

    Raises:
        RefusedError: If it is not JSON of this size, or there are more or fewer bytes than the inputs say (400).
    """
    if not (size.isascii() and size.isdigit() and len(size) < 10 and int(size) <= len(body)):
        raise RefusedError(400, f"{BINARY}: Expected at most the {len(body)} bytes of the body, got {size[:20]!r}.")
    at = int(size)
    try:
        request = json.loads(body[:at])
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"The first {at} bytes of the body cannot be read as JSON.") from error
    for number, tensor in enumerate(_inputs(request)):
        length = tensor["parameters"].pop(_SIZE)
        if not isinstance(length, int) or not 0 <= length <= len(body) - at:
            raise RefusedError(400, f"inputs: {len(body) - at} bytes are left for the binary input {number}.")
        tensor["data"] = _strings(body[at : at + length], number)
        at += length
    if at != len(body):
        raise RefusedError(400, f"The body has {len(body) - at} bytes more than its inputs say.")
    return encode(request)


def _inputs(request: Any) -> list[dict[str, Any]]:
    """Return the inputs in binary; what else is wrong with a request is said by whoever reads the JSON."""
    inputs = request.get("inputs") if isinstance(request, dict) else None
    tensors = [tensor for tensor in inputs if isinstance(tensor, dict)] if isinstance(inputs, list) else []
    return [tensor for tensor in tensors if _SIZE in (tensor.get("parameters") or ())]


def _strings(content: bytes, number: int) -> list[str]:
    strings, at = [], 0
    while at < len(content):
        start = at + _LENGTH
        at = start + int.from_bytes(content[at:start], "little")
        if at > len(content):
            raise RefusedError(400, f"The binary input {number} ends within a string.")
        try:
            strings.append(content[start:at].decode())
        except UnicodeDecodeError as error:
            raise RefusedError(400, f"String {len(strings)} of the binary input {number} is not UTF-8.") from error
    return strings
