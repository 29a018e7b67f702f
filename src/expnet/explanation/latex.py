r"""An explanation as LaTeX, for a paper: ASCII that every engine compiles, with `\usepackage{xcolor}` alone."""

import unicodedata
from itertools import pairwise
from typing import TYPE_CHECKING

from expnet.explanation import colour
from expnet.explanation.escape import printable

if TYPE_CHECKING:
    from expnet.explanation.result import Explanation, Word

_HEAD = r"""% An explanation by expnet. It needs \usepackage{xcolor}.
\begingroup
\setlength{\parindent}{0pt}\setlength{\fboxsep}{1pt}\raggedright
% Other letters than Latin: XeLaTeX and LuaLaTeX show them in a font that has them, pdfLaTeX shows their code point.
\ifdefined\Umathchardef\def\expnetchar#1#2{\char#1 }\else\def\expnetchar#1#2{{\tiny[U+#2]}}\fi
"""
# Some languages of babel make the quotation mark a command.
_ASCII = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34 }",
    "`": r"{\char96 }",
    **{char: "\\" + char for char in "{}#$%&_"},
    "\n": r"\leavevmode\null\hfil\break{}",
    "\t": r"\ \ \ \ ",
}
_LONGEST = 30  # characters of a word without a place where its line may break
_LIGATURES = "-,'"  # two of them become another character
_LETTERS = {
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "ı": r"\i{}",
    "Ł": r"\L{}",
    "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "…": r"\textellipsis{}",
    "¡": r"\textexclamdown{}",
    "¿": r"\textquestiondown{}",
    "\u00a0": r"\nobreakspace{}",
    # In LaTeX itself since 2020.
    "€": r"\texteuro{}",
    "£": r"\textsterling{}",
    "¥": r"\textyen{}",
    "¢": r"\textcent{}",
    "§": r"\textsection{}",
    "¶": r"\textparagraph{}",
    "°": r"\textdegree{}",
    "±": r"\textpm{}",
    "×": r"\texttimes{}",
    "÷": r"\textdiv{}",
    "µ": r"\textmu{}",
    "·": r"\textperiodcentered{}",
    "•": r"\textbullet{}",
    "©": r"\textcopyright{}",
    "®": r"\textregistered{}",
    "™": r"\texttrademark{}",
    "½": r"\textonehalf{}",
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0323": "d",
    "\u0327": "c",
}


def fragment(explanation: "Explanation") -> str:
    """Return the label, the text with its words shaded, the scale and notes, for `\\input` or to be pasted."""
    title = rf"\textbf{{{escape(colour.shorten(explanation.question))}}}"
    amount = escape(colour.amount(explanation.output, explanation.kind))
    paragraphs = [rf"{title}\quad {amount}\hfill {{\small {escape(colour.shorten(explanation.method))}}}"]
    for segment in range(1 if explanation.pair is None else 2):
        paragraphs += [r"{\small pair}"] * segment + [_text(explanation, segment)]
    if explanation.words:
        scale = colour.scale_of(explanation)
        paragraphs.append(_swatches(scale))
        paragraphs += [rf"{{\small {escape(line)}\par}}" for line in colour.legend(explanation, scale)]
    notes = colour.notes(explanation, mark="underlined")
    paragraphs += [rf"{{\small {escape(note)}\par}}" for note in notes]
    return _HEAD + "\\par\\smallskip\n".join(paragraphs) + "\\par\n\\endgroup"


def escape(text: str) -> str:
    """Return LaTeX in ASCII, in one line, that shows the text; letters with accents are composed first."""
    shown = unicodedata.normalize("NFC", printable(text))
    before, after = [None, *shown[:-1]], [*shown[1:], None]
    return "".join(map(_char, shown, before, after))


def _char(char: str, before: str | None, after: str | None) -> str:
    if char == " ":  # TeX skips blanks where a line begins, and makes one of several
        return " " if all(beside and not beside.isspace() for beside in (before, after)) else r"\ "
    if char in _LIGATURES:
        return f"{{{char}}}" if {before, after} & {None, char} else char
    if char.isascii():
        return _ASCII.get(char, char)
    if char in _LETTERS:
        return _LETTERS[char]
    base, *marks = list(unicodedata.normalize("NFD", char))
    if base.isascii() and base.isalpha() and len(marks) == 1 and marks[0] in _ACCENTS:
        return rf"\{_ACCENTS[marks[0]]}{{{base}}}"
    return rf"\expnetchar{{{ord(char)}}}{{{ord(char):04X}}}"


def _text(explanation: "Explanation", segment: int) -> str:
    scale = colour.scale_of(explanation)
    pieces = colour.pieces(explanation, segment)
    # A line of the source for each piece: TeX does not read lines of any length.
    return r"\leavevmode{}" + "%\n".join(
        escape(piece) if word is None else _word(piece, word, scale, colour.marked(word, explanation))
        for piece, word in pieces
    )


def _word(piece: str, word: "Word", scale: colour.Scale, marked: bool) -> str:
    """Return a word in its shade; a long one in several boxes, because no line breaks inside a box."""
    chunks = [escape(chunk) for chunk in _chunks(piece)]
    if not word.seen:
        return r"\allowbreak{}".join(rf"\textcolor[gray]{{0.45}}{{{chunk}}}" for chunk in chunks)
    if marked:
        chunks = [rf"\underline{{{chunk}}}" for chunk in chunks]
    return r"\allowbreak{}".join(_shaded(chunk, colour.tint(word.score, scale)) for chunk in chunks)


def _chunks(word: str) -> list[str]:
    """Cut a long word into parts, none of which begins with a combining mark."""
    starts = [0]
    for place, char in enumerate(word):
        if place - starts[-1] >= _LONGEST and not unicodedata.combining(char):
            starts.append(place)
    return [word[start:end] for start, end in pairwise([*starts, len(word)])]


def _shaded(shown: str, tint: str) -> str:
    return rf"\colorbox[HTML]{{{tint[1:].upper()}}}{{\strut {shown}}}" if tint else shown


def _swatches(scale: colour.Scale) -> str:
    stops = ((escape(colour.number(stop, scale)), colour.tint(stop, scale)) for stop in colour.stops(scale))
    return r"{\small \leavevmode{}" + r"\ ".join(_shaded(number, tint) for number, tint in stops) + "}"
