"""`expnet explain`: texts in, coloured words, a page or JSON lines out."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expnet.cli import options
from expnet.cli.inputs import prompt_of, standard_input_lines
from expnet.cli.outputs import check_folder_of, say, say_written
from expnet.errors import InputError

if TYPE_CHECKING:
    from expnet.explanation.head_effects import HeadEffects
    from expnet.explanation.result import Explanation


_INTERRUPTED = 130  # exit status of a command that Ctrl-C ended


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

_WITH_HEADS = frozenset({ExplanationFormat.terminal, ExplanationFormat.html, ExplanationFormat.json})


def explain(
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts to explain. By default each line of standard input is one.")
    ] = None,
    model: options.ModelOption = "demo/sentiment",
    explainer: options.ExplainerOption = None,
    pair: Annotated[
        list[str] | None, typer.Option(help="Second text of a pair; repeat it, once for each text.")
    ] = None,
    method: options.MethodsOption = None,
    option: options.MethodSettingsOption = None,
    seed: options.SeedOption = 0,
    target: options.AllTargetOption = None,
    against: options.AgainstOption = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help="With --target all, explain only so many of the most probable classes.")
    ] = None,
    heads: Annotated[
        str | None,
        typer.Option(
            help="Show which attention heads the ExpNet listened to for this word, given as it stands in the text or "
            "by its number, counted from 0."
        ),
    ] = None,
    format: Annotated[
        ExplanationFormat,
        typer.Option(help="json prints one object on each line; latex needs the package xcolor in your document."),
    ] = ExplanationFormat.terminal,
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of the screen.")] = None,
    truncate: options.TruncateOption = False,
    prompt: options.PromptOption = None,
    label: options.LabelOption = None,
    zero_shot: options.ZeroShotOption = None,
    hypothesis: options.HypothesisOption = None,
    revision: options.RevisionOption = None,
    device: options.DeviceOption = None,
    dtype: options.DtypeOption = None,
) -> None:
    """Show which words made the classifier decide.

    Several methods are shown side by side; `--method all` takes every one. MODEL may also be a folder that
    `expnet export` wrote.
    """
    if output is not None:
        check_folder_of(output)
    every = _asks_for_every_class(target, against, classes)
    if heads is not None:
        _check_heads(method, format, every=every)
    pairs = _pairs(texts or standard_input_lines(), pair)
    from expnet.export.manifest import is_export

    if is_export(model):
        if every:
            raise InputError(f"{model} is exported: its words do not depend on the class, so take --target off.")
        refused = (
            explainer or option or against or prompt or label or zero_shot or hypothesis or revision or device or dtype
        ) or heads is not None
        if refused or (method or ["expnet"]) != ["expnet"]:
            raise InputError(
                f"{model} is exported: it takes no --explainer, --option, --against, --heads, --prompt, --label, "
                "--zero-shot, --hypothesis, --revision, --device, --dtype or other --method."
            )
        _write(_from_export(model, pairs, target=target, truncate=truncate), format, output)
        return
    from expnet.cli.method_options import chosen_methods  # torch and transformers load here, after the cheap checks
    from expnet.explainer import explain_heads, load
    from expnet.text.texts import Text

    chosen = chosen_methods(method or ["expnet"], option)
    loaded = load(
        model,
        explainer=explainer,
        revision=revision,
        device=device,
        dtype=dtype,
        prompt=prompt_of(prompt, label, zero_shot, hypothesis),
    )
    if loaded.trust and any(name == "expnet" for name, _ in chosen):
        say(f"expnet: explained by {loaded.name}. {loaded.trust}")
    items = [Text.of(text, second) for text, second in pairs]
    if heads is not None:
        effects = [
            explain_heads(loaded, item, method=chosen[0][0], target=target, against=against, truncate=truncate)
            for item in items
        ]
        _write_heads(effects, heads, format, output)
        return
    ended: list[int] = []
    by_method = loaded.compare(
        items,
        methods=dict(chosen),
        seed=seed,
        target=target,
        against=against,
        classes=classes,
        truncate=truncate,
        progress=sys.stderr.isatty(),
        left_out=(lambda name, error: say(f"left out {name}: {error}")) if method == ["all"] else None,
        stopped=ended.append,
    )
    if ended:
        say(f"expnet: stopped after {ended[0]} of {len(chosen)} methods, which are shown.")
    by_text = zip(*by_method.values(), strict=True)
    if every:  # of each text a ranking by each method
        shown = [ranking for rankings in by_text for ranking in rankings]
    else:
        shown = [[explanation for (explanation,) in by_each] for by_each in by_text]
    _write(shown, format, output, ranked=every)
    if ended:
        raise typer.Exit(_INTERRUPTED)


def _asks_for_every_class(target: str | None, against: str | None, classes: int | None) -> bool:
    every = target == "all"
    if every and against is not None:
        raise InputError(f"--target all explains each class by itself: name the class to contrast with {against!r}.")
    if classes is not None and not every:
        raise InputError("--classes says how many classes --target all explains: add it, or leave out --classes.")
    return every


def _check_heads(method: Sequence[str] | None, format: ExplanationFormat, *, every: bool) -> None:
    if every or len(method or ()) > 1 or method == ["all"]:
        raise InputError("--heads shows the heads of one ExpNet for one class: name one --method and one --target.")
    if format not in _WITH_HEADS:
        names = ", ".join(sorted(_WITH_HEADS))
        raise InputError(
            f"--heads can be shown as {names}, not as {format}: leave out --heads, or choose one of these."
        )


def _write_heads(effects: "Sequence[HeadEffects]", word: str, format: ExplanationFormat, output: Path | None) -> None:
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


def _from_export(
    folder: str, pairs: Sequence[tuple[str, str | None]], *, target: str | None, truncate: bool
) -> "list[tuple[Explanation]]":
    from expnet.export import OnnxExplainer
    from expnet.text.texts import Text

    items = [Text.of(text, second) for text, second in pairs]
    explainer = OnnxExplainer.load(folder)
    explanations = explainer.explain(items, target=target, truncate=truncate, progress=sys.stderr.isatty())
    return [(explanation,) for explanation in explanations]


def _pairs(texts: Sequence[str], pairs: Sequence[str] | None) -> list[tuple[str, str | None]]:
    if not pairs:
        return [(text, None) for text in texts]
    if len(pairs) != len(texts):
        raise InputError(f"Got {len(texts)} texts but {len(pairs)} second texts; give --pair once for each text.")
    return list(zip(texts, pairs, strict=True))


def _write(
    texts: "Sequence[Sequence[Explanation]]", format: ExplanationFormat, output: Path | None, *, ranked: bool = False
) -> None:
    """Write each text's explanations, by one method or by several side by side, or for classes that are ranked."""
    if format in _ONE_BY_ONE:
        content = _one_by_one([explanation for explanations in texts for explanation in explanations], format)
    elif format is ExplanationFormat.html:
        content = _page(texts, ranked=ranked)
    else:
        content = "\n\n\n".join(_shown(explanations, coloured=output is None, ranked=ranked) for explanations in texts)
    _print(content, output)


def _print(content: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(content + "\n")
    else:
        output.write_text(content + "\n", encoding="utf-8")
        say_written([output])


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


def _page(texts: "Sequence[Sequence[Explanation]]", *, ranked: bool) -> str:
    from expnet.explanation import html

    if ranked:
        return html.document(map(html.ranked, texts))
    return html.document(
        html.fragment(explanations[0]) if len(explanations) == 1 else html.side_by_side(explanations)
        for explanations in texts
    )


def _shown(explanations: "Sequence[Explanation]", *, coloured: bool, ranked: bool) -> str:
    from expnet.explanation import terminal

    if ranked:
        return (terminal.plain_or_coloured_ranked if coloured else terminal.plain_ranked)(explanations)
    if len(explanations) > 1:
        show = terminal.plain_or_coloured_side_by_side if coloured else terminal.plain_side_by_side
        return show(explanations)
    return (terminal.plain_or_coloured if coloured else terminal.plain)(explanations[0])
