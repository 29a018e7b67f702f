"""The classes of a classifier, by name or by number."""

import difflib
import operator
from collections.abc import Sequence

from expnet.errors import InputError


def as_target(target: object) -> str | int:
    """Return a class given by name or index as a plain string or int; NumPy's and torch's whole numbers are indices.

    Raises:
        InputError: If it is neither; True is no index, and neither is 1.0.
    """
    if isinstance(target, str):
        return str.__str__(target)
    # NumPy's and torch's truth values say themselves that they are numbers.
    if not isinstance(target, bool) and "bool" not in str(getattr(target, "dtype", "")):
        try:
            return operator.index(target)  # type: ignore[arg-type]  # what has no index raises
        except TypeError:
            pass
    raise InputError(f"Expected a class by name or index, got {type(target).__name__}: {str(target)[:60]!r}.")


def class_index(labels: Sequence[str], target: str | int) -> int:
    """Return the index of a class given by name or index.

    Raises:
        InputError: If there is no such class; the message offers the nearest name.
    """
    target = as_target(target)
    if isinstance(target, int):
        if 0 <= target < len(labels):
            return target
    elif target in labels:
        return labels.index(target)
    elif near := difflib.get_close_matches(target, labels, n=1):
        raise InputError(f"There is no class {target!r}; did you mean {near[0]!r}? Classes: {_names(labels)}.")
    elif target.isdecimal() and int(target) < len(labels):
        return int(target)
    raise InputError(f"There is no class {target!r}. Classes: {_names(labels)}.")


def _names(labels: Sequence[str]) -> str:
    return ", ".join(f"{index} {name!r}" for index, name in enumerate(labels))
