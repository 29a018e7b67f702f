"""Texts as HTML with their words shaded, rows of them side by side, and their scores as numbers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from expnet.explanation import bars, colour, comparison
from expnet.explanation.bars import MUTED
from expnet.explanation.escape import escape

if TYPE_CHECKING:
    from expnet.explanation.result import Explanation, Word

_LISTED, _COLUMNS = 300, 5  # words whose scores are listed, in columns
_TOP = bars.CELL + ";vertical-align:bottom"
_THICKEST = 3  # pixels of the line below a word
_SMALL_TEXT = "margin:0;font-size:14px;line-height:1.6;white-space:pre-wrap;overflow-wrap:anywhere"
_LEVEL = bars.CELL + ";vertical-align:baseline"
# On a narrow screen the name of a method wraps before it takes the room of the text.
_METHOD = MUTED + ";width:max-content;max-width:25vw"
_RULE = "border-top:1px solid #80808040"


def table(rows: "Sequence[Explanation]", *, predicted: bool = False) -> str:
    """Return a row for each of `comparison.comparable`, with its prediction if asked for."""
    style = "border-collapse:collapse;table-layout:auto;width:100%;margin:.6rem 0"
    body = "".join(_compared(row, predicted) for row in rows)
    return f'<table style="{style}"><tbody>{body}</tbody></table>'


def _compared(explanation: "Explanation", predicted: bool) -> str:
    said = f"{colour.shorten(explanation.question)} {colour.amount(explanation.output, explanation.kind)}"
    under = f'<div dir="auto">{escape(said)}</div>' if predicted else ""
    return "".join(
        f'<tr style="background:none;{"" if segment else _RULE}"><th scope="row" style="{_LEVEL}">'
        f'<div dir="auto" style="{_METHOD}">{escape(name)}</div>{"" if segment else under}</th>'
        f'<td style="{_LEVEL};width:100%">{text(explanation, segment, _SMALL_TEXT)}</td></tr>'
        for segment, name in comparison.row_names(explanation)
    )


def every_score(rows: "Sequence[Explanation]") -> str:
    """Return the scores of the words in reading order, folded: for readers who do not point or see shades.

    Nothing for more rows than have room as columns.
    """
    words, scales = rows[0].words[:_LISTED], [colour.scale_of(row) for row in rows]
    if not words or len(rows) > _COLUMNS:
        return ""
    head = "".join(f'<th scope="col" dir="auto" style="{_TOP}">{escape(name)}</th>' for name in _column_names(rows))
    body = "".join(
        f'<tr style="background:none"><th scope="row" dir="auto" style="{bars.CELL};min-width:min(7em,20vw)">'
        f"{escape(colour.shorten(word.text))}</th>{_numbers(rows, scales, place)}</tr>"
        for place, word in enumerate(words)
    )
    of_all = f", the first {_LISTED} of {len(rows[0].words)}" if len(rows[0].words) > _LISTED else ""
    return (
        f'<details style="margin-top:.6rem"><summary style="{MUTED};cursor:pointer">Score of every word{of_all}'
        '</summary><table style="border-collapse:collapse;table-layout:auto;margin:.3rem 0;font-size:14px"><tbody>'
        f'<tr style="background:none">{head}</tr>{body}</tbody></table></details>'
    )


def _column_names(rows: "Sequence[Explanation]") -> list[str]:
    return ["word", *(row.method for row in rows)] if len(rows) > 1 else ["word", "score"]


def _numbers(rows: "Sequence[Explanation]", scales: Sequence[colour.Scale], place: int) -> str:
    """Return a cell for the score of one word in each row."""
    numbers = (colour.number(row.words[place].score, scale) for row, scale in zip(rows, scales, strict=True))
    return "".join(f'<td style="{bars.NUMBER}">{number}</td>' for number in numbers)


def text(explanation: "Explanation", segment: int, style: str) -> str:
    """Return a text, or its pair (segment 1), with its words shaded."""
    scale = colour.scale_of(explanation)
    words = (
        escape(piece) if scored is None else word(piece, scored, scale, colour.marked(scored, explanation))
        for piece, scored in colour.pieces(explanation, segment)
    )
    return f'<div class="expnet-text" dir="auto" style="{style}">{"".join(words)}</div>'


def word(piece: str, scored: "Word", scale: colour.Scale, marked: bool) -> str:
    """Return a word with its shade, a line below it that is as thick as it scores, and its score as a title."""
    title = colour.number(scored.score, scale, 3)
    styles = []
    if not scored.seen:
        title, styles = f"{title}, not read", ["opacity:.65"]
    elif veil := colour.veil(scored.score, scale):
        line = round(_THICKEST * abs(colour.strength(scored.score, scale)))
        below = [f"border-bottom:{line}px solid {colour.hue(scored.score, scale)}"] if line else []
        # Where a system has its own few colours, shades stay, and letters have the system's.
        styles = [f"background:{veil}", "border-radius:3px", *below, "forced-color-adjust:preserve-parent-color"]
    if marked:
        styles.append("text-decoration:underline 2px;text-underline-offset:3px")
    style = f' style="{";".join(styles)}"' if styles else ""
    return f'<span title="{title}"{style}>{escape(piece)}</span>'
