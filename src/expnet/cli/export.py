"""`expnet export`: a folder that explains without torch."""

from pathlib import Path
from typing import Annotated

import typer

from expnet.cli import options
from expnet.cli.outputs import say_saved
from expnet.errors import require_extra


def export(
    model: options.ModelArgument,
    output: Annotated[Path, typer.Option(help="Folder to write to. An earlier export in it is replaced.")],
    explainer: options.ExplainerOption = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise: smaller and faster, with scores that differ (docs/export.md).")
    ] = False,
    revision: options.RevisionOption = None,
) -> None:
    """Write classifier, attention and ExpNet as one ONNX graph, which onnxruntime runs without torch.

    The ExpNet must read attention alone; universal/attention is the default for any model but a demo. The graph is
    always computed in float32, or in int8.
    """
    for package in ("onnx", "onnxruntime", "onnxscript"):
        require_extra(package, "onnx")  # before torch and the models load
    from expnet.explainer import load
    from expnet.export import export as write

    if explainer is None and not model.startswith("demo/"):
        explainer = "universal/attention"  # the default of `load` reads gradients
    write(load(model, explainer=explainer, revision=revision, device="cpu"), output, int8=int8)
    say_saved(output, f"--model {output}")
