"""Compute a record again and say what differs."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from expnet.audit.record import AuditRecord
from expnet.audit.recording import record_decision
from expnet.errors import InputError
from expnet.explainer import Explainer
from expnet.text.texts import Text

# Other kernels, versions and processors sum in another order; scores change by less than this.
TOLERANCE = 1e-3
# Everything else is computed again: when it was written and what is stated about it cannot be, how it was asked for is
# what the rest follows from, and `AuditRecord.from_json` has compared the seal.
_GIVEN = {"kind", "schema", "created", "asked", "context", "sha256", "signature"}
# Names may change with the place that a model is loaded from; its hash identifies it.
_NOTED = {
    *(("models", name) for name in ("classifier", "explainer", "device", "precision")),
    *(("explanation", "provenance", name) for name in ("classifier", "explainer", "expnet", "attention")),
    *(("explanation", name) for name in ("meaning", "checked")),  # sentences, which older records lack
    ("trust",),
}
Path = tuple[str | int, ...]  # of names and, counted from 1, places


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that is no longer as recorded; the decision and its scores may still hold where it does not matter."""

    what: str
    was: object
    now: object
    matters: bool = True


def verify(
    record: AuditRecord, explainer: Explainer, *, text: Text | None = None, tolerance: int | float = TOLERANCE
) -> list[Difference]:
    """Explain the text of a record again, by the record's own settings, and compare.

    Args:
        record: As written.
        explainer: Supposedly the same model and explainer.
        text: The text, for a record that does not hold it; otherwise the text that the record must be about.
        tolerance: By how much a probability or score may differ.

    Returns:
        What differs; nothing if all is as recorded. If the text is another one, only that.

    Raises:
        InputError: If the record does not hold its text and none is given, or lacks options.
    """
    item = text or _kept(record)
    if lost := [name for name, value in record.asked.options.items() if isinstance(value, Mapping)]:
        raise InputError(f"The record holds only a hash of {', '.join(lost)}, so that it cannot be computed again.")
    again = record_decision(explainer, item, asked=record.asked, keep_text=record.text.content is not None)
    differences = [Difference("the file", "as it was written", "edited since")] if record.changed else []
    if other := list(_texts(record, again)):
        return [*differences, *other]
    was, now = _computed(record), _computed(again)
    differences += [difference for name in was for difference in _compared(was[name], now[name], (name,), tolerance)]
    # The explanation repeats names of models and versions: what differs in both is told once.
    return list(
        {
            (difference.what, repr(difference.was), repr(difference.now)): difference for difference in differences
        }.values()
    )


def _kept(record: AuditRecord) -> Text:
    if record.text.content is None:
        raise InputError("The record does not hold the text: give it, so that it can be computed again.")
    return Text.of(record.text.content, None if record.pair is None else record.pair.content)


def _texts(record: AuditRecord, again: AuditRecord) -> Iterator[Difference]:
    for name, was, now in (("text", record.text, again.text), ("pair", record.pair, again.pair)):
        if (was and was.sha256) != (now and now.sha256):
            yield Difference(f"sha256 of the {name}", was and was.sha256, now and now.sha256)


def _computed(record: AuditRecord) -> dict[str, Any]:
    """Return the computed fields of a record, as in its JSON."""
    data: dict[str, Any] = json.loads(json.dumps(record.to_dict()))
    return {name: value for name, value in data.items() if name not in _GIVEN}


def _compared(was: Any, now: Any, path: Path, tolerance: int | float) -> Iterator[Difference]:
    """Compare two JSON values part by part, and name each that differs; of lists of different lengths only these."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for name in sorted({*was, *now}):
            yield from _compared(was.get(name, _ABSENT), now.get(name, _ABSENT), (*path, name), tolerance)
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for place, pair in enumerate(zip(was, now, strict=True), start=1):
            yield from _compared(*pair, (*path, place), tolerance)
    elif not _equal(was, now, tolerance):
        matters = path not in _NOTED and path[0] != "versions"
        yield Difference(_named(path), _shown(was), _shown(now), matters)


def _shown(value: Any) -> object:
    return f"{len(value)} of them" if isinstance(value, list) else value


def _equal(was: Any, now: Any, tolerance: int | float) -> bool:
    """Compare two plain values; 1 is not True, and only values computed as floats may differ within the tolerance."""
    if isinstance(now, float) and type(was) in (int, float):
        return bool(now - tolerance <= was <= now + tolerance)
    return type(was) is type(now) and bool(was == now)


def _named(path: Path) -> str:
    """Name what is at a path: `score of word 2`, `probability of positive`, `content of the text`."""
    parts = list[str]()
    roots = 2 if path[:2] == ("explanation", "provenance") else path[0] in ("explanation", "models", "versions")
    for part in path[roots:] or path:
        if isinstance(part, int):
            parts[-1] = f"{parts[-1].removesuffix('s')} {part}"
        elif parts == ["probabilities"]:
            parts = [f"probability of {part}"]
        else:
            parts.append(f"the {part}" if part in ("text", "pair") and not parts and len(path) > 1 else part)
    return " of ".join(reversed(parts))


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


_ABSENT = _Absent()
