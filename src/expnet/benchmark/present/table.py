"""One table: Markdown for readers, CSV for spreadsheets."""

import csv
import io
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from expnet.benchmark.present.comparison import Gain
from expnet.benchmark.present.summary import MeanOverSeeds
from expnet.explanation.escape import printable

Cell = str | int | float | MeanOverSeeds | Gain | None
MISSING = "–"


@dataclass(frozen=True, slots=True)
class Table:
    """Cells under a header; `bold` holds the (row, column) of the best, and the first column names the row."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    bold: frozenset[tuple[int, int]] = frozenset()


def shown(cell: Cell) -> str:
    """Return a cell for readers: a figure with its interval, a dash for what is not defined."""
    match cell:
        case MeanOverSeeds() | Gain():
            signed = "+" if isinstance(cell, Gain) else ""
            if math.isnan(cell.mean):
                return MISSING
            digits = ".3f" if abs(cell.mean) < 10 else ",.1f"
            return f"{cell.mean:{signed}{digits}} [{cell.low:{digits}}, {cell.high:{digits}}]"
        case float():
            small = f"{cell:.3f}" if abs(cell) < 10 else f"{cell:,.1f}"
            return MISSING if math.isnan(cell) else "< 0.001" if 0 < cell < 0.001 else small
        case None:
            return MISSING
        case _:
            return printable(str(cell)).replace("\n", " ")


def markdown(table: Table) -> str:
    """Return the table with its title and notes; names cannot become markup."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    def text(cell: Cell) -> str:
        return _plain(shown(cell)) if isinstance(cell, str) else shown(cell)

    rows = [
        line(f"**{text(cell)}**" if (i, j) in table.bold else text(cell) for j, cell in enumerate(row))
        for i, row in enumerate(table.rows)
    ]
    head = [line(map(_plain, table.header)), "|" + "---|" * len(table.header)]
    return "\n".join([f"### {_plain(table.title)}", "", *head, *rows, *(f"\n{_plain(note)}" for note in table.notes)])


def to_csv(table: Table) -> str:
    """Return the table with a column for the mean and each end of an interval; no text can become a formula."""
    wide = [any(isinstance(row[j], MeanOverSeeds | Gain) for row in table.rows) for j in range(len(table.header))]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    header = [[name, f"{name} low", f"{name} high"] if wide[j] else [name] for j, name in enumerate(table.header)]
    writer.writerow(_defused(name) for names in header for name in names)
    for row in table.rows:
        writer.writerow(number for j, cell in enumerate(row) for number in _numbers(cell, 3 if wide[j] else 1))
    return file.getvalue()


def _plain(text: str) -> str:
    return re.sub(r"([\\`*\[\]<>|#&~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", text)


def _defused(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would read as a formula; some read full-width signs so, too."""
    return f"'{printable(text)}" if text.startswith(tuple("=+-@\t\r\n＝＋－＠")) else printable(text)


def _numbers(cell: Cell, width: int) -> list[str | int | float]:
    if isinstance(cell, MeanOverSeeds | Gain):
        return ["" if math.isnan(x) else x for x in (cell.mean, cell.low, cell.high)]
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return [""] * width
    return [_defused(cell) if isinstance(cell, str) else cell, *[""] * (width - 1)]
