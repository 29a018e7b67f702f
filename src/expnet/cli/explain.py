"""`expnet explain`: texts in, coloured words, a page or JSON lines out."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expnet.cli import options
from expnet.cli.inputs import prompt_of, standard_input_lines
from expnet.cli.outputs import check_folder_of, say
from expnet.cli.showing import WITH_HEADS, ExplanationFormat, write, write_heads
from expnet.errors import InputError

if TYPE_CHECKING:
    from expnet.explainer import Explainer
    from expnet.explanation.head_effects import HeadEffects
    from expnet.explanation.result import Explanation
    from expnet.text.prompts import Prompt
    from expnet.text.texts import Text
    from expnet.text.zero_shot import ZeroShot

_INTERRUPTED = 130  # exit status of a command that Ctrl-C ended


def explain(
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts to explain. By default each line of standard input is one.")
    ] = None,
    model: options.ModelsOption = None,
    explainer: options.ExplainersOption = None,
    pair: Annotated[
        list[str] | None, typer.Option(help="Second text of a pair; repeat it, once for each text.")
    ] = None,
    method: options.MethodsOption = None,
    option: options.MethodSettingsOption = None,
    seed: options.SeedOption = 0,
    target: options.AllTargetOption = None,
    against: options.AgainstOption = None,
    classes: options.ClassesOption = None,
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
    tokens: options.TokensOption = False,
    prompt: options.PromptOption = None,
    label: options.LabelOption = None,
    zero_shot: options.ZeroShotOption = None,
    hypothesis: options.HypothesisOption = None,
    revision: options.RevisionOption = None,
    device: options.DeviceOption = None,
    dtype: options.DtypeOption = None,
) -> None:
    """Show which words made the classifier decide.

    Several methods are shown side by side; `--method all` takes every one. So are several models, or several explainers
    of one. MODEL may also be a folder that `expnet export` wrote.
    """
    if output is not None:
        check_folder_of(output)
    every = _asks_for_every_class(target, against, classes)
    named = _paired(model or ["demo/sentiment"], explainer or [])
    if heads is not None:
        _check_heads(method, format, every=every)
    if len(named) > 1:
        _check_several(revision, prompt, label, zero_shot, hypothesis, alone=every or tokens or heads is not None)
    items = _pairs(texts or standard_input_lines(), pair)
    from expnet.export.manifest import is_export

    if exported := [name for name, _ in named if is_export(name)]:
        own = (option, against, prompt, label, zero_shot, hypothesis, revision, device, dtype)
        _check_export(exported[0], every=every, own=any(own) or tokens or heads is not None, method=method, named=named)
        write(_from_export(exported[0], items, target=target, truncate=truncate), format, output)
        return
    from expnet.cli.method_options import chosen_methods  # torch and transformers load here, after the cheap checks

    chosen = chosen_methods(method or ["expnet"], option)
    read = prompt_of(prompt, label, zero_shot, hypothesis)
    loaded = _load(named, learned="expnet" in dict(chosen), revision=revision, device=device, dtype=dtype, prompt=read)
    asked = _AskedOfEach(target, against, classes, truncate, seed, tokens, skip=method == ["all"])
    if heads is not None:
        write_heads(_effects(loaded[0], items, chosen[0][0], asked), heads, format, output)
        return
    shown, models, ended = _explained(loaded, items, chosen, asked)
    write(shown, format, output, ranked=every, models=models)
    if ended:
        raise typer.Exit(_INTERRUPTED)


@dataclass(frozen=True, slots=True)
class _AskedOfEach:
    """What is asked of each model: classes, cut texts, a seed, tokens; whether methods that cannot run are skipped."""

    target: str | None
    against: str | None
    classes: int | None
    truncate: bool
    seed: int
    tokens: bool
    skip: bool


def _paired(models: Sequence[str], explainers: Sequence[str]) -> list[tuple[str, str | None]]:
    """Return each model with its explainer: several models have one each or the same, and one may have several."""
    counts = {len(models), len(explainers)} - {0, 1}
    if len(counts) > 1:
        raise InputError(
            f"Got {len(models)} models and {len(explainers)} explainers: give --explainer once, or once for each "
            "--model, or several for one model."
        )
    longest = max(counts, default=1)
    networks: list[str | None] = [*explainers] or [None]
    of_each = [list(models) * (longest // len(models)), networks * (longest // len(networks))]
    pairs = list(zip(*of_each, strict=True))
    if len(set(pairs)) < len(pairs):
        raise InputError(f"The same model with the same explainer was given twice: {', '.join(models)}.")
    return pairs


def _check_several(*own: object, alone: bool) -> None:
    if any(own):
        raise InputError(
            "--revision, --prompt, --label, --zero-shot and --hypothesis belong to one model: leave them out to see "
            "several side by side. A prompt that is saved with a model is used."
        )
    if alone:
        raise InputError("--target all, --tokens and --heads show one model with one explainer: name one --model.")


def _load(
    named: Sequence[tuple[str, str | None]],
    *,
    learned: bool,
    revision: str | None,
    device: str | None,
    dtype: str | None,
    prompt: "Prompt | ZeroShot | None",
) -> "list[Explainer]":
    """Load each model with its explainer, and say what explainers were trained on where they explain."""
    from expnet.explainer import load

    loaded = [
        load(model, explainer=explainer, revision=revision, device=device, dtype=dtype, prompt=prompt)
        for model, explainer in named
    ]
    for each in loaded if learned else ():
        if each.trust:
            say(f"expnet: explained by {each.name}. {each.trust}")
    return loaded


def _effects(
    explainer: "Explainer", items: Sequence[tuple[str, str | None]], method: str, asked: _AskedOfEach
) -> "list[HeadEffects]":
    from expnet.explainer import explain_heads

    return [
        explain_heads(
            explainer,
            text,
            method=method,
            target=asked.target,
            against=asked.against,
            truncate=asked.truncate,
        )
        for text in _texts(explainer, items, tokens=asked.tokens)
    ]


def _texts(explainer: "Explainer", items: Sequence[tuple[str, str | None]], *, tokens: bool) -> "list[Text]":
    from expnet.explainer import as_tokens
    from expnet.text.texts import Text

    texts = [Text.of(text, second) for text, second in items]
    return [as_tokens(explainer, text) for text in texts] if tokens else texts


def _explained(
    loaded: "Sequence[Explainer]",
    items: Sequence[tuple[str, str | None]],
    chosen: Sequence[tuple[str, Mapping[str, Any]]],
    asked: _AskedOfEach,
) -> "tuple[list[list[Explanation]], list[str], bool]":
    """Return each text's explanations, the name of the model of each if there are several, and whether it was stopped.

    For every class there is a ranking by each method instead.
    """
    texts, ended = _texts(loaded[0], items, tokens=asked.tokens), list[int]()
    made: list[tuple[str, list[list[Explanation]]]] = []
    for name, explainer in zip(_names(loaded), loaded, strict=True):
        by_method = explainer.compare(
            texts,
            methods=dict(chosen),
            seed=asked.seed,
            target=asked.target,
            against=asked.against,
            classes=asked.classes,
            truncate=asked.truncate,
            progress=sys.stderr.isatty(),
            left_out=(lambda method, error: say(f"left out {method}: {error}")) if asked.skip else None,
            stopped=ended.append,
        )
        made += [(name, by_text) for by_text in by_method.values()]
        if ended:
            say(f"expnet: stopped after {ended[0]} of {len(chosen)} methods, which are shown.")
            break
    by_text = zip(*(of_text for _, of_text in made), strict=True)
    if asked.target == "all":  # of each text a ranking by each method
        return [ranking for rankings in by_text for ranking in rankings], [], bool(ended)
    shown = [[explanation for (explanation,) in by_each] for by_each in by_text]
    return shown, [name for name, _ in made] if len(loaded) > 1 else [], bool(ended)


def _names(loaded: "Sequence[Explainer]") -> list[str]:
    """Return what tells explainers apart: the model, the ExpNet, or both, by their last part where that is enough."""
    if len(loaded) == 1:
        return [""]
    models, networks = ([each.classifier.name or "model" for each in loaded], [each.name for each in loaded])
    telling = [names for names in (models, networks) if len(set(names)) > 1]
    if len(set(models)) == len(models):
        telling = [models]
    parts = []
    for names in telling:
        last = [Path(name).name for name in names]
        parts.append(last if len(set(last)) == len(set(names)) else names)
    return [" with ".join(name) for name in zip(*parts, strict=True)] if parts else [""] * len(loaded)


def _check_export(
    folder: str,
    *,
    every: bool,
    own: bool,
    method: Sequence[str] | None,
    named: Sequence[tuple[str, str | None]],
) -> None:
    if len(named) > 1:
        raise InputError(f"{folder} is exported: it is shown alone, not beside other models.")
    if every:
        raise InputError(f"{folder} is exported: its words do not depend on the class, so take --target off.")
    if own or named[0][1] or (method or ["expnet"]) != ["expnet"]:
        raise InputError(
            f"{folder} is exported: it takes no --explainer, --option, --against, --heads, --tokens, --prompt, "
            "--label, --zero-shot, --hypothesis, --revision, --device, --dtype or other --method."
        )


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
    if format not in WITH_HEADS:
        names = ", ".join(sorted(WITH_HEADS))
        raise InputError(
            f"--heads can be shown as {names}, not as {format}: leave out --heads, or choose one of these."
        )


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
