"""Write an explainer as a folder that onnxruntime runs."""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from expnet._version import __version__
from expnet.errors import InputError, MismatchError, UnsupportedModelError, require_extra
from expnet.export.explaining import OnnxExplainer
from expnet.export.manifest import GRAPH, MANIFEST, TOKENIZER, Manifest
from expnet.network.trust import measured_by
from expnet.runtime.versions import versions
from expnet.text.texts import Text

if TYPE_CHECKING:
    from expnet.explainer import Explainer
    from expnet.model.classifier import Classifier
    from expnet.network.expnet import ExpNet

_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
# Two texts of different length, so that neither size is taken for a constant; and what the graph must then get right.
_TRACED = ("A short text.", "Another one, which is a little longer than the first.")
_TRIALS = (("Fine.",), ("Good!", "no", "Yet another text, which is a good deal longer than all of the others here."))
# The graph agrees with attention in the open to 1e-6. Fused kernels round their log-sum-exp, and normalising a text of
# two tokens magnifies that to 1e-4; a graph that is wrong is off by far more.
_TOLERANCE = 1e-3


def export(explainer: "Explainer", folder: str | Path, *, int8: bool = False) -> Path:
    """Write classifier, capture and ExpNet as one ONNX graph, with all it takes to explain texts without torch.

    The folder then holds model.onnx, in which batch and length are free, tokenizer.json and export.json. Before that,
    the graph explains a few texts, and must say what the explainer says.

    Args:
        explainer: With an ExpNet that sees attention alone, and a classifier in float32 on the CPU.
        folder: Made if it does not exist; an earlier export in it is replaced.
        int8: Quantise the weights, and the states while the graph runs: smaller, quicker, and with other scores
            (docs/export.md says by how much).

    Returns:
        The folder.

    Raises:
        InputError: If there is no ExpNet, the classifier is not in float32 on the CPU, or the folder is a file.
        MismatchError: If the ExpNet sees gradients.
        UnsupportedModelError: If the model is an encoder-decoder or cannot be traced, or the graph says something else
            than the model.
        MissingExtraError: If onnx, onnxscript or onnxruntime is not installed.
    """
    for package in _PACKAGES:
        require_extra(package, "onnx")
    network, folder = _exportable(explainer), Path(folder)
    if folder.is_file():
        raise InputError(f"{folder} is a file; expected a folder to write to.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        made = Path(place)
        _trace(explainer.classifier, network, made / GRAPH)
        explainer.classifier.text_tokenizer.backend.save(str(made / TOKENIZER))  # type: ignore[union-attr]  # a prompt was refused
        _manifest(explainer, network, "onnx").write(made)
        _compare(explainer, OnnxExplainer.load(made))
        if int8:
            _quantise(made / GRAPH)
            _manifest(explainer, network, "onnx int8").write(made)
        (folder / MANIFEST).unlink(missing_ok=True)  # it comes last, so that nothing half done looks whole
        for path in sorted(made.iterdir(), key=lambda path: path.name == MANIFEST):
            path.replace(folder / path.name)
    return folder


def _exportable(explainer: "Explainer") -> "ExpNet":
    network, model = explainer.network, explainer.classifier.model
    if explainer.classifier.hypotheses is not None:
        raise InputError("Zero-shot labels are read in a pass each, and cannot be exported as one graph: use torch.")
    if explainer.classifier.prompt is not None:
        raise InputError("A language model with a prompt cannot be exported: run it with torch.")
    if network is None:
        raise InputError("There is no ExpNet to export: pass explainer=..., or train one with `expnet fit`.")
    if network.uses_target:
        raise MismatchError(
            "This ExpNet sees gradients, and an ONNX graph has no backward pass. Export one that sees attention alone: "
            "explainer='universal/attention', or one made by `expnet fit --tier attention`."
        )
    if explainer.classifier.text_tokenizer.pad is None:
        raise InputError(
            f"The config of {type(model).__name__} names no padding token, so that a graph could not read texts of "
            "different lengths together: set model.config.pad_token_id to one that no text ends with, and export again."
        )
    if explainer.classifier.text_tokenizer.end is not None:
        raise UnsupportedModelError(
            f"{type(model).__name__} only reads texts together that hold the end token equally often, and a graph, "
            "which cannot check that, would mix the texts up: single texts and pairs, for instance."
        )
    if (model.device.type, str(model.dtype)) != ("cpu", "torch.float32"):
        raise InputError(
            f"Expected a classifier in torch.float32 on the cpu, got {model.dtype} on {model.device}: load it with "
            "device='cpu'."
        )
    return network


def _trace(classifier: "Classifier", network: "ExpNet", path: Path) -> None:
    import torch  # here, so that exported explainers load without it

    from expnet.attention.borrow import borrow
    from expnet.export.graph import ExplainingGraph

    encoding = classifier.encode([Text.of(text) for text in _TRACED])
    given = {**encoding.inputs(), "real": encoding.real}
    names = [name for name in ("input_ids", "attention_mask", "real", "token_type_ids") if name in given]
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", max=classifier.max_length)}
    graph = ExplainingGraph(classifier, network).eval()
    try:
        with torch.no_grad(), borrow(classifier.model), _quiet():
            torch.onnx.export(
                graph,
                tuple(given[name] for name in names),
                path,
                input_names=names,
                output_names=["logits", "scores"],
                dynamic_shapes=tuple(free for _ in names),
                dynamo=True,
                external_data=False,  # weights go into a file of their own only where one cannot hold them
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise UnsupportedModelError(f"{type(classifier.model).__name__} cannot be traced for ONNX: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on itself off the terminal: deprecations in it, operators that nobody uses."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _manifest(explainer: "Explainer", network: "ExpNet", attention: str) -> Manifest:
    classifier = explainer.classifier
    return Manifest(
        labels=classifier.labels,
        kind=classifier.kind,
        multi_label=classifier.multi_label,
        max_length=classifier.max_length,
        pad=classifier.text_tokenizer.pad or 0,
        typed=classifier.text_tokenizer.typed,
        threshold=network.config.threshold,
        provenance={
            "classifier": classifier.name or type(classifier.model).__name__,
            "expnet": __version__,
            "explainer": explainer.name or "ExpNet",
            "attention": attention,
        },
        measures=measured_by(network.config.provenance),
        checked=explainer.checked,
        versions=versions(*_PACKAGES),
    )


def _compare(explainer: "Explainer", exported: OnnxExplainer) -> None:
    for texts in _TRIALS:
        for ours, theirs in zip(exported.explain(texts, target=0), explainer.explain(texts, target=0), strict=True):
            pairs = [(a.score, b.score) for a, b in zip(ours.words, theirs.words, strict=True)]
            pairs += [(ours.outputs[label], theirs.outputs[label]) for label in theirs.outputs]
            gap = max(abs(a - b) for a, b in pairs)
            if not gap <= _TOLERANCE:
                raise UnsupportedModelError(
                    f"The graph of {type(explainer.classifier.model).__name__} differs from the model by {gap:.2g} "
                    f"(at most {_TOLERANCE:.0e} was expected) on the text {theirs.text!r}. It was not written."
                )


def _quantise(path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    shaped, large = path.with_suffix(".shaped"), path.with_name(f"{GRAPH}.data").exists()
    quant_pre_process(path, shaped, skip_optimization=True, skip_symbolic_shape=True, save_as_external_data=large)
    # Seven bits: with eight, products overflow on processors without VNNI.
    quantize_dynamic(
        shaped,
        path,
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
        use_external_data_format=large,
    )
    for left in path.parent.glob(f"{shaped.name}*"):
        left.unlink()
