"""Compute a record again and say what differs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from expnet.audit.record import Record, record_decision
from expnet.errors import InputError
from expnet.explainer import Explainer
from expnet.explanation import Explanation
from expnet.texts import Text

# Other kernels, versions and processors add up in another order; a word moves by less than this.
TOLERANCE = 1e-3
# Names may change with the place a model is loaded from; what it is, its hash says.
_NOTED = {"classifier", "explainer", "device", "precision"}


@dataclass(frozen=True, slots=True)
class Difference:
    """What is no longer as the record says; where it does not matter, the decision and its scores may still hold."""

    what: str
    was: object
    now: object
    matters: bool = True


def verify(
    record: Record, explainer: Explainer, *, text: Text | None = None, tolerance: int | float = TOLERANCE
) -> list[Difference]:
    """Explain the text of a record again, by the record's own settings, and compare.

    Args:
        record: As written.
        explainer: The same model and explainer, as far as anybody knows.
        text: What was decided about, for a record that does not hold it; else what the record must be about.
        tolerance: By how much a probability or score may differ.

    Returns:
        What differs; nothing if all is as recorded. If the text is another one, only that.

    Raises:
        InputError: If the record does not hold its text and none is given, or lacks options.
    """
    item = text or _kept(record)
    if lost := [name for name, value in record.asked.options.items() if isinstance(value, Mapping)]:
        raise InputError(f"The record holds only a hash of {', '.join(lost)}, so that it cannot be computed again.")
    again = record_decision(explainer, item, asked=record.asked)
    if record.text.content is None:
        again = replace(again, checks=tuple(replace(each, words=()) for each in again.checks))
    found = [Difference("the file", "as it was written", "edited since")] if record.changed else []
    if other := list(_texts(record, again)):
        return [*found, *other]
    return [*found, *_origins(record, again), *_scores(record, again, tolerance)]


def _kept(record: Record) -> Text:
    if record.text.content is None:
        raise InputError("The record does not hold the text: give it, so that it can be computed again.")
    return Text.of(record.text.content, None if record.pair is None else record.pair.content)


def _texts(record: Record, again: Record) -> Iterator[Difference]:
    for name, was, now in (("text", record.text, again.text), ("pair", record.pair, again.pair)):
        if (was and was.sha256) != (now and now.sha256):
            yield Difference(f"sha256 of the {name}", was and was.sha256, now and now.sha256)


def _origins(record: Record, again: Record) -> Iterator[Difference]:
    for was, now, notes in ((record.models, again.models, _NOTED), (record.versions, again.versions, None)):
        for name in sorted({*was, *now}):
            if was.get(name) != now.get(name):
                matters = notes is not None and name not in notes
                yield Difference(name, was.get(name), now.get(name), matters)
    if record.trust != again.trust:
        yield Difference("trust", record.trust, again.trust, matters=False)


def _scores(record: Record, again: Record, tolerance: int | float) -> Iterator[Difference]:
    was, now = record.explanation, again.explanation
    for name in ("label", "method", "signed", "calibrated", "windows", "kind"):
        if getattr(was, name) != getattr(now, name):
            yield Difference(name, getattr(was, name), getattr(now, name))
    if was.uses_target != now.uses_target:  # older records do not hold it
        yield Difference("uses_target", was.uses_target, now.uses_target, matters=False)
    spans = [[(word.start, word.end, word.segment, word.seen) for word in each.words] for each in (was, now)]
    if spans[0] != spans[1]:
        yield Difference("words", f"{len(spans[0])} of them", f"{len(spans[1])}, or others")
        return
    before, after = _figures(record), _figures(again)
    for name in sorted({*before, *after}):
        if name not in before or name not in after or not abs(before[name] - after[name]) <= tolerance:
            yield Difference(name, before.get(name), after.get(name))


def _figures(record: Record) -> dict[str, float]:
    """Return every figure that must come out again, by what it is called."""
    explanation: Explanation = record.explanation
    checks: dict[str, Any] = {
        f"{name} of {each.name}": getattr(each, name) for each in record.checks for name in ("without", "alone")
    }
    return {
        explanation.kind: explanation.output,
        "threshold": -1.0 if explanation.threshold is None else explanation.threshold,
        **{f"{explanation.kind} of {name}": output for name, output in explanation.outputs.items()},
        **{f"score of word {number}": word.score for number, word in enumerate(explanation.words, start=1)},
        **checks,
    }
