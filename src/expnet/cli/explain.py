"""`expnet explain`: texts in, coloured words, a page or JSON lines out."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expnet.errors import InputError

if TYPE_CHECKING:
    from expnet.explanation import Explanation


class Format(StrEnum):
    """How explanations are shown."""

    terminal = "terminal"
    html = "html"
    json = "json"


def explain(
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts to explain; without any, each line of standard input is one.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="demo/sentiment, demo/acceptability, demo/hate-speech, a folder or a hub id.")
    ] = "demo/sentiment",
    explainer: Annotated[str | None, typer.Option(help="Folder or hub id of an ExpNet; a demo has its own.")] = None,
    pair: Annotated[
        list[str] | None, typer.Option(help="Second text of a pair; repeat it, once for each text.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Class to report, by name or index; by default the predicted one.")
    ] = None,
    format: Annotated[Format, typer.Option(help="JSON is one object a line.")] = Format.terminal,
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of the screen.")] = None,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Cut long texts instead of reading them in overlapping windows.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda; by default the best there is.")] = None,
) -> None:
    """Show which words made the classifier decide."""
    if output is not None and not output.parent.is_dir():
        raise InputError(f"The folder {output.parent} does not exist; create it, or write elsewhere.")
    given = _pairs(texts or _lines(), pair)
    from expnet.explainer import load  # torch and transformers load here, after the cheap checks
    from expnet.texts import Text

    explainer_ = load(model, explainer=explainer, device=device)
    explanations = explainer_.explain(
        [Text.of(text, second) for text, second in given],
        target=target,
        truncate=truncate,
        progress=sys.stderr.isatty(),
    )
    _write(explanations, format, output)


def _lines() -> list[str]:
    if sys.stdin.isatty():
        raise InputError('There is nothing to explain: give a text, such as "A touching film.", or pipe some in.')
    try:
        lines = sys.stdin.buffer.read().decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"Standard input is not UTF-8: byte {error.start} cannot be read.") from error
    lines = [line.removesuffix("\r") for line in lines]
    if lines and not lines[-1]:
        lines.pop()  # the end of the last line
    if not lines:
        raise InputError("Standard input is empty; expected one text a line.")
    return lines


def _pairs(texts: Sequence[str], pairs: Sequence[str] | None) -> list[tuple[str, str | None]]:
    if not pairs:
        return [(text, None) for text in texts]
    if len(pairs) != len(texts):
        raise InputError(f"Got {len(texts)} texts but {len(pairs)} second texts; give --pair once for each text.")
    return list(zip(texts, pairs, strict=True))


def _write(explanations: "Sequence[Explanation]", format: Format, output: Path | None) -> None:
    if format is Format.json:
        text = "\n".join(explanation.to_json() for explanation in explanations)
    elif format is Format.html:
        from expnet.render.html import page

        text = page(explanations)
    else:
        from expnet.render.terminal import plain

        text = "\n\n\n".join(str(each) if output is None else plain(each) for each in explanations)
    if output is None:
        sys.stdout.write(text + "\n")
    else:
        output.write_text(text + "\n", encoding="utf-8")
