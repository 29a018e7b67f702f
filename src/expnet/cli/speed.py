"""`expnet speed`: what explanations cost on this machine."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expnet.errors import InputError, require_extra

if TYPE_CHECKING:
    from expnet.explainer import Explainer

_METHODS = ("expnet", "raw_attention", "generic_relevance", "integrated_gradients")


def speed(
    model: Annotated[str, typer.Argument(help="The classifier: a demo, a folder or a hub id.")] = "demo/sentiment",
    explainer: Annotated[str | None, typer.Option(help="Folder or hub id of an ExpNet; a demo has its own.")] = None,
    tokens: Annotated[
        str,
        typer.Option(
            help="Lengths of texts, with commas, or 16x128 for 16 texts of 128 tokens; lengths beyond what the model "
            "reads are left out."
        ),
    ] = "16,32,64,128,256,512,1024,2048,4096,8192",
    budget: Annotated[int, typer.Option(min=1, help="Tokens in a batch, of at most 32 texts.")] = 1024,
    method: Annotated[list[str] | None, typer.Option(help="Whom to time beside the prediction; repeat it.")] = None,
    rounds: Annotated[int, typer.Option(min=3, help="In each round everyone runs once.")] = 15,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the processor; 0 leaves that to torch.")] = 0,
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda; by default the best there is.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Type of the weights, such as bfloat16.")] = None,
    texts: Annotated[
        Path | None, typer.Option(help="Time all texts of this .txt or JSONL instead, of whatever lengths they are.")
    ] = None,
    exported: Annotated[
        Path | None, typer.Option(help="With --texts: also time the same explainer, as `expnet export` wrote it.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Also write JSON to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Also draw the ratios, as .png, .pdf or .svg.")] = None,
) -> None:
    """Time explanations beside the bare prediction and the pipeline of transformers, on the same texts."""
    if plot is not None:
        require_extra("matplotlib", "report")  # before anything is timed
    import torch

    from expnet.explainer import load
    from expnet.timing import lengths as timing

    if threads:
        torch.set_num_threads(threads)
    explainer_ = load(model, explainer=explainer, device=device, dtype=dtype)
    if texts is not None:
        _mixed(explainer_, texts, exported, rounds, output)
        return
    found = timing.measure(
        explainer_,
        _batches(tokens, budget, explainer_.classifier.max_length),
        rounds=rounds,
        methods={name: {"steps": 50} if name == "integrated_gradients" else {} for name in method or _METHODS},
        progress=True,
    )
    report = timing.report(explainer_, found)
    print(timing.table(report))
    if output is not None:
        timing.write(report, output)
    if plot is not None:
        from expnet.benchmark.present.plots import cost_by_length, save_as

        save_as(cost_by_length(found), plot)


def _mixed(explainer: "Explainer", path: Path, exported: Path | None, rounds: int, output: Path | None) -> None:
    import torch

    from expnet.cli.train import texts_of
    from expnet.export import OnnxExplainer
    from expnet.timing import throughput
    from expnet.timing.lengths import write

    graph = None if exported is None else OnnxExplainer.load(exported, threads=torch.get_num_threads())
    strings = [text.text for text in texts_of(path)]
    found = throughput.measure(explainer, strings, rounds=rounds, exported=graph, progress=True)
    report = throughput.report(explainer, strings, found)
    print(throughput.table(report))
    if output is not None:
        write(report, output)


def _batches(tokens: str, budget: int, limit: int) -> list[tuple[int, int]]:
    """Return how many texts of how many tokens each, for each batch that the model can read."""
    from expnet.timing.lengths import sizes

    batches: list[tuple[int, int]] = []
    for part in tokens.split(","):
        texts, _, length = part.strip().rpartition("x")
        if not re.fullmatch(r"([1-9]\d{0,6}x)?[1-9]\d{0,6}", part.strip(), re.ASCII):
            raise InputError(f"Expected lengths such as 32,128,16x512, got {tokens!r}.")
        batches += [(int(texts), int(length))] if texts else sizes([int(length)], budget=budget)
    read = [(texts, length) for texts, length in batches if length <= limit]
    if not read:
        raise InputError(f"The model reads {limit} tokens at most, fewer than every length in {tokens!r}.")
    return read
