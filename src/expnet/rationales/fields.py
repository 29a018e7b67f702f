"""Read the fields of a row: each is of the expected type, or a `RowError` says what came."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from expnet.rationales.offsets import Mark
from expnet.rationales.problems import RowError
from expnet.text.texts import Text
from expnet.text.words import Span


def string(row: Mapping[str, Any], field: str) -> str:
    """Return a field that must hold a string."""
    value = row.get(field)
    if not isinstance(value, str):
        raise RowError("field", f"expected {field!r} to be a string, got {type(value).__name__}")
    return value


def main_text(row: Mapping[str, Any], field: str) -> str:
    """Return the field that must hold the text; where it is missing, say how to name another."""
    if field not in row:
        raise RowError("field", f"expected the text in {field!r}, got the fields {sorted(row)}; say text=FIELD")
    return string(row, field)


def name(row: Mapping[str, Any], field: str) -> str | None:
    """Return a field that may be missing, a string or a number, as a string."""
    value = row.get(field)
    if value is not None and not isinstance(value, str | int | float):
        reason = f"expected {field!r} to be a string or a number, got {type(value).__name__}"
        raise RowError("label" if field == "label" else "field", reason)
    return None if value is None else str(value)


def items(row: Mapping[str, Any], field: str, of: str) -> list[Any] | None:
    """Return a field that may be missing or a list."""
    value = row.get(field)
    if value is not None and not isinstance(value, list):
        raise RowError("field", f"expected {field!r} to be a list of {of}, got {type(value).__name__}")
    return value


def objects(row: Mapping[str, Any], field: str) -> list[dict[str, Any]]:
    """Return a field that may be missing or a list of objects."""
    listed = items(row, field, "objects") or []
    if wrong := [item for item in listed if not isinstance(item, dict)]:
        raise RowError("field", f"expected {field!r} to be a list of objects, got {wrong[0]!r} in it")
    return listed


def words(row: Mapping[str, Any], field: str) -> list[str]:
    """Return a field that must hold a list of strings."""
    value = row.get(field)
    if not isinstance(value, list):
        raise RowError("field", f"expected {field!r} to be a list of words, got {type(value).__name__}")
    for place, word in enumerate(value):
        if not isinstance(word, str):
            raise RowError("field", f"expected {field!r} to hold strings, got {word!r} at place {place}")
    return value


def person(row: Mapping[str, Any], field: str) -> str | None:
    """Return the name of an annotator: a name, a number, or an object with an email or an id."""
    who = row.get(field)
    if isinstance(who, dict):
        who = who.get("email") or who.get("id")
    return None if who is None else str(who)


def offsets_of(row: Mapping[str, Any], start: str, end: str, *, quote: Any = None) -> Mark:
    """Return the offsets of a mark and the text it quotes, if that is a string."""
    first, last = row.get(start), row.get(end)
    if type(first) is not int or type(last) is not int:
        raise RowError("marks", f"expected character offsets in {start!r} and {end!r}, got {first!r} and {last!r}")
    return Mark(first, last, quote=quote if isinstance(quote, str) else None)


def marked_words(text: Text, segment: int | None, flags: Any, field: str) -> tuple[Span, ...]:
    """Return the words whose flag is 1, of one part of the text or (None) of all."""
    if not isinstance(flags, list):
        raise RowError("marks", f"expected {field!r} to be a list of 0 and 1, got {type(flags).__name__}")
    spans = [word for word in text.words if segment is None or word.segment == segment]
    if len(flags) != len(spans):
        raise RowError("marks", f"{field!r} holds {len(flags)} marks for {len(spans)} words")
    if wrong := [flag for flag in flags if flag not in (0, 1)]:
        raise RowError("marks", f"expected {field!r} to hold 0 and 1 only, got {wrong[0]!r}")
    return tuple(word for word, flag in zip(spans, flags, strict=True) if flag)


def spelled(text: str, tokens: Sequence[str]) -> Text:
    """Return the text with the tokens as its words, if they and the white space between them are the whole text."""
    spans, at = [], 0
    for token in tokens:
        start = text.find(token, at)
        if start < 0 or text[at:start].strip() or not token:
            raise RowError("tokens", f"the tokens do not spell the text: {token!r} does not follow at character {at}")
        at = start + len(token)
        spans.append(Span(start, at))
    if rest := text[at:].strip():
        raise RowError("tokens", f"the tokens do not spell the text: {rest[:20]!r} is left at character {at}")
    return replace(Text.of(text), words=tuple(spans))


def quoted(text: Text, span: Span, quote: Any) -> Span:
    """Return the span after checking that the text there is what the file quotes, if it quotes anything."""
    there = text.word(span)
    if isinstance(quote, str) and 0 <= span.start <= span.end <= len(text.part(span.segment)) and quote != there:
        reason = f"the mark {span.start}:{span.end} should be {quote[:40]!r}, but the text has {there[:40]!r} there"
        raise RowError("marks", reason)
    return span
