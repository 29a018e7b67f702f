"""Files as rows that know their line: JSON lines, JSON documents, tables; plain or gzipped."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from expnet.errors import InputError, LineError, RationaleError
from expnet.files.lines import Opener, numbered, opened
from expnet.rationales.documents import Document
from expnet.rationales.problems import Problem, SourceRow


def lines(path: Path, opener: Opener | None = None) -> Iterator[tuple[int, bytes] | Problem]:
    """Yield each line as `expnet.files.lines.numbered` does, and a problem where what follows cannot be read.

    Raises:
        RationaleError: If there is no such file, or it may not be read.
    """
    try:
        yield from numbered(path, opener)
    except LineError as error:
        yield _lost(path, error)
    except InputError as error:
        raise RationaleError(str(error)) from error


def json_lines(path: Path, opener: Opener | None = None) -> Iterator[SourceRow | Problem]:
    """Yield the JSON object of each line that is not blank."""
    for line in lines(path, opener):
        if isinstance(line, Problem):
            yield line
        elif line[1].strip():
            number, content = line
            try:
                yield _row(path, number, json.loads(content.decode("utf-8")))
            # json raises ValueError also for numbers of too many digits, RecursionError for lists too deep.
            except (ValueError, RecursionError) as error:
                yield Problem(str(path), number, str(error))


def json_elements(path: Path) -> Iterator[SourceRow | Problem]:
    """Yield the objects in the list, or the values of the object, that a JSON document holds.

    Where the document is broken, all that follows is one problem.

    Raises:
        RationaleError: If there is no such file, or it may not be read.
    """
    try:
        with opened(path) as file:
            document = Document(file, str(path))
            try:
                for line, key, value in document.elements():
                    yield _row(path, line, value, key)
            except LineError as error:
                yield _lost(path, error)
            except (ValueError, RecursionError) as error:
                what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                yield Problem(str(path), document.line, f"{what}; nothing after this could be read")
    except OSError as error:
        raise RationaleError(f"{path} cannot be read: {error.strerror or error}") from error


def is_document(path: Path) -> bool:
    """Return whether a file holds one JSON document, by its name."""
    return path.name.lower().endswith((".json", ".json.gz"))


def csv_header(path: Path, opener: Opener | None = None) -> list[str] | Problem:
    """Return the names of a table's columns, none where it is empty."""
    lost: list[Problem] = []
    try:
        header = next(csv.reader(_decoded(path, opener, lost), strict=True), [])
    except csv.Error as error:
        return lost[0] if lost else Problem(str(path), 1, str(error))
    if lost and not header:
        return lost[0]
    try:
        "".join(header).encode()
    except UnicodeEncodeError:
        return Problem(str(path), 1, "the names of the columns are not UTF-8; save the file as UTF-8")
    return header


def csv_rows(path: Path, opener: Opener | None = None) -> Iterator[SourceRow | Problem]:
    """Yield the rows of a table with a header, each as column to text."""
    lost: list[Problem] = []
    reader = csv.reader(_decoded(path, opener, lost), strict=True)
    header: list[str] | None = None
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            if lost:
                break  # a row without its end
            if "field limit" in str(error) and reader.line_num > start:  # where the cell ends is not known
                yield Problem(str(path), start, f"{error}, and the cell goes on over several lines", kind="too long")
                break
            yield Problem(str(path), start, str(error))
            continue
        if header is None:
            header = cells
        elif cells:
            yield _cells(path, start, header, cells)
    yield from lost


def _lost(path: Path, error: LineError) -> Problem:
    return Problem(str(path), error.line, error.reason, kind="too long" if error.fault == "too long" else "cut off")


def _row(path: Path, line: int, value: Any, key: str | None = None) -> SourceRow | Problem:
    if not isinstance(value, dict):
        return Problem(str(path), line, f"expected a JSON object, got {type(value).__name__}", key, "field")
    return SourceRow(line, value, key)


def _cells(path: Path, line: int, header: list[str], cells: list[str]) -> SourceRow | Problem:
    if len(cells) != len(header):
        return Problem(str(path), line, f"{len(cells)} cells in a row of {len(header)} columns", kind="field")
    try:
        "".join(cells).encode()
    except UnicodeEncodeError as error:
        return Problem(str(path), line, f"the row is not UTF-8, at its character {error.start}")
    return SourceRow(line, dict(zip(header, cells, strict=True)))


def _decoded(path: Path, opener: Opener | None, lost: list[Problem]) -> Iterator[str]:
    for line in lines(path, opener):
        if isinstance(line, Problem):
            lost.append(line)
        else:
            # A byte that is not UTF-8 becomes a lone surrogate, which its row is then refused for.
            yield line[1].decode("utf-8", errors="surrogateescape")
