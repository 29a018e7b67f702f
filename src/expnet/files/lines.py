r"""Read the lines of files and streams; all of expnet reads lines this way.

A line ends at `\n` or `\r\n` and nowhere else: U+2028, U+2029, NEL, form feed, vertical tab and a lone `\r` belong to
the text. A byte order mark at the start of a file is left out. Files are UTF-8, plain or gzipped (`.gz`).
"""

import codecs
import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from io import BufferedIOBase
from pathlib import Path

from expnet.errors import InputError, LineError

Opener = Callable[[Path], AbstractContextManager[BufferedIOBase]]
LONGEST = 16 * 2**20  # bytes in a line once unpacked: a small .gz may hold a line that would fill the memory


def numbered(path: Path, opener: Opener | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield the number of each line, from 1, and its bytes with its end, without the byte order mark.

    Args:
        path: The file.
        opener: Opens the file; `opened` by default.

    Raises:
        InputError: If the file does not exist or cannot be read.
        LineError: If a line is longer than `LONGEST` bytes, or a gzip file is cut off or damaged: what follows is lost.
    """
    try:
        with (opener or opened)(path) as file:
            yield from split(file, str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def texts(path: Path) -> Iterator[str]:
    """Yield each line of a file of texts without its end, blank ones too.

    Raises:
        InputError: As for `numbered`.
        LineError: As for `numbered`, and if a line is not UTF-8.
    """
    for number, line in numbered(path):
        yield decoded(line, str(path), number)


def opened(path: Path) -> BufferedIOBase:
    """Open a file for reading bytes, unpacked if its name ends in `.gz`."""
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def split(file: BufferedIOBase, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield numbers and lines of an open file as `numbered` does; `name` is for errors."""
    number = 0
    try:
        while line := file.readline(LONGEST + 1):
            number += 1
            if len(line) > LONGEST:
                reason = f"it is longer than {LONGEST:,} bytes, the limit for a line; split it into several"
                raise LineError(name, number, reason, "too long")
            yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise LineError(name, number, f"{error}. Is the file cut off, or not gzip?", "cut off") from error


def decoded(line: bytes, name: str, number: int) -> str:
    """Return a line as text, without its end.

    Raises:
        LineError: If it is not UTF-8.
    """
    try:
        return line.removesuffix(b"\r\n" if line.endswith(b"\r\n") else b"\n").decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"it is not UTF-8: byte {error.start + 1} is {line[error.start]:#04x}; save the file as UTF-8"
        raise LineError(name, number, reason, "encoding") from error


def is_text(path: Path) -> bool:
    """Return whether a file's name says that it holds one text per line."""
    return path.name.lower().endswith((".txt", ".txt.gz"))
