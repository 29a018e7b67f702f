"""A JSON document of any size, one element at a time."""

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from typing import Any

from expnet.errors import LineError
from expnet.files.lines import LONGEST

_SPACE = re.compile(r"[ \t\n\r]*")
_PIECE = 2**16
_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)


class Document:
    """The elements of the list, or the values of the object, that an open file holds.

    Only what the next element needs is held in memory. `line` is where reading stands, from 1.
    """

    def __init__(self, file: BufferedIOBase, name: str) -> None:
        self.line = 1
        self._file, self._name = file, name
        # A byte that is not UTF-8 becomes a lone surrogate, which the text that holds it is then refused for.
        self._utf8 = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._json = json.JSONDecoder()
        self._text, self._at = "", 0
        self._end: LineError | bool = False

    def elements(self) -> Iterator[tuple[int, str | None, Any]]:
        """Yield line, key (None in a list) and value of each element.

        Raises:
            JSONDecodeError: Where the document is broken.
            LineError: If an element is longer than `LONGEST` characters, or a gzip file is cut off or damaged.
        """
        keyed = self._expect("[{") == "{"
        close = "}" if keyed else "]"
        while self._peek() != close:
            line, key = self.line, None
            if keyed:
                if self._peek() != '"':
                    raise self._broken('Expecting "')
                key = self._value()
                self._expect(":")
            yield line, key, self._value()
            if self._peek() != close and self._expect(f",{close}") and self._peek() == close:
                raise self._broken("Expecting value")
        self._expect(close)
        if self._peek():
            raise self._broken("Extra data")

    def _peek(self) -> str:
        """Return the next character that is no white space, nothing at the end."""
        while True:
            self._move(_SPACE.match(self._text, self._at).end())  # type: ignore[union-attr]  # it matches nothing, too
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def _expect(self, wanted: str) -> str:
        if (came := self._peek()) not in tuple(wanted):
            raise self._broken(f"Expecting {' or '.join(wanted)}")
        self._move(self._at + 1)
        return came

    def _value(self) -> Any:
        self._peek()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._more():
                    self._move(error.pos)
                    raise
            else:
                if end < len(self._text) or not self._more():  # at the end a number may go on
                    self._move(end)
                    return value

    def _move(self, to: int) -> None:
        self.line += self._text.count("\n", self._at, to)
        self._at = to

    def _broken(self, reason: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(reason, self._text, self._at)

    def _more(self) -> bool:
        """Read twice as much as is left, so that a long element is not decoded too often; return whether more came."""
        if isinstance(self._end, LineError):
            raise self._end
        if self._end:
            return False
        parts = [self._text[self._at :]]
        wanted = len(parts[0]) + _PIECE
        if wanted > LONGEST + _PIECE:
            reason = f"an element is longer than {LONGEST:,} characters, the limit for one"
            raise LineError(self._name, self.line, reason, "too long")
        try:
            while wanted > 0 and not self._end:
                read = self._file.read1(_PIECE)  # so much as there is before damage
                parts.append(self._utf8.decode(read, final=not read))
                wanted -= len(parts[-1])
                self._end = not read
        except _DAMAGE as error:
            whole = self.line - 1 + sum(part.count("\n") for part in parts)
            self._end = LineError(self._name, whole, f"{error}. Is the file cut off, or not gzip?", "cut off")
        self._text, self._at = "".join(parts), 0
        return True
