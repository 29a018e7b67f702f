"""Write explanations as they were asked for: on the screen or to a file, alone, side by side or ranked."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from expnet.cli.outputs import say_written

if TYPE_CHECKING:
    from expnet.explanation.head_effects import HeadEffects
    from expnet.explanation.result import Explanation


class ExplanationFormat(StrEnum):
    """How explanations are shown."""

    terminal = "terminal"
    html = "html"
    json = "json"
    svg = "svg"
    latex = "latex"
    markdown = "markdown"


# A page and a terminal show explanations of one text together; these formats show one after the other.
_ONE_BY_ONE = frozenset(set(ExplanationFormat) - {ExplanationFormat.terminal, ExplanationFormat.html})

WITH_HEADS = frozenset({ExplanationFormat.terminal, ExplanationFormat.html, ExplanationFormat.json})


def write_heads(effects: "Sequence[HeadEffects]", word: str, format: ExplanationFormat, output: Path | None) -> None:
    """Write each text's explanation, and below it the heads of the word; JSON holds those of every word."""
    from expnet.explanation import head_grid, html, terminal

    words = [of_text.find(word) for of_text in effects]
    if format is ExplanationFormat.json:
        content = "\n".join(of_text.to_json() for of_text in effects)
    elif format is ExplanationFormat.html:
        content = html.document(
            html.fragment(of_text.explanation) + head_grid.fragment(of_text, place)
            for of_text, place in zip(effects, words, strict=True)
        )
    else:
        show = terminal.plain if output is not None else terminal.plain_or_coloured
        grid = head_grid.plain if output is not None else head_grid.plain_or_coloured
        content = "\n\n\n".join(
            f"{show(of_text.explanation)}\n\n{grid(of_text, place)}"
            for of_text, place in zip(effects, words, strict=True)
        )
    _print(content, output)


def write(
    texts: "Sequence[Sequence[Explanation]]",
    format: ExplanationFormat,
    output: Path | None,
    *,
    ranked: bool = False,
    models: Sequence[str] = (),
) -> None:
    """Write each text's explanations, by one method or by several side by side, or for classes that are ranked.

    Args:
        texts: Of each text its explanations.
        format: How.
        output: Where; None for the screen.
        ranked: Whether they are of several classes.
        models: As for `comparison.comparable`.
    """
    if format in _ONE_BY_ONE:
        content = _one_by_one([each for explanations in texts for each in _named(explanations, format, models)], format)
    elif format is ExplanationFormat.html:
        content = _page(texts, ranked=ranked, models=models)
    else:
        shown = (_shown(each, coloured=output is None, ranked=ranked, models=models) for each in texts)
        content = "\n\n\n".join(shown)
    _print(content, output)


def _print(content: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(content + "\n")
    else:
        output.write_text(content + "\n", encoding="utf-8")
        say_written([output])


def _named(
    explanations: "Sequence[Explanation]", format: ExplanationFormat, models: Sequence[str]
) -> "Sequence[Explanation]":
    """Return explanations with the names of their models, which JSON has in their provenance."""
    from expnet.explanation import comparison

    named = models and format is not ExplanationFormat.json
    return comparison.comparable(explanations, models) if named else explanations


def _one_by_one(explanations: "Sequence[Explanation]", format: ExplanationFormat) -> str:
    """Return explanations below each other, also those of one text."""
    from expnet.explanation import latex, markdown, svg

    if format is ExplanationFormat.svg:
        return svg.picture(explanations)
    if format is ExplanationFormat.latex:
        return "\n\n".join(map(latex.fragment, explanations))
    if format is ExplanationFormat.markdown:
        return "\n\n".join(map(markdown.fragment, explanations))
    return "\n".join(explanation.to_json() for explanation in explanations)


def _page(texts: "Sequence[Sequence[Explanation]]", *, ranked: bool, models: Sequence[str]) -> str:
    from expnet.explanation import html

    if ranked:
        return html.document(map(html.ranked, texts))
    return html.document(
        html.fragment(explanations[0]) if len(explanations) == 1 else html.side_by_side(explanations, models)
        for explanations in texts
    )


def _shown(explanations: "Sequence[Explanation]", *, coloured: bool, ranked: bool, models: Sequence[str]) -> str:
    from expnet.explanation import terminal

    if ranked:
        return (terminal.plain_or_coloured_ranked if coloured else terminal.plain_ranked)(explanations)
    if len(explanations) > 1:
        show = terminal.plain_or_coloured_side_by_side if coloured else terminal.plain_side_by_side
        return show(explanations, models)
    return (terminal.plain_or_coloured if coloured else terminal.plain)(explanations[0])
