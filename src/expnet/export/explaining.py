"""Explanations from an exported folder: numpy, tokenizers and onnxruntime, no torch."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from jaxtyping import Float
from tokenizers import Tokenizer

from expnet.errors import MismatchError, ModelError, NonFiniteError, require_extra
from expnet.explanation.meaning import meaning
from expnet.explanation.result import Explanation, scored
from expnet.export.batches import Encoded, encode, feeds, pool_words
from expnet.export.manifest import GRAPH, TOKENIZER, Manifest, read_manifest
from expnet.model.tokenizer_file import refuse_absurd_tokenizer
from expnet.runtime.progress import track
from expnet.text.labels import output_index
from expnet.text.texts import Text, as_text, as_texts
from expnet.text.windows import in_chunks

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# What onnxruntime raises of a graph it cannot run; its errors have no base of their own.
_REFUSALS = (
    "Fail",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "NoSuchFile",
    "NotImplemented",
    "RuntimeException",
)


class OnnxExplainer:
    """Explains as the `Explainer` that was exported does; make it with `OnnxExplainer.load`."""

    def __init__(self, session: "InferenceSession", tokenizer: Tokenizer, manifest: Manifest) -> None:
        self.session = session
        self.tokenizer = tokenizer
        self.manifest = manifest

    @classmethod
    def load(
        cls, folder: str | Path, *, threads: int = 0, providers: Sequence[str] = ("CPUExecutionProvider",)
    ) -> "OnnxExplainer":
        """Load what `export` wrote.

        Args:
            folder: The folder.
            threads: Of the processor; 0 leaves it to onnxruntime, which takes one for each core.
            providers: Where onnxruntime computes, best first.

        Raises:
            ModelError: If a file is missing or damaged.
            MismatchError: If the files do not belong together or to this version.
            MissingExtraError: If onnxruntime is not installed.
        """
        require_extra("onnxruntime", "onnx")
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as errors

        manifest = read_manifest(Path(folder))
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        try:
            session = onnxruntime.InferenceSession(Path(folder) / GRAPH, settings, providers=list(providers))
        except tuple(getattr(errors, name) for name in _REFUSALS) as error:
            raise ModelError(f"onnxruntime cannot run {Path(folder) / GRAPH}: {error}") from error
        refuse_absurd_tokenizer(Path(folder) / TOKENIZER)
        try:
            tokenizer = Tokenizer.from_file(str(Path(folder) / TOKENIZER))
        except Exception as error:  # tokenizers raises nothing narrower
            raise ModelError(f"{Path(folder) / TOKENIZER} is damaged: {error}") from error
        tokenizer.no_truncation()  # a file could ask for both, at any length
        tokenizer.no_padding()
        _check_fits(session, manifest, folder)
        return cls(session, tokenizer, manifest)

    @overload
    def explain(  # type: ignore[overload-overlap]  # a string is also a sequence of strings
        self, texts: str | Text, *, target: str | int | None = ..., truncate: bool = ...
    ) -> Explanation: ...
    @overload
    def explain(
        self,
        texts: Iterable[str | Text],
        *,
        target: str | int | None = ...,
        truncate: bool = ...,
        progress: bool = ...,
    ) -> list[Explanation]: ...

    def explain(
        self,
        texts: str | Text | Iterable[str | Text],
        *,
        target: str | int | None = None,
        truncate: bool = False,
        progress: bool = False,
    ) -> Explanation | list[Explanation]:
        """Explain one text, or a list of texts in true batches, as `Explainer.explain` does.

        Args:
            texts: A string, or `Text` for pairs and pre-split words; or a list, generator, array or column of them.
            target: Class to report, by name or index; by default each text's predicted class. The scores do not depend
                on it. A regression with several outputs needs one.
            truncate: Cut texts over the model's limit instead of reading them in overlapping windows.
            progress: Show a progress bar.

        Raises:
            InputError: If a text is no string, there is no such class, or a regression with several outputs is given no
                target.
            TextTooLongError: If a pair is too long for windows.
            NonFiniteError: If the graph returns NaN or infinity.
        """
        chosen = output_index(self.manifest.labels, target, self.manifest.kind)
        if isinstance(texts, str | Text):
            return self._batch([as_text(texts)], chosen, truncate)[0]
        items = as_texts(texts)
        done: dict[int, Explanation] = {}
        for part in track(in_chunks(items), "explaining", show=progress, total=len(items), size=len):
            done.update(zip(part, self._batch([items[i] for i in part], chosen, truncate), strict=True))
        return [done[i] for i in range(len(items))]

    def _batch(self, texts: Sequence[Text], target: int | None, truncate: bool) -> list[Explanation]:
        encoded = encode(self.tokenizer, texts, self.manifest, truncate=truncate)
        outputs, scores = self._run(encoded)
        explanations = []
        for index, text in enumerate(texts):
            rows = np.flatnonzero(encoded.text_of == index)
            with np.errstate(invalid="ignore"):  # NaN is found, and refused, in `scored`
                words = pool_words(
                    [encoded.windows[row] for row in rows], [scores[row] for row in rows], len(text.words)
                )
            explanations.append(self._explanation(text, words, outputs[rows].mean(0), encoded, index, target))
        return explanations

    def _run(self, encoded: Encoded) -> tuple[Float[np.ndarray, "windows classes"], list[Float[np.ndarray, " _"]]]:
        """Return the probabilities or values of each window, and the scores of its tokens."""
        logits = np.empty((len(encoded.windows), len(self.manifest.labels)), dtype=np.float32)
        scores: list[Any] = [None] * len(encoded.windows)
        for rows, feed in feeds(encoded, self.manifest):
            logits[rows], of_tokens = self.session.run(None, feed)
            for row, values in zip(rows, of_tokens, strict=True):
                scores[row] = values[: len(encoded.windows[row])]
        if not np.isfinite(logits).all():
            raise NonFiniteError("The graph returned NaN or infinity. Its weights are damaged.")
        if self.manifest.kind == "value":
            return logits, scores
        if self.manifest.multi_label:
            return np.exp(-np.logaddexp(0, -logits)), scores
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True), scores

    def _explanation(
        self,
        text: Text,
        scores: Float[np.ndarray, " words"],
        outputs: Float[np.ndarray, " classes"],
        encoded: Encoded,
        index: int,
        target: int | None,
    ) -> Explanation:
        labels, read = self.manifest.labels, encoded.read[index]
        chosen = int(outputs.argmax()) if target is None else target
        return Explanation(
            text=text.text,
            pair=text.pair,
            words=scored(text, scores.tolist(), read, method="expnet"),
            label=labels[chosen],
            output=float(outputs[chosen]),
            outputs=dict(zip(labels, outputs.tolist(), strict=True)),
            method="expnet",
            calibrated=True,
            windows=int((encoded.text_of == index).sum()),
            threshold=self.manifest.threshold,
            provenance=dict(self.manifest.provenance),
            kind=self.manifest.kind,
            uses_target=False,
            meaning=meaning(
                self.manifest.measures, signed=False, uses_target=False, kind=self.manifest.kind, classes=len(labels)
            ),
            checked=self.manifest.checked,
        )


def _check_fits(session: "InferenceSession", manifest: Manifest, folder: str | Path) -> None:
    gives, reads = [node.name for node in session.get_outputs()], {node.name for node in session.get_inputs()}
    if gives != ["logits", "scores"] or len(session.get_outputs()[0].shape) != 2:
        raise MismatchError(f"The graph in {folder} gives {', '.join(gives)}, not logits and scores. Export again.")
    classes = session.get_outputs()[0].shape[1]
    if classes != len(manifest.labels):
        raise MismatchError(
            f"The graph in {folder} gives {classes} logits, but its JSON names {len(manifest.labels)} classes. "
            "Export again."
        )
    if ("token_type_ids" in reads) != manifest.typed:
        raise MismatchError(
            f"The graph in {folder} reads {', '.join(sorted(reads))}, but its JSON says that typed is "
            f"{manifest.typed}. Export again."
        )
