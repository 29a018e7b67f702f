"""Records to lines of the shared format."""

from collections.abc import Sequence
from typing import Any

from expnet.errors import RationaleError
from expnet.rationales.records import Record
from expnet.text.texts import Text
from expnet.text.words import Span


def as_row(record: Record) -> dict[str, Any]:
    """Return the fields of a line from which `read_records` makes an equal record.

    Marks are written as characters where the words are those that Unicode finds. Other words are written as tokens,
    each marked or not as `Record.word_marks` says.

    Raises:
        RationaleError: If the words are neither those nor tokens that spell the text, or only one part of a pair was
            judged: no line could say so.
    """
    text = record.text
    if record.part is not None:
        raise RationaleError(f"Record {record.id!r}: people read one part of the pair only, which no line can say.")
    given = {"id": record.id} | ({} if record.label is None else {"label": record.label})
    if text.words == Text.of(text.text, text.pair).words:
        content = {"text": text.text} | ({} if text.pair is None else {"pair": text.pair})
        return given | content | _marks(record, "rationale", of_words=False)
    _check_spelled(record)
    tokens = [[text.word(word) for word in text.words if word.segment == segment] for segment in (0, 1)]
    if text.pair is None:
        return given | {"text": text.text, "tokens": tokens[0]} | _marks(record, "rationale", of_words=True)
    return given | {"tokens_a": tokens[0], "tokens_b": tokens[1]} | _marks(record, "rationale", of_words=True)


def _marks(record: Record, field: str, *, of_words: bool) -> dict[str, Any]:
    def written(spans: Sequence[Span]) -> list[Any]:
        if of_words:
            return [int(marked) for marked in record.word_marks(spans)]
        return [list(span) if record.text.pair is not None else list(span[:2]) for span in spans]

    columns: dict[str, Any] = {}
    if record.rationale is not None:
        whole = written(record.rationale)
        first = sum(word.segment == 0 for word in record.text.words)
        parts = {f"{field}_a": whole[:first], f"{field}_b": whole[first:]}
        columns = parts if of_words and record.text.pair is not None else {field: whole}
    if record.annotations:
        columns["annotators"] = [written(annotation.spans) for annotation in record.annotations]
        columns["annotator_ids"] = [annotation.annotator for annotation in record.annotations]
        columns["annotator_labels"] = [annotation.label for annotation in record.annotations]
    return columns


def _check_spelled(record: Record) -> None:
    text = record.text
    for segment in (0, 1):
        words = [word for word in text.words if word.segment == segment]
        joined = " ".join(text.word(word) for word in words)
        part = text.part(segment)
        spelled = part == joined if text.pair is not None else "".join(part.split()) == "".join(joined.split())
        if not spelled:
            raise RationaleError(
                f"Record {record.id!r}: its words do not spell the text, and are not those that Unicode finds in it."
            )
