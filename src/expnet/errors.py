"""Errors that say what came, what was expected and what to do about it."""

from collections.abc import Hashable, Iterable
from difflib import get_close_matches
from typing import Literal


class ExpnetError(Exception):
    """Base of every error that expnet raises on purpose."""


class InputError(ExpnetError, ValueError):
    """The text, words or target given cannot be used."""


class TextTooLongError(InputError):
    """A text pair exceeds the model's limit in both parts, so that no window could hold it."""


class LineError(InputError):
    """A line of a file is not UTF-8 or too long, or a gzip file is cut off after it; `fault` says which."""

    def __init__(self, file: str, line: int, reason: str, fault: Literal["encoding", "too long", "cut off"]) -> None:
        super().__init__(f"{file}, {'after ' if fault == 'cut off' else ''}line {line}: {reason}")
        self.line, self.reason, self.fault = line, reason, fault


class RationaleError(ExpnetError, ValueError):
    """A rationale record cannot be read, or its marks do not fit its text."""


class ModelError(ExpnetError, ValueError):
    """The model, its folder or its tokenizer cannot be used."""


class UnsupportedModelError(ModelError):
    """The architecture's attention can be captured neither fused nor eagerly."""


class NoGradientError(UnsupportedModelError):
    """The model's code keeps no gradient, or only part of it."""


class UnsafeModelError(ModelError):
    """The model's files would load code or a pickle."""


class NonFiniteError(ModelError):
    """The model returned NaN or infinity."""


class MismatchError(ExpnetError, ValueError):
    """An explainer does not belong to this classifier, or its files do not fit each other."""


class MethodError(ExpnetError, ValueError):
    """There is no such attribution method, or its name is taken."""


class OptionError(ExpnetError, ValueError):
    """An attribution method cannot run with these options."""


class ContractError(MethodError):
    """An attribution method does not keep what it declares, or what every method must."""


class BenchmarkError(ExpnetError, ValueError):
    """A benchmark's plan cannot be run, or its rows cannot be read."""


class BatchError(ExpnetError, ValueError):
    """A file of texts cannot be read, or its explanations cannot be written where they were asked for."""


class RefusedError(ExpnetError):
    """A server does not answer a request; `status` is the HTTP status that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class MissingExtraError(ExpnetError, ImportError):
    """An optional dependency is not installed."""


def require_extra(package: str, extra: str) -> None:
    """Raise the command that installs an extra if its package is missing."""
    from importlib.util import find_spec

    try:
        spec = find_spec(package)
    except ModuleNotFoundError:  # what it is a part of
        spec = None
    if spec is None:
        raise MissingExtraError(
            f"This needs the package {package!r}, which is not installed. "
            f"Install it with: pip install 'expnet[{extra}]'"
        )


def did_you_mean(name: Hashable, known: Iterable[Hashable]) -> str:
    """Return a sentence that offers the nearest valid name, with a leading space; "" if none is near.

    Args:
        name: What came: a string, or whatever a frame calls its columns.
        known: The valid names.
    """
    written = {str(valid): valid for valid in known}
    near = get_close_matches(str(name), written, n=1)
    return f" Did you mean {written[near[0]]!r}?" if near else ""
