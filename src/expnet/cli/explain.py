"""`expnet explain`: texts in, coloured words, a page or JSON lines out."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from expnet.errors import InputError, MissingExtraError, OptionError, UnsupportedModelError
from expnet.explanation.escape import printable
from expnet.files import lines

if TYPE_CHECKING:
    from expnet.explanation.result import Explanation


_STDIN = "standard input"


class ExplanationFormat(StrEnum):
    """How explanations are shown."""

    terminal = "terminal"
    html = "html"
    json = "json"


def explain(
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts to explain; without any, each line of standard input is one.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="demo/sentiment, demo/acceptability, demo/hate-speech, a folder (exported or not) or a hub id."
        ),
    ] = "demo/sentiment",
    explainer: Annotated[str | None, typer.Option(help="Folder or hub id of an ExpNet; a demo has its own.")] = None,
    pair: Annotated[
        list[str] | None, typer.Option(help="Second text of a pair; repeat it, once for each text.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="How to explain; `expnet methods` lists the names. Repeat it, or say all, to see several side by side."
        ),
    ] = None,
    option: Annotated[list[str] | None, typer.Option(help="Option of the method, as NAME=VALUE; repeat it.")] = None,
    seed: Annotated[int, typer.Option(help="For methods that draw random numbers.")] = 0,
    target: Annotated[
        str | None, typer.Option(help="Class to explain, by name or index; by default the predicted one.")
    ] = None,
    format: Annotated[ExplanationFormat, typer.Option(help="JSON is one object a line.")] = ExplanationFormat.terminal,
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of the screen.")] = None,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Cut long texts instead of reading them in overlapping windows.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda; by default the best there is.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Type of the weights, such as bfloat16.")] = None,
) -> None:
    """Show which words made the classifier decide."""
    if output is not None and not output.parent.is_dir():
        raise InputError(f"The folder {output.parent} does not exist; create it, or write elsewhere.")
    given = _pairs(texts or _lines(), pair)
    from expnet.export.manifest import is_export

    if is_export(model):
        if explainer or option or device or dtype or (method or ["expnet"]) != ["expnet"]:
            raise InputError(
                f"{model} is exported: it takes no --explainer, --option, --device, --dtype or other --method."
            )
        _write(_from_export(model, given, target=target, truncate=truncate), format, output)
        return
    from expnet.cli.methods import chosen_methods  # torch and transformers load here, after the cheap checks
    from expnet.explainer import load
    from expnet.text.texts import Text

    everything = method == ["all"]
    chosen = chosen_methods(method or ["expnet"], option or [])
    explainer_ = load(model, explainer=explainer, device=device, dtype=dtype)
    if explainer_.trust and any(name == "expnet" for name, _ in chosen):
        print(f"expnet: explained by {explainer_.name}. {printable(explainer_.trust)}", file=sys.stderr)
    items = [Text.of(text, second) for text, second in given]
    found = []
    for name, options in chosen:
        try:
            found.append(
                explainer_.explain(
                    items,
                    method=name,
                    options=options,
                    seed=seed,
                    target=target,
                    truncate=truncate,
                    progress=sys.stderr.isatty(),
                )
            )
        except (InputError, MissingExtraError, OptionError, UnsupportedModelError) as error:
            if not everything:
                raise
            print(f"left out {name}: {printable(str(error))}", file=sys.stderr)
    _write(list(zip(*found, strict=True)), format, output)


def _from_export(
    folder: str, given: Sequence[tuple[str, str | None]], *, target: str | None, truncate: bool
) -> "list[tuple[Explanation]]":
    from expnet.export import OnnxExplainer
    from expnet.text.texts import Text

    items = [Text.of(text, second) for text, second in given]
    found = OnnxExplainer.load(folder).explain(items, target=target, truncate=truncate, progress=sys.stderr.isatty())
    return [(explanation,) for explanation in found]


def _lines() -> list[str]:
    if sys.stdin.isatty():
        raise InputError('There is nothing to explain: give a text, such as "A touching film.", or pipe some in.')
    stream = cast(BufferedIOBase, sys.stdin.buffer)
    found = [lines.decoded(line, _STDIN, number) for number, line in lines.split(stream, _STDIN)]
    if not found:
        raise InputError("Standard input is empty; expected one text a line.")
    return found


def _pairs(texts: Sequence[str], pairs: Sequence[str] | None) -> list[tuple[str, str | None]]:
    if not pairs:
        return [(text, None) for text in texts]
    if len(pairs) != len(texts):
        raise InputError(f"Got {len(texts)} texts but {len(pairs)} second texts; give --pair once for each text.")
    return list(zip(texts, pairs, strict=True))


def _write(texts: "Sequence[Sequence[Explanation]]", format: ExplanationFormat, output: Path | None) -> None:
    """Write each text's explanations, by one method or by several side by side."""
    if format is ExplanationFormat.json:
        text = "\n".join(explanation.to_json() for explanations in texts for explanation in explanations)
    elif format is ExplanationFormat.html:
        from expnet.explanation import html

        text = html.document(html.fragment(each[0]) if len(each) == 1 else html.side_by_side(each) for each in texts)
    else:
        text = "\n\n\n".join(_shown(explanations, coloured=output is None) for explanations in texts)
    if output is None:
        sys.stdout.write(text + "\n")
    else:
        output.write_text(text + "\n", encoding="utf-8")


def _shown(explanations: "Sequence[Explanation]", *, coloured: bool) -> str:
    from expnet.explanation import terminal

    if len(explanations) > 1:
        show = terminal.plain_or_coloured_side_by_side if coloured else terminal.plain_side_by_side
        return show(explanations)
    return (terminal.plain_or_coloured if coloured else terminal.plain)(explanations[0])
