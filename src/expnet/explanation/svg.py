"""Explanations as a picture: SVG of rectangles and text, which needs no style sheet, script or font of its own."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from expnet.explanation import colour
from expnet.explanation.escape import escape_xml
from expnet.explanation.wrapping import Piece, Placed, width, wrap

if TYPE_CHECKING:
    from expnet.explanation.result import Explanation

_WIDTH, _MARGIN = 760, 24
_ROOM = _WIDTH - 2 * _MARGIN
_TITLE, _TEXT, _SMALL = 20, 17, 13  # sizes of letters, in pixels
_LEADING = 1.7  # lines of shaded text stand further apart than others
_INK, _MUTED = "#1f2328", "#59636e"


def picture(explanations: "Sequence[Explanation]") -> str:
    """Return an SVG document with one explanation below the other, on white.

    Nobody measures text here: each word is given the width it has in Helvetica, and told to fill it in any other font.
    """
    shapes, y = list[str](), float(_MARGIN)
    for explanation in explanations:
        more, y = _one(explanation, y)
        shapes += more
        y += _MARGIN
    height = round(y)
    titles = "; ".join(_title(explanation) for explanation in explanations)
    texts = "\n".join(explanation.text for explanation in explanations)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="Helvetica, Arial, \'Liberation Sans\', sans-serif" role="img">\n'
        f"<title>{escape_xml(titles)}</title>\n<desc>{escape_xml(texts)}</desc>\n"
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>\n' + "\n".join(shapes) + "\n</svg>\n"
    )


def _title(explanation: "Explanation") -> str:
    return f"{colour.shorten(explanation.question)} {colour.amount(explanation.output, explanation.kind)}"


def _one(explanation: "Explanation", y: float) -> tuple[list[str], float]:
    """Return the shapes of one explanation that begins at a height, and where it ends."""
    shapes, y = _lines([(_title(explanation), None)], y, size=_TITLE, more=' font-weight="600"')
    more, y = _lines([(colour.shorten(explanation.method), None)], y, size=_SMALL, ink=_MUTED)
    shapes += more
    for segment in range(1 if explanation.pair is None else 2):
        if segment:
            more, y = _lines([("pair", None)], y + 6, size=_SMALL, ink=_MUTED)
            shapes += more
        more, y = _lines(colour.pieces(explanation, segment), y + 6, of=explanation)
        shapes += more
    y += 12
    if explanation.words:
        scale = colour.scale_of(explanation)
        shapes += _swatches(scale, y)
        y += 28
    told = colour.legend(explanation, colour.scale_of(explanation)) if explanation.words else []
    for line in (*told, *colour.notes(explanation, mark="underlined")):
        more, y = _lines([(line, None)], y, size=_SMALL, ink=_MUTED)
        shapes += more
    return shapes, y


def _lines(
    pieces: Iterable[Piece],
    y: float,
    *,
    size: int = _TEXT,
    ink: str = _INK,
    more: str = "",
    of: "Explanation | None" = None,
) -> tuple[list[str], float]:
    """Return text as lines below a height, and where they end; the words `of` an explanation are shaded."""
    shapes = []
    leading = size * (_LEADING if of else 1.4)
    scale = colour.scale_of(of) if of else colour.Scale(0.0, signed=False)
    for line in wrap(pieces, size=size, room=_ROOM):
        y += leading
        foot = y - 0.35 * leading
        shapes += [shape for placed in line if of for shape in _shade(placed, of, scale, foot)]
        shapes += [_text(placed, foot, size, ink, more) for placed in line]
    return shapes, y


def _text(placed: Placed, y: float, size: int, ink: str, more: str) -> str:
    if placed.word and not placed.word.seen:
        ink = _MUTED
    # Leftward text begins at its right end, and its brackets are mirrored.
    way = ' direction="rtl" text-anchor="end"' if placed.leftward else ""
    fill = f' textLength="{placed.width:.1f}" lengthAdjust="spacingAndGlyphs"' if placed.width else ""
    return (
        f'<text x="{_MARGIN + placed.x:.1f}" y="{y:.1f}" font-size="{size}" fill="{ink}"{fill}{way}{more}>'
        f"{escape_xml(placed.text)}</text>"
    )


def _shade(placed: Placed, explanation: "Explanation", scale: colour.Scale, y: float) -> list[str]:
    word, shapes = placed.word, list[str]()
    if word is None:  # only words are shaded
        return shapes
    x, wide = _MARGIN + placed.x, placed.width
    if word.seen and (tint := colour.tint(word.score, scale)):
        shapes.append(
            f'<rect x="{x:.1f}" y="{y - 0.95 * _TEXT:.1f}" width="{wide:.1f}" height="{1.3 * _TEXT:.1f}" '
            f'rx="3" fill="{tint}"/>'
        )
    if colour.marked(word, explanation):
        shapes.append(f'<rect x="{x:.1f}" y="{y + 3:.1f}" width="{wide:.1f}" height="2" fill="{_INK}"/>')
    return shapes


def _swatches(scale: colour.Scale, y: float) -> list[str]:
    """Return five shades with their scores."""
    shapes, x = list[str](), float(_MARGIN)
    for stop in colour.stops(scale):
        number = colour.number(stop, scale)
        wide = width(number, _SMALL) + 16
        shapes.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="20" '
            f'fill="{colour.tint(stop, scale) or "#ffffff"}" stroke="#cccccc"/>'
        )
        placed = Placed(x + 8 - _MARGIN, wide - 16, number, None, False)
        shapes.append(_text(placed, y + 14.5, _SMALL, _INK, ""))
        x += wide
    return shapes
