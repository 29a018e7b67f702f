"""Check an untrusted tokenizer.json before the tokenizer's engine, which has no limits, reads it."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from expnet.errors import ModelError
from expnet.files.parsing import parse_json

_MOST_BYTES = 2**28  # the largest that are known have 35 MB
_MOST_ID = 10_000_000  # tables are as long as the largest
_MOST_STEPS = 1000
_MOST_GROWTH = 1000  # of a text while it is normalised
_STEPS = ("normalizer", "pre_tokenizer", "post_processor")


def refuse_absurd_tokenizer(file: Path) -> None:
    """Refuse a tokenizer that would exhaust memory or never finish.

    Raises:
        ModelError: If it is not a JSON object, or exceeds what any tokenizer needs.
    """
    if (size := file.stat().st_size) > _MOST_BYTES:
        raise ModelError(f"{file} has {size:,} bytes; expected {_MOST_BYTES:,} at most.")
    try:
        data = parse_json(file.read_bytes())
    except ValueError as error:
        raise ModelError(f"{file} is damaged: {error}.") from error
    if not isinstance(data, dict):
        raise ModelError(f"{file} is damaged: expected a JSON object, got a {type(data).__name__}.")
    if ids := [number for number in _ids(data) if not (isinstance(number, int) and 0 <= number <= _MOST_ID)]:
        raise ModelError(f"{file} gives a token the id {str(ids[0])[:60]}; expected 0 to {_MOST_ID:,}.")
    for name in _STEPS:
        if (steps := max((len(listed) for listed in _lists(data.get(name))), default=0)) > _MOST_STEPS:
            raise ModelError(f"The {name} of {file} has {steps:,} steps; expected {_MOST_STEPS:,} at most.")
    growth = math.prod(_growth(step) for step in _objects(data.get("normalizer")))
    if growth > _MOST_GROWTH:
        raise ModelError(
            f"The normalizer of {file} makes texts up to {growth:.0e} times longer; expected {_MOST_GROWTH:,} at most."
        )


def _ids(data: dict[str, Any]) -> Iterator[Any]:
    model, added = data.get("model"), data.get("added_tokens")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, dict):
        yield from vocabulary.values()
    yield from (token.get("id") for token in added or () if isinstance(token, dict)) if isinstance(added, list) else ()


def _growth(step: dict[str, Any]) -> float:
    """Return the largest factor by which a replacement makes texts longer; a pattern may match single characters."""
    if step.get("type") != "Replace":
        return 1.0
    pattern = step.get("pattern")
    literal = pattern.get("String") if isinstance(pattern, dict) else None
    return max(1.0, len(str(step.get("content"))) / max(1, len(literal) if isinstance(literal, str) else 1))


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(child)


def _lists(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, list):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _lists(child)
