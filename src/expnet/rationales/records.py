"""One record: a text, its label, and the spans that people marked."""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expnet.errors import RationaleError
from expnet.texts import Text
from expnet.words import Span


@dataclass(frozen=True, slots=True)
class Record:
    """A text with its label and its rationale.

    `rationale` holds the marked character spans; None means that nobody annotated the text, an empty tuple
    that somebody did and marked nothing.
    """

    id: str
    text: Text
    label: str | None = None
    rationale: tuple[Span, ...] | None = None

    def __post_init__(self) -> None:
        for span in self.rationale or ():
            length = len(self.text.part(span.segment))
            if not (0 <= span.start < span.end <= length and span.segment in (0, 1)):
                raise RationaleError(
                    f"Record {self.id!r}: the mark {span.start}:{span.end} lies outside "
                    f"{'the pair' if span.segment else 'the text'} of {length} characters. "
                    "Marks are character offsets into the text as given, end exclusive."
                )

    def word_marks(self) -> tuple[bool, ...]:
        """Return for each word whether at least half of its characters are marked.

        Raises:
            RationaleError: If the record has no rationale.
        """
        if self.rationale is None:
            raise RationaleError(f"Record {self.id!r} has no rationale.")
        marked = [bytearray(len(self.text.part(segment))) for segment in (0, 1)]
        for start, end, segment in self.rationale:
            marked[segment][start:end] = b"1" * (end - start)
        return tuple(
            marked[segment].count(b"1", start, end) * 2 >= end - start for start, end, segment in self.text.words
        )


def read_records(path: str | Path, *, rationale: str = "rationale", drop_overlap: str | None = None) -> list[Record]:
    """Read records from JSON lines, plain or gzipped.

    A line holds `text` (and `pair`) or `tokens` (or `tokens_a` and `tokens_b`), and as far as they are known
    `id`, `label` and the rationale: 0/1 per token, or `[start, end]` or `[start, end, segment]` character spans.

    Args:
        path: A `.jsonl` or `.jsonl.gz` file.
        rationale: The field with the marks, such as `rationale_majority`; pairs add `_a` and `_b`.
        drop_overlap: Leave out lines whose `overlap` field names this set, to keep test texts out of training.

    Raises:
        RationaleError: If a line cannot be read, named by file and line.
    """
    records, seen = [], set()
    for number, line in _lines(Path(path)):
        try:
            row = json.loads(line.decode())
            if not isinstance(row, Mapping):
                raise RationaleError(f"expected a JSON object, got {type(row).__name__}")
            if drop_overlap is not None and drop_overlap in (_list(row, "overlap", "names of sets") or ()):
                continue
            record = parse_record(row, rationale=rationale, default_id=str(number))
            if record.id in seen:
                raise RationaleError(f"the id {record.id!r} was used before")
        # json raises ValueError also for numbers of too many digits, RecursionError for lists too deep.
        except (ValueError, RecursionError) as error:
            raise RationaleError(f"{path}, line {number}: {error}") from error
        seen.add(record.id)
        records.append(record)
    return records


def parse_record(row: Mapping[str, Any], *, rationale: str = "rationale", default_id: str = "") -> Record:
    """Turn one line of the shared format into a record; see `read_records`.

    Raises:
        RationaleError: If a field is missing, of the wrong type, or does not fit the others.
        InputError: If a text is no Unicode text, or a word is empty.
    """
    marks: tuple[Span, ...] | None
    if "tokens_a" in row:
        text = Text.from_words(_words(row, "tokens_a"), _words(row, "tokens_b"))
        parts = [_marked_words(text, 0, row, f"{rationale}_a"), _marked_words(text, 1, row, f"{rationale}_b")]
        # A rationale on one part only says that the other was read and not marked.
        marks = None if parts == [None, None] else (parts[0] or ()) + (parts[1] or ())
    elif "tokens" in row:
        text = Text.from_words(_words(row, "tokens"))
        marks = _marked_words(text, 0, row, rationale)
    elif "text" in row:
        text = Text.of(_string(row, "text"), None if row.get("pair") is None else _string(row, "pair"))
        given = _list(row, rationale, "[start, end] or [start, end, segment]")
        marks = None if given is None else tuple(_span(mark) for mark in given)
    else:
        raise RationaleError(f"expected 'text', 'tokens' or 'tokens_a', got the fields {sorted(row)}")
    return Record(_name(row, "id") or default_id, text, _name(row, "label"), marks)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RationaleError(f"{path}, after line {number}: {error}. Is the file cut off or no gzip?") from error
    except OSError as error:
        raise RationaleError(f"{path} cannot be read: {error.strerror or error}") from error


def _string(row: Mapping[str, Any], field: str) -> str:
    value = row.get(field)
    if not isinstance(value, str):
        raise RationaleError(f"expected {field!r} to be a string, got {type(value).__name__}")
    return value


def _name(row: Mapping[str, Any], field: str) -> str | None:
    value = row.get(field)
    if value is not None and not isinstance(value, str | int | float):
        raise RationaleError(f"expected {field!r} to be a string or a number, got {type(value).__name__}")
    return None if value is None else str(value)


def _list(row: Mapping[str, Any], field: str, of: str) -> list[Any] | None:
    value = row.get(field)
    if value is not None and not isinstance(value, list):
        raise RationaleError(f"expected {field!r} to be a list of {of}, got {type(value).__name__}")
    return value


def _words(row: Mapping[str, Any], field: str) -> list[str]:
    words = row.get(field)
    if not isinstance(words, list):
        raise RationaleError(f"expected {field!r} to be a list of words, got {type(words).__name__}")
    for place, word in enumerate(words):
        if not isinstance(word, str):
            raise RationaleError(f"expected {field!r} to hold strings, got {word!r} at place {place}")
    return words


def _marked_words(text: Text, segment: int, row: Mapping[str, Any], field: str) -> tuple[Span, ...] | None:
    flags = _list(row, field, "0 and 1")
    if flags is None:
        return None
    words = [word for word in text.words if word.segment == segment]
    if len(flags) != len(words):
        raise RationaleError(f"{field!r} holds {len(flags)} marks for {len(words)} words")
    if wrong := [flag for flag in flags if flag not in (0, 1)]:
        raise RationaleError(f"expected {field!r} to hold 0 and 1 only, got {wrong[0]!r}")
    return tuple(word for word, flag in zip(words, flags, strict=True) if flag)


def _span(mark: Any) -> Span:
    if not isinstance(mark, list) or len(mark) not in (2, 3) or not all(type(n) is int for n in mark):
        raise RationaleError(f"expected a mark as [start, end] or [start, end, segment], got {mark!r}")
    return Span(*mark)
