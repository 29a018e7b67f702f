"""`expnet speed`: what explanations cost on this machine."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expnet.cli import options
from expnet.cli.inputs import texts_of
from expnet.errors import InputError, require_extra

if TYPE_CHECKING:
    from expnet.explainer import Explainer

_METHODS = ("expnet", "raw_attention", "generic_relevance", "integrated_gradients")
_TOKENS = "16,32,64,128,256,512,1024,2048,4096,8192"
_BUDGET = 1024


def speed(
    model: options.ModelArgument = "demo/sentiment",
    explainer: options.ExplainerOption = None,
    tokens: Annotated[
        str,
        typer.Option(
            help="Lengths of texts, separated by commas; 16x128 means 16 texts of 128 tokens. Lengths beyond what the "
            "model reads are left out."
        ),
    ] = _TOKENS,
    budget: Annotated[int, typer.Option(min=1, help="Tokens in a batch, which has at most 32 texts.")] = _BUDGET,
    method: options.MethodsOption = None,
    rounds: Annotated[int, typer.Option(min=3, help="Rounds; in each, everything timed runs once.")] = 15,
    threads: options.ThreadsOption = 0,
    revision: options.RevisionOption = None,
    device: options.DeviceOption = None,
    dtype: options.DtypeOption = None,
    texts: Annotated[
        Path | None,
        typer.Option(help="Time the texts of this file instead: .txt, or any format of annotated files."),
    ] = None,
    exported: Annotated[
        Path | None,
        typer.Option(help="With --texts: folder in which `expnet export` wrote this explainer, to time it as well."),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Also write the figures to this JSON file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Also plot the ratios: a .png, .pdf or .svg file.")] = None,
) -> None:
    """Time explanations, the bare prediction and the pipeline of transformers on the same texts.

    The explanations are those of the ExpNet and three fixed methods, or of the methods named with `--method`.
    """
    by_length = {"--tokens": tokens != _TOKENS, "--budget": budget != _BUDGET, "--method": method, "--plot": plot}
    _check_together(texts, exported, [name for name, given in by_length.items() if given])
    if plot is not None:
        require_extra("matplotlib", "report")  # before anything is timed
    from expnet.explainer import load
    from expnet.timing import lengths as timing

    options.set_threads(threads)
    loaded = load(model, explainer=explainer, revision=revision, device=device, dtype=dtype)
    if loaded.classifier.prompt is not None:
        raise InputError("The pipeline of transformers, which is timed as well, knows no prompts.")
    if texts is not None:
        _mixed(loaded, texts, exported, rounds, output)
        return
    timings = timing.measure(
        loaded,
        _batches(tokens, budget, loaded.classifier.max_length),
        rounds=rounds,
        methods={name: {"steps": 50} if name == "integrated_gradients" else {} for name in method or _METHODS},
        progress=True,
    )
    report = timing.report(loaded, timings)
    print(timing.table(report))
    if output is not None:
        timing.write(report, output)
    if plot is not None:
        from expnet.benchmark.present.plots import cost_by_length, save_as

        save_as(cost_by_length(timings), plot)


def _check_together(texts: Path | None, exported: Path | None, by_length: Sequence[str]) -> None:
    """Refuse options that would be ignored beside the others; `by_length` has those given that `--texts` cannot use."""
    if texts is None and exported is not None:
        raise InputError("--exported is timed on the texts of a file: pass --texts, too.")
    if texts is not None and by_length:
        raise InputError(
            f"--texts times a file of texts as it is, without {', '.join(by_length)}: leave out one or the other."
        )


def _mixed(explainer: "Explainer", path: Path, exported: Path | None, rounds: int, output: Path | None) -> None:
    import torch

    from expnet.export import OnnxExplainer
    from expnet.timing import throughput
    from expnet.timing.lengths import write

    graph = None if exported is None else OnnxExplainer.load(exported, threads=torch.get_num_threads())
    strings = [text.text for text in texts_of(path)]
    timings = throughput.measure(explainer, strings, rounds=rounds, exported=graph, progress=True)
    report = throughput.report(explainer, strings, timings)
    print(throughput.table(report))
    if output is not None:
        write(report, output)


def _batches(tokens: str, budget: int, limit: int) -> list[tuple[int, int]]:
    """Return how many texts of how many tokens each, for every batch that the model can read."""
    from expnet.timing.lengths import sizes

    batches: list[tuple[int, int]] = []
    for part in tokens.split(","):
        texts, _, length = part.strip().rpartition("x")
        if not re.fullmatch(r"([1-9]\d{0,6}x)?[1-9]\d{0,6}", part.strip(), re.ASCII):
            raise InputError(f"Expected lengths such as 32,128,16x512, got {tokens!r}.")
        batches += [(int(texts), int(length))] if texts else sizes([int(length)], budget=budget)
    readable = [(texts, length) for texts, length in batches if length <= limit]
    if not readable:
        raise InputError(f"The model reads {limit} tokens at most, fewer than every length in {tokens!r}.")
    return readable
