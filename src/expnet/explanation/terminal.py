"""Explanations in a terminal: coloured where colours work, readable everywhere."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from expnet.explanation import colour, comparison
from expnet.explanation.escape import printable

if TYPE_CHECKING:
    from expnet.explanation.result import Explanation, Word

_TOP = 8
_BAR = 16
_TOP_COMPARED = 5
_SAID = 4  # rows whose top words are compared in words
_LEAST = 24  # room for a word and its score beside the name of a method


def render(explanation: "Explanation") -> Text:
    """Return the label, the text with its words shaded, its strongest words, the scale and notes."""
    paragraphs = [_shaded(explanation, segment) for segment in _segments(explanation)]
    return _layout(explanation, paragraphs, coloured=True)


def plain(explanation: "Explanation") -> str:
    """Return what `render` shows without colours; words that matter are followed by their score.

    Everything but the text, labels and names is ASCII, so that it can be written wherever these can.
    """
    paragraphs = [_numbered(explanation, segment) for segment in _segments(explanation)]
    return _layout(explanation, paragraphs, coloured=False).plain


def plain_or_coloured(explanation: "Explanation") -> str:
    """Return `render` if stdout is a terminal that wants colours, else `plain`."""
    return as_stdout_wants(lambda _: render(explanation), lambda _: plain(explanation))


def side_by_side(explanations: "Sequence[Explanation]", models: Sequence[str] = ()) -> Group:
    """Return explanations of one text by several methods or models: a row with its words shaded each, and notes.

    Args:
        explanations: Of one text.
        models: As for `comparison.comparable`; then each row has its own prediction.

    Raises:
        InputError: As `comparison.comparable`.
    """
    rows = comparison.comparable(explanations, models)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold")
    for explanation in rows:
        for segment, name in comparison.row_names(explanation):
            said = [] if segment or not models else [Text("\n"), _head(explanation)]
            grid.add_row(Text.assemble((printable(name), "dim"), *said), _shaded(explanation, segment))
    foot = Text("\n").join(Text(note, "dim") for note in _below(rows, comparison.caption(rows, models), models))
    return Group(_title(rows, models), Text(), grid, Text(), foot)


def plain_side_by_side(
    explanations: "Sequence[Explanation]", models: Sequence[str] = (), *, width: int | None = None
) -> str:
    """Return what `side_by_side` shows without colours: the text once, and a row for each with its top words.

    Args:
        explanations: As for `side_by_side`.
        models: As for `side_by_side`.
        width: Characters on a line, from which on a row goes on below itself; None for one line each.

    Raises:
        InputError: As `side_by_side`.
    """
    rows = comparison.comparable(explanations, models)
    names = [_line(row.method, 60) + (f": {_head(row).plain}" if models else "") for row in rows]
    lines = _rows(names, list(map(_top, rows)), width)
    foot = _below(rows, comparison.units(rows, models), models)
    texts = [printable(text) for text in (rows[0].text, rows[0].pair) if text is not None]
    return "\n\n".join([_title(rows, models).plain, "\n\npair\n".join(texts), "\n".join(lines), "\n".join(foot)])


def ranked(explanations: "Sequence[Explanation]") -> Text:
    """Return explanations of one text for several classes: the text shaded for the first, and each class's top words.

    Raises:
        InputError: As `comparison.ranked`.
    """
    return _ranked(explanations, coloured=True, width=None)


def plain_ranked(explanations: "Sequence[Explanation]", *, width: int | None = None) -> str:
    """Return what `ranked` shows without colours; the text is as it was given, and `width` as for `plain_side_by_side`.

    Raises:
        InputError: As `comparison.ranked`.
    """
    return _ranked(explanations, coloured=False, width=width).plain


def plain_or_coloured_ranked(explanations: "Sequence[Explanation]") -> str:
    """Return `ranked` if stdout is a terminal that wants colours, else `plain_ranked`."""
    return as_stdout_wants(
        lambda width: _ranked(explanations, coloured=True, width=width),
        lambda width: plain_ranked(explanations, width=width),
    )


def plain_or_coloured_side_by_side(explanations: "Sequence[Explanation]", models: Sequence[str] = ()) -> str:
    """Return `side_by_side` if stdout is a terminal that wants colours, else `plain_side_by_side`."""
    return as_stdout_wants(
        lambda _: side_by_side(explanations, models),
        lambda width: plain_side_by_side(explanations, models, width=width),
    )


def as_stdout_wants(coloured: Callable[[int | None], RenderableType], uncoloured: Callable[[int | None], str]) -> str:
    """Return the one or the other, made for the width of the terminal (None elsewhere), its lines cut between words.

    The coloured one is taken if stdout is a terminal that wants colours.
    """
    console = Console(force_jupyter=False)
    width = console.width if console.is_terminal else None
    if console.color_system is None or console.no_color:
        return "\n".join(part for line in uncoloured(width).split("\n") for part in _wrapped(line, width))
    with console.capture() as capture:
        console.print(coloured(width))
    return capture.get().rstrip("\n")


def _wrapped(line: str, width: int | None) -> list[str]:
    if width is None or cell_len(line) <= width or len(line.split()) == 1:  # a folded name can't be copied
        return [line]
    return [part.plain.rstrip() for part in Text(line).wrap(Console(), width)]


def _rows(names: Sequence[str], cells: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return a row for each name, cells after it in a column: none is cut, and those without room stand below."""
    indent = max(map(cell_len, names)) + 2
    if width is not None and width < indent + _LEAST:
        indent = 4  # each name on a line of its own
    lines = []
    for name, row in zip(names, cells, strict=True):
        line, used = name + " " * (indent - cell_len(name)), max(indent, cell_len(name))
        if used > indent and row:
            lines.append(name)
            line, used = " " * indent, indent
        for place, cell in enumerate(row):
            if place and width is not None and used + cell_len(cell) > width:
                lines.append(line.rstrip())
                line, used = " " * indent, indent
            line, used = f"{line}{cell}  ", used + cell_len(cell) + 2
        lines.append(line.rstrip())
    return lines


