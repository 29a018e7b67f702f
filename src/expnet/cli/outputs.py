"""What commands write: files, notes on standard error, and tables in a terminal."""

import sys
from collections.abc import Sequence
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


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, last_if_room: bool = False) -> None:
    """Print a table whose first column stays on one line.

    Args:
        header: Names of the columns.
        rows: Cells, as many in a row as there are columns.
        last_if_room: A terminal too narrow for the whole table does not get the last column. What is not a terminal
            has room for everything.
    """
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    def first(columns: int) -> Table:
        table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
        for place, name in enumerate(header[:columns]):
            table.add_column(name, overflow="fold", no_wrap=place == 0)
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row[:columns]))
        return table

    console, table = Console(), first(len(header))
    if last_if_room:
        needed = Measurement.get(console, console.options.update(width=_UNBOUND), table).maximum
        if not console.is_terminal:
            console.width = max(console.width, needed)
        elif console.width < needed:
            table = first(len(header) - 1)
    console.print(table)
