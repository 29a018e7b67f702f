"""What is wrong with a file: where, of which kind, and what a reader hands back beside it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

from expnet.errors import InputError, RationaleError
from expnet.rationales.records import Record

Kind = Literal["cut off", "too long", "broken", "field", "text", "tokens", "marks", "label", "id", "leak"]


class RowError(RationaleError):
    """A row of a file cannot be read; `parsed` turns it into a `Problem` with file and line."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind: Kind = kind


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a file: at which line (the first is 1; the row of a hub data set), and why.

    A problem of kind "cut off" concerns all that should follow the line, "too long" also the line itself; line 0 is the
    file as a whole.
    """

    file: str
    line: int
    reason: str
    id: str | None = None
    kind: Kind = "broken"

    def __str__(self) -> str:
        return f"{self.file}, {'after ' if self.kind == 'cut off' else ''}line {self.line}: {self.reason}"


class SourceRow(NamedTuple):
    """One JSON object or one line of a table, the line where it starts, and its key in an object of objects."""

    line: int
    fields: dict[str, Any]
    key: str | None = None


Found = tuple[int, Record] | Problem
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReadFile:
    """The records of a file, the line where each starts, and everything that could not be read."""

    records: list[Record]
    problems: list[Problem]
    lines: list[int]


def parsed(
    file: str, rows: Iterable[SourceRow | Problem], parse: Callable[[SourceRow], T]
) -> Iterator[tuple[int, T] | Problem]:
    """Turn each row into a record, or what becomes one, or into the problem that it has."""
    for row in rows:
        if isinstance(row, Problem):
            yield row
            continue
        try:
            yield row.line, parse(row)
        except (RationaleError, InputError) as error:
            yield Problem(file, row.line, str(error), _id(row), _kind(error))


def count_kinds(problems: Sequence[Problem]) -> dict[str, int]:
    """Return how many problems there are of each kind, the most frequent first."""
    return dict(Counter(problem.kind for problem in problems).most_common())


def _kind(error: Exception) -> Kind:
    if isinstance(error, RowError):
        return error.kind
    return "text" if isinstance(error, InputError) else "marks"  # a Record checks its marks only


def _id(row: SourceRow) -> str | None:
    key = row.key if row.key is not None else row.fields.get("id")
    return str(key) if isinstance(key, str | int) else None
