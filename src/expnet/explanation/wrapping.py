"""Lines of text for a picture: where words stand when nobody can measure them, in either direction of writing."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from expnet.explanation.escape import printable

if TYPE_CHECKING:
    from expnet.explanation.result import Word

# Widths of Helvetica, whose metrics Arial and Liberation Sans share, in thousandths of the size of letters.
_WIDTHS = {
    191: "'",
    222: "ijl",
    260: "|",
    278: " !,./:;I[]\\ft",
    333: "()-r`",
    334: "{}",
    355: '"',
    389: "*",
    469: "^",
    500: "Jcksvxyz",
    556: "#$?_L0123456789abdeghnopqu",
    584: "+<=>~",
    611: "FTZ",
    667: "&ABEKPSVXY",
    722: "CDHNRUw",
    778: "GOQ",
    833: "Mm",
    889: "%",
    944: "W",
    1015: "@",
}
_OF = {char: width / 1000 for width, chars in _WIDTHS.items() for char in chars}
_OTHER = 0.6
_TOKENS = re.compile(r"\n|[^\S\n]+|\S+")

Piece = tuple[str, "Word | None"]


class Placed(NamedTuple):
    """What stands on a line without a blank in it: where, how wide, what, of which word, and written which way."""

    x: float
    width: float
    text: str
    word: "Word | None"
    leftward: bool


class _Atom(NamedTuple):
    text: str
    word: "Word | None"
    gap: float  # blanks before it
    width: float
    may_begin_line: bool


def width(text: str, size: int) -> float:
    """Return about how wide a text is in a sans serif of that size, in the unit of the size."""
    return size * sum(map(_width, text), 0.0)


def _width(char: str) -> float:
    base = unicodedata.normalize("NFD", char)[:1]
    if unicodedata.category(base) in ("Mn", "Me", "Cf"):
        return 0.0
    return _OF.get(base, 1.0 if _is_wide(base) else _OTHER)


def _is_wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in "WF"


def wrap(pieces: Iterable[Piece], *, size: int, room: int) -> list[list[Placed]]:
    """Return pieces of text as lines that are at most `room` wide, in the order in which they are seen.

    Lines break at blanks and before ideographs, elsewhere only where there is neither. A text whose first letter is
    written leftward is aligned to the right; words of the other direction keep their order among each other.
    """
    pieces = [(printable(text), word) for text, word in pieces]
    leftward = bool(_direction("".join(text for text, _ in pieces)))
    return [_placed(line, room, leftward) for line in _lines(_atoms(pieces, size, room), room)]


def _atoms(pieces: Iterable[Piece], size: int, room: int) -> Iterator[_Atom | None]:
    """Yield what stands between blanks and between words; None ends a line."""
    gap = 0.0
    for text, word in pieces:
        for token in _TOKENS.findall(text):
            if token == "\n":
                yield None
                gap = 0.0
            elif token.isspace():
                gap += width(token.replace("\t", "    "), size)
            else:
                for part in _parts(token, size, room):
                    ideograph = _is_wide(part[0]) and part[0].isalnum()
                    yield _Atom(part, word, gap, width(part, size), gap > 0 or ideograph)
                    gap = 0.0


def _parts(token: str, size: int, room: int) -> Iterator[str]:
    """Cut what is wider than a line, but no mark from its letter."""
    part, used = "", 0.0
    for char in token:
        more = size * _width(char)
        if part and more and used + more > room:
            yield part
            part, used = "", 0.0
        part, used = part + char, used + more
    yield part


def _lines(atoms: Iterable[_Atom | None], room: int) -> Iterator[list[_Atom]]:
    line: list[_Atom] = []
    for atom in atoms:
        if atom is None:
            yield line
            line = []
            continue
        line.append(atom)
        while len(line) > 1 and sum(atom.gap + atom.width for atom in line) > room:
            at = max((at for at in range(1, len(line)) if line[at].may_begin_line), default=len(line) - 1)
            yield line[:at]
            line = [line[at]._replace(gap=0.0), *line[at + 1 :]]
    yield line


def _direction(text: str) -> bool | None:
    """Return whether the first letter is written leftward; None without letters."""
    kinds = map(unicodedata.bidirectional, text)
    return next((kind != "L" for kind in kinds if kind in ("L", "R", "AL")), None)


def _placed(line: Sequence[_Atom], room: int, leftward: bool) -> list[Placed]:
    ways = _ways(line, leftward)
    order = _seen_order(ways, leftward)
    x, placed = 0.0, list[Placed]()
    for place, number in enumerate(order):
        atom = line[number]
        x += line[max(number, order[place - 1])].gap if place else 0.0 if leftward else atom.gap
        placed.append(Placed(x, atom.width, atom.text, atom.word, ways[number]))
        x += atom.width
    shift = room - x if leftward else 0.0
    return [one._replace(x=one.x + shift) for one in placed]


def _ways(line: Sequence[_Atom], leftward: bool) -> list[bool]:
    """Return which atoms are written leftward; those without letters as their neighbours, if these agree."""
    own = [_direction(atom.text) for atom in line]
    ways = []
    for number, way in enumerate(own):
        before = next((one for one in reversed(own[:number]) if one is not None), leftward)
        after = next((one for one in own[number:] if one is not None), leftward)
        ways.append(way if way is not None else before if before == after else leftward)
    return ways


def _seen_order(ways: Sequence[bool], leftward: bool) -> list[int]:
    """Return the numbers of atoms from left to right: runs in the direction of the line, each in its own."""
    runs: list[list[int]] = []
    for number, way in enumerate(ways):
        if runs and ways[runs[-1][0]] == way:
            runs[-1].append(number)
        else:
            runs.append([number])
    ordered = [run[::-1] if ways[run[0]] else run for run in runs]
    return [number for run in (ordered[::-1] if leftward else ordered) for number in run]
