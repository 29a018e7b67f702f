"""What commands write: files, notes on standard error, and tables in a terminal."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from expnet.errors import InputError
from expnet.explanation.escape import printable

_UNBOUND = 10_000  # characters: more than any table is wide


def check_folder_of(output: Path) -> None:
    """Refuse a file in a folder that does not exist, before the work for it begins.

    Raises:
        InputError: If there is no such folder.
    """
    if not output.parent.is_dir():
        raise InputError(f"The folder {output.parent} does not exist; create it, or write elsewhere.")


def say(message: str) -> None:
    """Print a line to standard error, control characters spelled out."""
    print(printable(message), file=sys.stderr)


def say_saved(folder: Path, use: str) -> None:
    """Say where something was saved, and with which options `expnet explain` uses it."""
    print(f"Saved to {folder}. Explain with: expnet explain {use} TEXT")


def say_written(outputs: Iterable[Path]) -> None:
    """Say on standard error which files were written."""
    for output in outputs:
        say(f"expnet: wrote {output}")


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, optional: Sequence[str] = (), long: bool = False
) -> list[str]:
    """Print a table whose first column stays on one line, and return the names of the columns that are left out.

    Args:
        header: Names of the columns.
        rows: Cells, as many in a row as there are columns.
        optional: Columns that a terminal too narrow for them is spared, the first to be left out first. A table with
            such columns is never folded: where it is still too wide, its lines are longer than the terminal's. What
            is not a terminal has room for everything.
        long: Show every column, however wide.
    """
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    def without(left_out: Sequence[str]) -> Table:
        table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
        shown = [place for place, name in enumerate(header) if name not in left_out]
        for place in shown:
            table.add_column(header[place], overflow="fold", no_wrap=place == 0)
        for row in rows:
            table.add_row(*(Text(printable(row[place])) for place in shown))
        return table

    def width(table: Table) -> int:
        return Measurement.get(console, console.options.update(width=_UNBOUND), table).maximum

    console, left_out, table = Console(), list[str](), without(())
    if optional:
        while console.is_terminal and not long and width(table) > console.width and len(left_out) < len(optional):
            left_out.append(optional[len(left_out)])
            table = without(left_out)
        console.width = max(console.width, width(table))
    console.print(table)
    return left_out
