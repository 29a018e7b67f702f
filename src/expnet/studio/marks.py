"""The file of marks: the shared format, and who did what with a text and when."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from expnet.errors import InputError, RationaleError
from expnet.files.atomic import write_atomic
from expnet.rationales import Annotation, Record, as_row
from expnet.rationales.files import json_lines
from expnet.rationales.problems import Problem
from expnet.rationales.readers.merge import named_apart
from expnet.rationales.readers.shared import parse_record
from expnet.rationales.votes import agree, majority_label
from expnet.runtime.locks import Lock
from expnet.studio.texts import Key, key_of, name_of
from expnet.text.words import Span

FIELD = "studio"  # of a line: what is known of each annotator beside the marks
_UNNAMED = "unnamed"
_PATIENCE = 10  # seconds to wait for another program that writes


@dataclass(frozen=True, slots=True)
class Doing:
    """What one person did with one text; times are UTC in ISO 8601, empty for never.

    Attributes:
        marked_at: When the marks were last saved.
        skipped_at: When the text was skipped; empty once it is marked.
        explanation_shown_at: When an explanation of it was first shown.
        marked_after_explanation: Whether one had been shown when the marks were last saved.
    """

    marked_at: str = ""
    skipped_at: str = ""
    explanation_shown_at: str = ""
    marked_after_explanation: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A text in the file, what each annotator did with it, and fields of its line that other programs wrote."""

    record: Record
    doings: Mapping[str, Doing] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)

    def doing(self, annotator: str) -> Doing:
        """Return what a person did with the text."""
        return self.doings.get(annotator, Doing())

    def annotation(self, annotator: str) -> Annotation | None:
        """Return what a person marked; None if there is no such annotator."""
        return next((marked for marked in self.record.annotations if marked.annotator == annotator), None)


class ConflictError(Exception):
    """Marks were saved by the same person elsewhere since they were last seen; `entry` holds them."""

    def __init__(self, entry: Entry) -> None:
        super().__init__("saved elsewhere")
        self.entry = entry


class Marks:
    """A file of marks, read again whenever it has changed; several programs may write to it in turn."""

    def __init__(self, path: Path) -> None:
        """Open a file, which is created with the first marks if it does not exist.

        Raises:
            RationaleError: If it exists and cannot be read.
            InputError: If its folder does not exist.
        """
        if not path.absolute().parent.is_dir():
            raise InputError(f"The folder {path.absolute().parent} does not exist; create it, or write elsewhere.")
        self.path = path
        self._lock = FileLock(path.with_name(path.name + ".lock"), timeout=_PATIENCE)
        self._reading = Lock()
        self._seen: tuple[int, int, int] | None = None
        self._entries: dict[Key, Entry] = {}
        self.entries()

    def entries(self) -> Mapping[Key, Entry]:
        """Return all texts of the file, in its order."""
        with self._reading:
            try:
                stat = self.path.stat()
                now = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            except FileNotFoundError:
                now = None
            if now != self._seen:
                self._entries = {} if now is None else dict(_read(self.path))
                self._seen = now
            return dict(self._entries)

    def records(self) -> list[Record]:
        """Return the records that somebody marked."""
        return [entry.record for entry in self.entries().values() if entry.record.rationale is not None]

    def save(
        self, record: Record, annotator: str, spans: Sequence[Span], label: str | None, *, seen: str | None = None
    ) -> Entry:
        """Put a person's marks of a text into the file, in place of that person's earlier ones.

        Args:
            record: The text.
            annotator: Who marked.
            spans: The marks; none if no word is a reason.
            label: The class that they are reasons for.
            seen: When the marks that this person was shown were saved ("" if there were none); None overwrites any.

        Raises:
            ConflictError: If other marks of this person were saved since.
            InputError: If the file cannot be written.
        """

        def change(entry: Entry) -> Entry:
            doing = entry.doing(annotator)
            if seen is not None and seen != doing.marked_at:
                raise ConflictError(entry)
            mine = Annotation(annotator, tuple(spans), label)
            done = Doing(
                marked_at=_now(),
                explanation_shown_at=doing.explanation_shown_at,
                marked_after_explanation=bool(doing.explanation_shown_at),
            )
            return Entry(joined(entry.record, mine), {**entry.doings, annotator: done}, entry.others)

        return self._change([record], change)[0]

    def withdraw(self, record: Record, annotator: str) -> None:
        """Take a person's marks of a text back out of the file; that an explanation was shown stays noted."""

        def change(entry: Entry) -> Entry:
            doing = replace(entry.doing(annotator), marked_at="", skipped_at="", marked_after_explanation=False)
            rest = tuple(marked for marked in entry.record.annotations if marked.annotator != annotator)
            left = replace(entry.record, annotations=(), rationale=None, label=record.label)
            left = joined(left, *rest) if rest else left
            return replace(entry, record=left, doings={**entry.doings, annotator: doing})

        self._change([record], change)

    def skip(self, record: Record, annotator: str) -> None:
        """Note that a person does not want to mark a text; marks that are there stay."""
        self._note([record], annotator, lambda doing: replace(doing, skipped_at=_now()))

    def shown(self, records: Sequence[Record], annotator: str) -> None:
        """Note that a person sees explanations of texts."""
        self._note(records, annotator, lambda doing: replace(doing, explanation_shown_at=_now()), once=True)

    def add(self, records: Sequence[Record]) -> int:
        """Add records to the file; where an annotator has marked a text in it already, the file's marks stay.

        Where an annotator marked a text more than once in these records, later ones are numbered, as readers do.

        Returns:
            How many texts they brought something new for.
        """
        marked: dict[Key, Record] = {}
        brought: dict[Key, tuple[Annotation, ...]] = {}
        for record in (_named(given) for given in records if given.rationale is not None):
            key = key_of(record)
            marked.setdefault(key, record)
            brought[key] = named_apart((*brought.get(key, ()), *record.annotations))
        news = 0

        def change(entry: Entry) -> Entry:
            nonlocal news
            new = [
                annotation
                for annotation in brought[key_of(entry.record)]
                if entry.annotation(annotation.annotator) is None
            ]
            news += bool(new)
            return replace(entry, record=joined(entry.record, *new)) if new else entry

        self._change(list(marked.values()), change)
        return news

    def _note(
        self, records: Sequence[Record], annotator: str, change: Callable[[Doing], Doing], *, once: bool = False
    ) -> None:
        def noted(entry: Entry) -> Entry:
            doing = entry.doing(annotator)
            if once and doing.explanation_shown_at:
                return entry
            return replace(entry, doings={**entry.doings, annotator: change(doing)})

        self._change(records, noted)

    def _change(self, records: Sequence[Record], change: Callable[[Entry], Entry]) -> list[Entry]:
        """Change the entries of some texts, or create them, while other programs are locked out of the file."""
        with self._writing():
            entries = dict(self.entries())
            ids = {entry.record.id for entry in entries.values()}
            before = dict(entries)
            for record in records:
                id = name_of(record.text) if record.id in ids else record.id
                key = key_of(record)
                entries[key] = change(entries.get(key) or Entry(replace(record, id=id, rationale=None, annotations=())))
                ids.add(entries[key].record.id)
            if entries != before:
                lines = [json.dumps(_row(entry), ensure_ascii=False) + "\n" for entry in entries.values()]
                write_atomic(self.path, "".join(lines).encode())
        return [entries[key_of(record)] for record in records]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except Timeout as error:
            raise InputError(
                f"Another program has been writing to {self.path} for {_PATIENCE} seconds: nothing was saved. Try "
                "again."
            ) from error
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be written: {error.strerror or error}. Nothing was saved, and the file is "
                "unchanged. Fix the cause and save again."
            ) from error


