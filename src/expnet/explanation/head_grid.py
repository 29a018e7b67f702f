"""What each head did to the score of a word, as a grid of layers and heads: in a terminal and in HTML."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from expnet.explanation import colour, html, terminal
from expnet.explanation.bars import MUTED
from expnet.explanation.escape import escape, printable

if TYPE_CHECKING:
    from expnet.explanation.head_effects import HeadEffects

_LAYER, _ALL = "layer", "all"  # headings of the first column, and of the one for all heads of a layer
# It stays in view where the table scrolls below it.
_CAPTION = "display:inline-block;position:sticky;left:0;max-width:80vw"
_CELL = "padding:.15rem .3rem;border:0;text-align:right;font-weight:400;white-space:nowrap"


class _Shade(NamedTuple):
    text: str
    shaded: float  # its effect; 0 for all heads of a layer together, whose effect the scale does not cover
    strong: bool = False  # one of the strongest heads


def plain(effects: "HeadEffects", word: int, *, width: int | None = None) -> str:
    """Return the grid of a word without colours, the strongest heads, and what an effect is.

    Args:
        effects: Of a text.
        word: Its number in the text.
        width: Characters on a line, from which on further heads go below; None for one line a layer.

    Raises:
        InputError: If there is no word of this number.
    """
    return _text(effects, word, coloured=False, width=width).plain


def plain_or_coloured(effects: "HeadEffects", word: int) -> str:
    """Return the grid with shades if stdout is a terminal that wants colours, else `plain`."""
    return terminal.as_stdout_wants(
        lambda width: _text(effects, word, coloured=True, width=width),
        lambda width: plain(effects, word, width=width),
    )


def fragment(effects: "HeadEffects", word: int) -> str:
    """Return the grid of a word as a piece of HTML that stands alone.

    Raises:
        InputError: If there is no word of this number.
    """
    title, rows, scale = escape(_title(effects, word)), _rows(effects, word), effects.scale(word)
    heads = "".join(f'<th scope="col" style="{_CELL}">{head}</th>' for head in _columns(effects))
    body = "".join(
        f'<tr style="background:none"><th scope="row" style="{_CELL}">{layer}</th>'
        f"{''.join(map(partial(_td, scale), row))}</tr>"
        for layer, row in enumerate(rows)
    )
    told = "".join(f'<div style="{MUTED};margin-top:.3rem">{escape(line)}</div>' for line in _told(effects, word))
    return (
        # A wide table scrolls by itself, also by keyboard.
        f'<div role="region" tabindex="0" aria-label="{title}" style="overflow-x:auto;margin:.6rem 0">'
        '<table style="border-collapse:collapse;margin:0;font-size:13px;font-variant-numeric:tabular-nums">'
        f'<caption style="text-align:left;font-weight:600;padding:0 0 .3rem">'
        f'<span style="{_CAPTION}">{title}</span></caption>'
        f'<thead><tr><th scope="col" style="{_CELL}">{_LAYER}</th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
        f"{html.swatches(scale)}{told}"
    )


def _td(scale: colour.Scale, cell: _Shade) -> str:
    veil = colour.veil(cell.shaded, scale)
    strong = ";font-weight:700;text-decoration:underline" if cell.strong else ""
    return f'<td style="{_CELL};background:{veil or "none"}{strong}">{cell.text}</td>'


def _title(effects: "HeadEffects", word: int) -> str:
    scored = effects.explanation.words[effects.find(word)]
    score = colour.number(scored.score, colour.scale_of(effects.explanation))
    return f'What each head did to the score of "{colour.shorten(scored.text)}", {score}'


def _columns(effects: "HeadEffects") -> list[str]:
    return [*map(str, range(effects.heads.shape[2])), _ALL]


def _rows(effects: "HeadEffects", word: int) -> list[list[_Shade]]:
    """Return of each layer what its heads do, and all of them together."""
    scale, strongest = effects.scale(word), {(one.layer, one.head) for one in effects.strongest(word)}
    rows = []
    for layer, of_heads in enumerate(effects.heads[word].tolist()):
        cells = [
            _Shade(colour.number(effect, scale), effect, (layer, head) in strongest)
            for head, effect in enumerate(of_heads)
        ]
        rows.append([*cells, _Shade(colour.number(float(effects.layers[word, layer]), scale), 0.0)])
    return rows


def _told(effects: "HeadEffects", word: int) -> list[str]:
    scale = effects.scale(word)
    named = ", ".join(
        f"layer {one.layer} head {one.head} {colour.number(one.effect, scale)}" for one in effects.strongest(word)
    )
    together = colour.number(float(effects.together[word]), scale)
    return [f"Strongest: {named or 'none'}. All heads together: {together}.", effects.meaning]


def _text(effects: "HeadEffects", word: int, *, coloured: bool, width: int | None) -> Text:
    title, rows, scale = _title(effects, word), _rows(effects, word), effects.scale(word)
    columns = _columns(effects)
    wide = 2 + max(len(cell.text) for row in rows for cell in row)
    fit = len(columns) if width is None else max(1, (width - len(_LAYER)) // wide)
    grids = [
        Text("\n").join(
            _lines(
                columns[start : start + fit],
                [row[start : start + fit] for row in rows],
                wide,
                scale if coloured else None,
            )
        )
        for start in range(0, len(columns), fit)
    ]
    told = Text("\n".join(map(printable, _told(effects, word))), "dim")
    return Text("\n\n").join([Text(printable(title), "bold"), *grids, told])


def _lines(
    columns: Sequence[str], rows: Sequence[Sequence[_Shade]], wide: int, scale: colour.Scale | None
) -> Iterator[Text]:
    yield Text(_LAYER + "".join(name.rjust(wide) for name in columns), "dim")
    for layer, row in enumerate(rows):
        line = Text(str(layer).rjust(len(_LAYER)))
        for cell in row:
            shade = colour.block(cell.shaded, scale) if scale is not None else ""
            line.append(" " * (wide - len(cell.text))).append(
                cell.text, f"{'bold ' * cell.strong}{shade}".strip() or None
            )
        yield line
