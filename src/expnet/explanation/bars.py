"""Tables with bars in HTML: names, bars, values. Styles are inline, as everywhere in a fragment."""

from collections.abc import Sequence
from typing import NamedTuple

from expnet.explanation import colour
from expnet.explanation.escape import escape

MUTED = "opacity:.75;font-size:13px"
CELL = (
    "padding:.1rem .8rem .1rem 0;border:0;background:none;text-align:start;font-weight:inherit;overflow-wrap:anywhere"
)
_BAR = "height:8px;min-width:1px;border-radius:2px;forced-color-adjust:none"
_WORD = ";min-width:min(7em,20vw)"  # beside another cell, a name would else be folded letter by letter on a phone
NUMBER = CELL + ";text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums"


class BarRow(NamedTuple):
    """A row: a name, a bar, a value, and perhaps another cell."""

    name: str
    share: float | None  # of the bar that is filled, in [0, 1]; None for no bar
    value: str
    fill: str
    strong: bool = False
    after: str = ""  # another cell, as HTML


def table(caption: str, rows: Sequence[BarRow]) -> str:
    """Return rows as a table below a caption; "" without rows."""
    body = "".join(
        f'<tr style="background:none;font-weight:{600 if row.strong else 400}">'
        f'<th scope="row" dir="auto" style="{CELL}{_WORD if row.after else ""}">{escape(colour.shorten(row.name))}</th>'
        f"{_bar(row)}"
        f'<td style="{NUMBER}">{row.value}</td>{row.after}</tr>'
        for row in rows
    )
    if not rows:
        return ""
    return (
        '<table style="border-collapse:collapse;table-layout:auto;margin:0;font-size:14px">'
        f'<caption style="{MUTED};text-align:left;caption-side:top;padding:0">{caption}</caption>'
        f"<tbody>{body}</tbody></table>"
    )


def _bar(row: BarRow) -> str:
    if row.share is None:
        return ""
    width = "min(6rem,12vw)" if row.after else "6rem"
    return (
        f'<td style="{CELL}"><div aria-hidden="true" style="width:{width}"><div style="{_BAR};'
        f'width:{100 * row.share:.0f}%;background:{row.fill}"></div></div></td>'
    )
