"""What commands write: files, notes on standard error, and tables in a terminal."""

import sys
from collections.abc import Sequence
from pathlib import Path

from expnet.errors import InputError
from expnet.explanation.escape import printable


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


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, narrow_width: int | None = None) -> None:
    """Print a table whose first column stays on one line.

    Args:
        header: Names of the columns.
        rows: Cells, as many in a row as there are columns.
        narrow_width: Characters below which a terminal does not get the last column. What is not a terminal
            is taken to be at least this wide.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console, columns = Console(), len(header)
    if narrow_width is not None and not console.is_terminal:
        console.width = max(console.width, narrow_width)
    if narrow_width is not None and console.width < narrow_width:
        columns -= 1
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    for place, name in enumerate(header[:columns]):
        table.add_column(name, overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row[:columns]))
    console.print(table)
