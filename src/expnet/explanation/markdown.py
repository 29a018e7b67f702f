"""An explanation as Markdown: for an issue, a README or a chat that renders it."""

import re
from typing import TYPE_CHECKING

from expnet.explanation import colour
from expnet.explanation.escape import printable

if TYPE_CHECKING:
    from expnet.explanation.result import Explanation, Word

_TOP = 8
# Whatever may begin a construct of CommonMark or GitHub's Markdown inside a line, and where a line begins.
_INSIDE = re.compile(r"[\\`*_{}\[\]<>&|~$:@^#!]")
_AT_START = re.compile(r"^( *\d*)([-+=.)])")
_BLANKS = re.compile(r"[ \t]{2,}|\t")


def fragment(explanation: "Explanation") -> str:
    """Return the label, the text with its words shaded, its top words, the scale and notes.

    Shades are styles, which some sites drop: there, the words that a terminal without colours marks are still bold.
    """
    amount = colour.amount(explanation.output, explanation.kind)
    method = escape(colour.shorten(explanation.method))
    parts = [f"<strong>{escape(colour.shorten(explanation.question))}</strong> {amount} ({method})"]
    for segment in range(1 if explanation.pair is None else 2):
        parts += ["pair"] * segment + ['<div dir="auto">', _text(explanation, segment), "</div>"]
    parts.append(_top(explanation))
    told = colour.legend(explanation, colour.scale_of(explanation)) if explanation.words else []
    parts += map(escape, (*told, *colour.notes(explanation, mark="bold")))
    return "\n\n".join(part for part in parts if part)


def escape(text: str) -> str:
    """Return Markdown, for a paragraph or a cell, that shows the text: no construct, no tag, its blanks as they are."""
    shown = _INSIDE.sub(r"\\\g<0>", printable(text))
    shown = _AT_START.sub(r"\1\\\2", shown)
    shown = _BLANKS.sub(lambda blanks: "&nbsp;" * (len(blanks[0].replace("\t", "    ")) - 1) + " ", shown)
    return shown.replace("\n", "<br>")


def _text(explanation: "Explanation", segment: int) -> str:
    scale = colour.scale_of(explanation)
    if explanation.threshold is None:
        strong = {word for word in colour.strongest(explanation, _TOP) if colour.block(word.score, scale)}
    else:
        strong = {word for word in explanation.words if colour.marked(word, explanation)}
    pieces = colour.pieces(explanation, segment)
    return "".join(
        escape(piece) if word is None else _word(piece, word, scale, word in strong) for piece, word in pieces
    )


def _word(piece: str, word: "Word", scale: colour.Scale, strong: bool) -> str:
    shown = f"<strong>{escape(piece)}</strong>" if strong else escape(piece)
    if not word.seen:
        return f'<span style="opacity:.65">{shown}</span>'
    veil = colour.veil(word.score, scale)
    return f'<span style="background:{veil}">{shown}</span>' if veil else shown


def _top(explanation: "Explanation") -> str:
    scale = colour.scale_of(explanation)
    rows = [
        f"| {colour.number(word.score, scale)} | {escape(colour.shorten(word.text))} |"
        for word in colour.strongest(explanation, _TOP)
    ]
    return "\n".join(["| score | word |", "|---:|---|", *rows]) if rows else ""
