"""`expnet export`: a folder that explains without torch."""

from pathlib import Path
from typing import Annotated

import typer

from expnet.errors import require_extra


def export(
    model: Annotated[str, typer.Argument(help="The classifier: a demo, a folder or a hub id.")],
    output: Annotated[Path, typer.Option(help="Folder to write to; an earlier export in it is replaced.")],
    explainer: Annotated[
        str | None, typer.Option(help="Folder or hub id of an ExpNet that sees attention alone; a demo has its own.")
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise: smaller and quicker, with scores that differ (docs/export.md).")
    ] = False,
) -> None:
    """Write classifier, attention and ExpNet as one ONNX graph, which onnxruntime runs without torch."""
    for package in ("onnx", "onnxruntime", "onnxscript"):
        require_extra(package, "onnx")  # before torch and the models load
    from expnet.explainer import load
    from expnet.export import export as write

    if explainer is None and not model.startswith("demo/"):
        explainer = "universal/attention"  # the default of `load` sees gradients
    write(load(model, explainer=explainer, device="cpu"), output, int8=int8)
    print(f"Saved to {output}. Explain with: expnet explain --model {output} TEXT")
