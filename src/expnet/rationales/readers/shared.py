"""The shared format: one JSON object a line."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from expnet.rationales.fields import items, marked_words, name, spelled, string, words
from expnet.rationales.files import json_lines
from expnet.rationales.offsets import Mark, Unit, at_mark
from expnet.rationales.problems import Found, Problem, RowError, SourceRow, parsed
from expnet.rationales.records import Annotation, Record
from expnet.text.texts import Text
from expnet.text.words import Span


def read_shared(
    path: Path, rationale: str = "rationale", drop_overlap: str | None = None, unit: Unit = "characters"
) -> Iterator[Found]:
    """Read the shared format; see `expnet.rationales.read_records`."""

    def kept() -> Iterator[SourceRow | Problem]:
        for row in json_lines(path):
            if drop_overlap is None or isinstance(row, Problem):
                yield row
                continue
            try:
                if drop_overlap not in (items(row.fields, "overlap", "names of sets") or ()):
                    yield row
            except RowError as error:
                yield Problem(str(path), row.line, str(error), kind=error.kind)

    def record(row: SourceRow) -> Record:
        return parse_record(row.fields, rationale=rationale, default_id=str(row.line), unit=unit)

    return parsed(str(path), kept(), record)


def parse_record(
    row: Mapping[str, Any], *, rationale: str = "rationale", default_id: str = "", unit: Unit = "characters"
) -> Record:
    """Turn one line of the shared format into a record; see `expnet.rationales.read_records`.

    Raises:
        RationaleError: If a field is missing, of the wrong type, or does not fit the others.
        InputError: If a text is not valid Unicode, or a word is empty.
    """
    text = _text(row)
    marks = _marks(text, row, rationale, unit)
    given = [part for part, key in enumerate("ab") if row.get(f"{rationale}_{key}") is not None]
    part = given[0] if "tokens_a" in row and len(given) == 1 else None
    return Record(name(row, "id") or default_id, text, name(row, "label"), marks, _annotations(text, row, unit), part)


def _text(row: Mapping[str, Any]) -> Text:
    if "tokens_a" in row:
        return Text.from_words(words(row, "tokens_a"), words(row, "tokens_b"))
    if "tokens" in row:
        text = Text.from_words(words(row, "tokens"))
        if row.get("text") is None:
            return text
        return spelled(string(row, "text"), words(row, "tokens"))
    if "text" in row:
        return Text.of(string(row, "text"), None if row.get("pair") is None else string(row, "pair"))
    raise RowError("field", f"expected 'text', 'tokens' or 'tokens_a', got the fields {sorted(row)}")


def _marks(text: Text, row: Mapping[str, Any], field: str, unit: Unit) -> tuple[Span, ...] | None:
    if "tokens_a" in row:
        given = [items(row, f"{field}_{part}", "0 and 1") for part in "ab"]
        parts = [None if g is None else marked_words(text, n, g, f"{field}_{'ab'[n]}") for n, g in enumerate(given)]
        return None if parts == [None, None] else (parts[0] or ()) + (parts[1] or ())
    of = "0 and 1" if "tokens" in row else "[start, end] or [start, end, segment]"
    marks = items(row, field, of)
    return None if marks is None else _spans(text, row, marks, field, unit)


def _annotations(text: Text, row: Mapping[str, Any], unit: Unit) -> tuple[Annotation, ...]:
    lists = items(row, "annotators", "marks")
    if lists is None:
        return ()
    ids = items(row, "annotator_ids", "names") or [str(place + 1) for place in range(len(lists))]
    if len(ids) != len(lists):
        raise RowError("field", f"'annotators' holds {len(lists)} lists, but 'annotator_ids' {len(ids)} names")
    labels = items(row, "annotator_labels", "labels") or []
    if len(labels) != len(lists):  # labels of people who marked nothing stand among them: whose is whose is unknown
        labels = [None] * len(lists)
    return tuple(
        Annotation(str(who), _spans(text, row, marks, "annotators", unit), None if label is None else str(label))
        for who, marks, label in zip(ids, lists, labels, strict=True)
        if marks is not None
    )


def _spans(text: Text, row: Mapping[str, Any], marks: Any, field: str, unit: Unit) -> tuple[Span, ...]:
    if "tokens" in row or "tokens_a" in row:
        return marked_words(text, None, marks, field)
    if not isinstance(marks, list):
        raise RowError("marks", f"expected {field!r} to hold lists of marks, got {type(marks).__name__}")
    return tuple(_span(text, mark, unit) for mark in marks)


def _span(text: Text, mark: Any, unit: Unit) -> Span:
    if not isinstance(mark, list) or len(mark) not in (2, 3) or not all(type(n) is int for n in mark):
        raise RowError("marks", f"expected a mark as [start, end] or [start, end, segment], got {mark!r}")
    return Span(*mark) if unit == "characters" else at_mark(text, Mark(*mark), unit)
