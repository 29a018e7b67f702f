"""Errors of a model: whether the text is to blame, and what may be told to the client and logged."""

import logging
import traceback

from expnet.errors import ExpnetError, InputError, NonFiniteError, RefusedError
from expnet.runtime.memory import exhausted

logger = logging.getLogger("expnet.serve")

_TOLD = 300  # characters of a message; some quote all they were given


def where(error: BaseException) -> str:
    """Return the type of an error and the places in the code where it was raised, without its message."""
    places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    return f"{type(error).__name__} at {' < '.join(reversed(places))}"


def is_failure(error: Exception) -> bool:
    """Return whether a model failed; other errors say what is wrong with a request, or that memory ran out."""
    return not isinstance(error, ExpnetError | MemoryError) or isinstance(error, NonFiniteError)


def unreadable(error: Exception) -> RefusedError:
    """Log where a model failed on a text, and return the error for the client."""
    logger.error(where(error))
    kind = "" if isinstance(error, ExpnetError) else f"{type(error).__name__}: "
    return RefusedError(422, f"The model fails on this text: {kind}{error}"[:_TOLD])


def raisable(error: BaseException) -> Exception:
    """Return an error that can be set on a waiting request's future, with all out-of-memory errors as one type.

    Panics of the tokenizers library are not an `Exception`, and a future cannot hold a `StopIteration`.
    """
    if isinstance(error, Exception) and exhausted(error):
        return error if isinstance(error, MemoryError) else MemoryError(str(error))
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}").with_traceback(error.__traceback__)


def of_instance(error: Exception, number: int) -> Exception:
    """Return an error with the text's place in the request, if it is about a text."""
    if isinstance(error, InputError) or (isinstance(error, RefusedError) and error.status == 422):
        return RefusedError(422, f"Instance {number}: {error}")
    return error