def _segments(explanation: "Explanation") -> range:
    return range(1 if explanation.pair is None else 2)


def _layout(explanation: "Explanation", paragraphs: list[Text], *, coloured: bool) -> Text:
    scale = colour.scale_of(explanation)
    head = Text.assemble(_head(explanation), "   ", (_line(explanation.method), "dim"))
    pair = [Text.assemble(("pair\n", "dim"), text) for text in paragraphs[1:]]
    top = [_row(word, scale, "━" if coloured else "#") for word in colour.strongest(explanation, _TOP)]
    mark = "bold" if coloured else "followed by their score"
    foot = [Text(_line(note, 1000), "dim") for note in colour.notes(explanation, mark=mark)]
    if explanation.words:
        foot[:0] = [Text(_line(line, 1000), "dim") for line in colour.legend(explanation, scale)]
        if coloured:
            foot.insert(0, _swatches(scale))
    blocks = [head, *paragraphs[:1], *pair, Text("\n").join(top), Text("\n").join(foot)]
    return Text("\n\n").join(block for block in blocks if block)


def _ranked(explanations: "Sequence[Explanation]", *, coloured: bool, width: int | None) -> Text:
    rows = comparison.ranked(explanations)
    first, labels = rows[0], [_line(explanation.label) for explanation in rows]
    longest = max(map(cell_len, labels))
    amounts = [colour.amount(explanation.output, explanation.kind) for explanation in rows]
    names = [
        f"{label}{' ' * (longest - cell_len(label))}  {amount:>7}"
        for label, amount in zip(labels, amounts, strict=True)
    ]
    # Where the words do not depend on the class they stand once, below the classes.
    lines = _rows(names, [_top(explanation) if explanation.uses_target else [] for explanation in rows], width)
    texts = [text for text in (first.text, first.pair) if text is not None]
    shown = [_shaded(first, number) if coloured else Text(printable(text)) for number, text in enumerate(texts)]
    blocks = [
        Text.assemble((comparison.heading(rows), "bold"), "   ", (_line(first.method), "dim")),
        Text("\n\npair\n").join(shown),
        Text("\n".join(lines)),
        Text("" if first.uses_target else "  ".join(_top(first))),
        Text("\n".join(_line(note, 1000) for note in comparison.ranked_notes(rows, shaded=coloured)), "dim"),
    ]
    return Text("\n\n").join(block for block in blocks if block)


def _below(rows: "Sequence[Explanation]", caption: str, models: Sequence[str]) -> list[str]:
    shared = comparison.differences(rows) if 1 < len(rows) <= _SAID and rows[0].words else []
    means = [f"{name}: {meaning}" for name, meaning in comparison.meanings(rows)]
    said = [line for line in (comparison.predictions(rows, models),) if line]
    return [_line(note, 1000) for note in [*said, *shared, *comparison.notes(rows, caption), *means]]


def _title(rows: "Sequence[Explanation]", models: Sequence[str]) -> Text:
    return Text(_line(comparison.several(models)), "bold") if models else _head(rows[0])


def _head(explanation: "Explanation") -> Text:
    return Text.assemble(
        (_line(explanation.question), "bold"), f"  {colour.amount(explanation.output, explanation.kind)}"
    )


def _top(explanation: "Explanation") -> list[str]:
    scale = colour.scale_of(explanation)
    words = colour.strongest(explanation, _TOP_COMPARED)
    return [f"{colour.number(word.score, scale)} {_line(word.text, 20)}" for word in words]


def _line(text: str, limit: int = 40) -> str:
    return printable(colour.shorten(text, limit))


def _row(word: "Word", scale: colour.Scale, bar: str) -> Text:
    share = colour.strength(word.score, scale)
    # The word stands last: its width, and the direction it is written in, cannot shift the columns.
    return Text.assemble(
        f"  {colour.number(word.score, scale):>5}  ",
        ((bar * max(1, round(_BAR * abs(share)))).ljust(_BAR), colour.hue(share, scale)),
        f"  {_line(word.text)}",
    )


def _swatches(scale: colour.Scale) -> Text:
    stops = ((f" {colour.number(stop, scale)} ", colour.block(stop, scale)) for stop in colour.stops(scale))
    return Text.assemble(*stops)


def _shaded(explanation: "Explanation", segment: int) -> Text:
    scale = colour.scale_of(explanation)
    text = Text()
    for piece, word in colour.pieces(explanation, segment):
        style = ""
        if word is not None:
            style = colour.block(word.score, scale) if word.seen else "dim"
            if colour.marked(word, explanation):
                style = f"bold {style}"
        text.append(printable(piece), style or None)
    return text


def _numbered(explanation: "Explanation", segment: int) -> Text:
    scale = colour.scale_of(explanation)
    if explanation.threshold is None:
        chosen = {word for word in colour.strongest(explanation, _TOP) if colour.block(word.score, scale)}
    else:
        chosen = {word for word in explanation.words if colour.marked(word, explanation)}
    text, seen = Text(), True
    for piece, word in colour.pieces(explanation, segment):
        if word is not None and word.seen != seen:
            text.append("]" if word.seen else "[not read: ")
            seen = word.seen
        text.append(printable(piece))
        if word in chosen:
            text.append(f"[{colour.number(word.score, scale)}]")
    return text if seen else text.append("]")