def joined(record: Record, *new: Annotation) -> Record:
    """Return a record with more annotations, each in place of an earlier one of the same person."""
    names = {annotation.annotator for annotation in new}
    all_of_them = (
        *(annotation for annotation in _named(record).annotations if annotation.annotator not in names),
        *new,
    )
    label = majority_label(all_of_them) or (new[-1].label if new else None) or record.label
    return replace(record, rationale=agree(all_of_them, "union"), annotations=all_of_them, label=label)


def _named(record: Record) -> Record:
    """Return a record in which marks without an annotator have a name."""
    if record.rationale is None or record.annotations:
        return record
    return replace(record, annotations=(Annotation(_UNNAMED, record.rationale, record.label),))


def _row(entry: Entry) -> dict[str, Any]:
    row = as_row(entry.record)
    doings = {FIELD: {name: asdict(doing) for name, doing in entry.doings.items()}} if entry.doings else {}
    return {**row, **{name: value for name, value in entry.others.items() if name not in row}, **doings}


_OURS = {
    *("id", "text", "pair", "tokens", "tokens_a", "tokens_b", "label", "rationale", "rationale_a", "rationale_b"),
    *("annotators", "annotator_ids", "annotator_labels", FIELD),
}


def _read(path: Path) -> Iterator[tuple[Key, Entry]]:
    keys = set[Key]()
    for row in json_lines(path):
        if isinstance(row, Problem):
            raise RationaleError(f"{row}. Mend the file, or give another with --marks.")
        place = f"{path}, line {row.line}"
        try:
            record = _named(parse_record(row.fields, default_id=str(row.line)))
            as_row(record)
            doings = {str(name): Doing(**doing) for name, doing in (row.fields.get(FIELD) or {}).items()}
        except (RationaleError, InputError, TypeError, AttributeError) as error:
            raise RationaleError(f"{place}: {error}. Mend the line, or give another file with --marks.") from error
        if key_of(record) in keys:
            raise RationaleError(f"{place}: the text was there before. Join the lines, or give another with --marks.")
        keys.add(key_of(record))
        others = {name: value for name, value in row.fields.items() if name not in _OURS}
        yield key_of(record), Entry(record, doings, others)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
