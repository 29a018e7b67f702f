"""Requests whose body is not the JSON that the endpoints read: it is replaced on its way to them."""

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope


def replace(scope: Scope, receive: Receive, body: bytes) -> Receive:
    """Declare another body, as JSON, in the headers of a request, and return what receives it."""
    headers = MutableHeaders(scope=scope)
    headers["content-type"] = "application/json"
    headers["content-length"] = str(len(body))
    left = [body]

    async def receive_body() -> Message:
        return {"type": "http.request", "body": left.pop(), "more_body": False} if left else await receive()

    return receive_body
