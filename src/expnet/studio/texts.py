"""The texts to mark, from whatever file they are in."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from expnet.errors import InputError, require_extra
from expnet.files import lines
from expnet.model.batches import predict_texts
from expnet.model.classifier import Classifier
from expnet.rationales import Record, read
from expnet.rationales.files import is_document
from expnet.rationales.offsets import Offsets
from expnet.rationales.readers.table import recognise
from expnet.text.texts import Text

Key = tuple[str, str | None]  # a text, and its pair if it has one
_ROWS = 1000


def key_of(record: Record) -> Key:
    """Return what identifies a text, whatever its id: its characters and those of its pair."""
    return record.text.text, record.text.pair


def read_texts(
    path: Path,
    *,
    column: str | None = None,
    pair: str | None = None,
    characters: int = 20_000,
    offsets: Offsets = "auto",
) -> tuple[list[Record], list[str]]:
    """Read texts from lines of a .txt, from any format of rationales, or from a column of a table.

    Args:
        path: A .txt; a file that `expnet.rationales.read` reads, whose marks are ignored; or .csv, .parquet and the
            other formats of `expnet explain-file`.
        column: The column of a table that holds the texts, "text" by default unless the file holds rationales. Of a
            JSON document, the field that holds them.
        pair: The column, or field, that holds second texts.
        characters: Most characters of a text, its pair included.
        offsets: What the marks of an annotation tool's export count; they are not imported, but must fit the texts.

    Returns:
        Records without marks, each text once, and sentences on what was left out.

    Raises:
        ExpnetError: If the file cannot be read, or holds no text.
    """
    notes: list[str] = []
    if lines.is_text(path):
        records = [Record("", Text.of(line)) for line in lines.texts(path) if line.strip()]
    elif path.is_file() and (is_document(path) or (column is None and pair is None)) and (form := recognise(path)):
        unit = offsets if "text" in form.takes else "auto"
        records = read(path, offsets=unit, text=column, pair=pair).records
        if marked := sum(record.rationale is not None for record in records):
            notes.append(f"{marked} texts of {path} come with marks, which are not taken over: --import {path} does.")
    else:
        records = list(_table(path, column or "text", pair, notes))
    kept = dict[Key, Record]()
    for record in records:
        kept.setdefault(key_of(record), replace(record, rationale=None, annotations=(), part=None))
    usable = [record for record in kept.values() if record.text.words and sum(map(len, _parts(record))) <= characters]
    notes += _left_out(len(records) - len(kept), "occur more than once")
    notes += _left_out(len(kept) - len(usable), f"are blank or longer than {characters:,} characters")
    if not usable:
        raise InputError(f"{path} holds no text to mark. {' '.join(notes)}".strip())
    return _with_ids(usable), notes


def uncertain_first(classifier: Classifier, records: Sequence[Record]) -> list[Record]:
    """Return texts in another order: first those of which a classifier is least certain, by its highest probability.

    Raises:
        InputError: If it is a regression, whose values say nothing about its certainty.
    """
    if classifier.kind == "value":
        raise InputError("A regression does not say how certain it is: leave the order as it is in the file.")
    highest = predict_texts(classifier, [record.text for record in records]).outputs.max(1).values.tolist()
    return [record for _, record in sorted(zip(highest, records, strict=True), key=lambda rated: rated[0])]


def name_of(text: Text) -> str:
    """Return an id for a text that has none; it does not depend on the rest of the file."""
    return sha256(repr((text.text, text.pair)).encode()).hexdigest()[:12]


def _parts(record: Record) -> Sequence[str]:
    return [part for part in key_of(record) if part is not None]


def _table(path: Path, column: str, pair: str | None, notes: list[str]) -> Iterator[Record]:
    require_extra("pyarrow", "batch")
    from expnet.batch.files import Reader, survey
    from expnet.batch.folders import find_files

    wanted = [column] + ([] if pair is None else [pair])
    paths, unknown = find_files(path)
    notes += [f"{file} was not read: its file type is not supported." for file in unknown]
    bad = 0
    for file in (survey(source, path, _ROWS) for source in paths):
        if missing := [name for name in wanted if name not in file.schema.names]:
            columns = ", ".join(file.schema.names)
            raise InputError(
                f"{file.path} has no column {missing[0]!r}; it has {columns}. Say which: --text COLUMN, --pair COLUMN."
            )
        reader = Reader([file], file.schema, wanted)
        for number in range(len(file.counts)):
            cells = reader.read(number).cells
            for values in zip(*(cells[name] for name in wanted), strict=True):
                if all(isinstance(value, str) for value in values):
                    yield Record("", Text.of(*values))
                else:
                    bad += 1
    notes += _left_out(bad, "are not texts: null, a number or an unreadable row")


def _with_ids(records: Iterable[Record]) -> list[Record]:
    """Give an id to records that have none, or one that is taken."""
    used, named = set[str](), []
    for record in records:
        id = record.id if record.id and record.id not in used else name_of(record.text)
        used.add(id)
        named.append(replace(record, id=id))
    return named


def _left_out(count: int, why: str) -> list[str]:
    return [f"{count} texts {why}, and are left out."] if count else []
