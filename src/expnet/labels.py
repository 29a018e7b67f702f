"""The classes of a classifier, by name or by number."""

import difflib
from collections.abc import Sequence

from expnet.errors import InputError


def class_index(labels: Sequence[str], target: str | int) -> int:
    """Return the index of a class given by name or index.

    Raises:
        InputError: If there is no such class; the message offers the nearest name.
    """
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
