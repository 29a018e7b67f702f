"""JSON that somebody else wrote: read within limits, and checked field by field."""

import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any

from expnet.errors import MismatchError

MOST_LEVELS = 100


@dataclass(frozen=True, slots=True)
class Kind:
    """What a field may hold, in words and as a test."""

    described: str
    fits: Callable[[Any], bool]


def parse_json(content: str | bytes) -> Any:
    """Parse strict JSON, at most 100 levels deep.

    Raises:
        ValueError: If it is not JSON in UTF-8, is nested deeper, holds NaN, infinity or a number too large for a float,
            or names a field twice, of which another program might read the other value.
    """
    text = content if isinstance(content, str) else content.decode("utf-8")
    try:
        data = json.loads(text, parse_constant=_finite, parse_float=_finite, object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError(f"its lists and objects are nested more than {MOST_LEVELS} deep") from error
    level, deep = [data], 1
    while level := [child for parent in level for child in _children(parent)]:
        if (deep := deep + 1) > MOST_LEVELS:
            raise ValueError(f"its lists and objects are nested more than {MOST_LEVELS} deep")
    return data


def check_fields(values: Mapping[str, Any], kinds: Mapping[str, Kind]) -> None:
    """Check a table of fields against what each may hold.

    Raises:
        ValueError: With every field that is missing, unknown, or of another type or range.
    """
    missing = sorted(kinds.keys() - values.keys())
    unknown = sorted(str(name)[:60] for name in values.keys() - kinds.keys())
    problems = [f"it lacks {missing}"] if missing else []
    problems += [f"it has the unknown fields {unknown[:5]}"] if unknown else []
    problems += [
        f"{name}={_shown(values[name])}, expected {kind.described}"
        for name, kind in kinds.items()
        if name in values and not kind.fits(values[name])
    ]
    if problems:
        raise ValueError("; ".join(problems[:5]))


def check_config(config: Any, kinds: Mapping[str, Kind]) -> None:
    """Check the fields of a dataclass, as `check_fields` does.

    Raises:
        MismatchError: With every field of another type or range.
    """
    try:
        check_fields({name: getattr(config, name) for name in kinds}, kinds)
    except ValueError as error:
        raise MismatchError(f"Not a valid {type(config).__name__}: {error}.") from error


def whole(least: int, most: int) -> Kind:
    """Return the kind of whole numbers within a range, both ends included."""
    return Kind(f"a whole number from {least:,} to {most:,}", lambda value: _is(value, int) and least <= value <= most)


def number(least: int | float = -math.inf, most: int | float = math.inf) -> Kind:
    """Return the kind of finite numbers within a range, both ends included."""
    limits = "" if math.isinf(most) else f" from {least:g} to {most:g}"
    return Kind(
        f"a finite number{limits}",
        lambda value: _is(value, int | float) and abs(value) <= sys.float_info.max and least <= value <= most,
    )


def one_of(*values: Any) -> Kind:
    """Return the kind that allows only these values."""
    described = values[0] if len(values) == 1 else f"one of {', '.join(map(repr, values))}"
    return Kind(
        str(described), lambda value: any(type(value) is type(allowed) and value == allowed for allowed in values)
    )


def listed(kind: Kind, least: int = 0, most: int | None = None) -> Kind:
    """Return the kind of lists or tuples of `least` to `most` items, all of one kind."""
    limits = f"from {least} to {most} of " if most else ""
    return Kind(
        f"a list of {limits}{kind.described}",
        lambda value: (
            isinstance(value, list | tuple)
            and least <= len(value) <= (most or len(value))
            and all(map(kind.fits, value))
        ),
    )


def table(kind: Kind) -> Kind:
    """Return the kind of objects whose values are of one kind."""
    return Kind(
        f"an object of {kind.described}",
        lambda value: (
            isinstance(value, Mapping)
            and all(isinstance(name, str) and kind.fits(entry) for name, entry in value.items())
        ),
    )


def optional(kind: Kind) -> Kind:
    """Return the kind that allows null as well."""
    return Kind(f"null or {kind.described}", lambda value: value is None or kind.fits(value))


ANYTHING = Kind("anything", lambda _: True)
TEXT = Kind("a string", lambda value: isinstance(value, str))
FLAG = Kind("true or false", lambda value: isinstance(value, bool))


def _is(value: Any, kind: type | UnionType) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _finite(literal: str) -> float:
    if math.isfinite(value := float(literal)):
        return value
    raise ValueError(f"it holds {literal[:40]}, which is not a finite number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise ValueError(f"it names the field {twice[:60]!r} twice in one object")
    return fields


def _children(value: Any) -> list[Any]:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [child for child in inside if isinstance(child, dict | list)]


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}…"
