"""Errors as clients see them: message and HTTP status."""

import json
from typing import Any

import torch
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from expnet.errors import ExpnetError, NonFiniteError, RefusedError

GONE = 499  # the client went away; nginx' number
EXPECTED: tuple[type[Exception], ...] = (
    ExpnetError,
    HTTPException,
    RequestValidationError,
    MemoryError,
    torch.OutOfMemoryError,
)
_PROBLEMS = 5


def refused(error: Exception) -> RefusedError:
    """Return the error for the client, with the status of an error of a type in `EXPECTED`."""
    match error:
        case RefusedError():
            return error
        case NonFiniteError():
            return RefusedError(500, str(error))
        case ExpnetError():
            return RefusedError(422, str(error))
        case HTTPException(status_code=400, __cause__=BaseException() as cause):  # FastAPI's: it could not parse it
            return RefusedError(400, f"The body cannot be read as JSON: {_unreadable(cause)}.")
        case HTTPException():
            return RefusedError(error.status_code, str(error.detail))
        case RequestValidationError():
            return RefusedError(422, _problems(error))
        case _:
            return RefusedError(503, "There is not enough memory for this request: send fewer or shorter texts.")


def response(error: RefusedError) -> Response:
    """Return an error as KServe shows it."""
    return Response(encode({"error": str(error)}), error.status, headers(error), "application/json")


def encode(content: Any) -> bytes:
    """Return JSON in UTF-8; half a surrogate pair, as a model's labels may hold, is written as an escape."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode(errors="backslashreplace")


def headers(error: RefusedError) -> dict[str, str]:
    """Return the header that says when to try again, for refusals that are temporary."""
    return {"retry-after": "1"} if error.status in (429, 503) else {}


def _problems(error: RequestValidationError) -> str:
    """Return where a body differs from what was expected, without quoting it."""
    problems = error.errors()
    lines = [_problem(problem) for problem in problems[:_PROBLEMS]]
    more = f"; and {len(problems) - _PROBLEMS} more" if len(problems) > _PROBLEMS else ""
    return "; ".join(lines) + more


def _unreadable(cause: BaseException) -> str:
    match cause:
        case RecursionError():
            return "its lists and objects are nested too deep"
        case UnicodeDecodeError():
            return f"it is not UTF-8 at byte {cause.start + 1}"
        case _:
            return "it holds a number of too many digits"  # other errors of `json` already say that it is not JSON


def _problem(problem: dict[str, Any]) -> str:
    place = problem["loc"][1:]
    if problem["type"] == "json_invalid":
        return f"The body is not JSON: {problem['ctx']['error']} (character {place[0]})"
    return f"{'.'.join(map(str, place)) or 'body'}: {problem['msg']}"
