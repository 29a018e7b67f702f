"""transformers' `pipeline("token-attribution")`: a list of words with their scores, as in token classification."""

# transformers' declarations for its own pipelines (None for a bool, tensors everywhere) do not suit this one.
# mypy: disable-error-code="override, assignment, no-untyped-call"

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, Pipeline, PreTrainedModel
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.pt_utils import PipelineDataset, PipelineIterator

from expnet.errors import ExpnetError, InputError
from expnet.explainer import Explainer
from expnet.explanation.result import Explanation
from expnet.model.classifier import Classifier
from expnet.model.files import check_files, refuse_unsafe_tokenizer, safe_config
from expnet.model.loading import refuse_incomplete, refuse_made_up
from expnet.network.expnet import ExpNet
from expnet.network.universal import named
from expnet.text.labels import as_one_target
from expnet.text.texts import Text

TASK = "token-attribution"


def register() -> None:
    """Make the task "token-attribution" known to `transformers.pipeline`; a second call changes nothing."""
    if TASK not in PIPELINE_REGISTRY.supported_tasks:
        PIPELINE_REGISTRY.register_pipeline(TASK, TokenAttributionPipeline, pt_model=SafetensorsClassifier, type="text")
        # With it, saving would copy this module beside the model, as code to be run by whoever loads it.
        delattr(TokenAttributionPipeline, "_registered_impl")


class SafetensorsClassifier(AutoModelForSequenceClassification):
    """What `transformers.pipeline` loads a classifier by: after the checks of `expnet.load`, from safetensors alone."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str, *arguments: Any, **settings: Any) -> PreTrainedModel:
        """Check all files of a model, and load it.

        Raises:
            ExpnetError: If a file is not one that `expnet.load` reads, is damaged, or lacks weights.
        """
        name, revision = pretrained_model_name_or_path, settings.get("revision")
        try:
            check_files(name, revision, safe_config(name, revision))
            refuse_unsafe_tokenizer(name, revision)
            loaded: tuple[PreTrainedModel, Any] = super().from_pretrained(
                name,
                *arguments,
                **settings,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
            model, report = loaded
            refuse_incomplete(name, report["missing_keys"], report["mismatched_keys"])
        except ExpnetError as error:
            # After a ValueError, which most of ours are, transformers tries the class that the config names, unchecked.
            raise ExpnetError(str(error)) from error
        except Exception as error:  # damaged files make transformers raise nearly anything
            raise ExpnetError(f"{name} cannot be loaded as a sequence classifier: {error}") from error
        return model


class TokenAttributionPipeline(Pipeline):
    """Explains what a sequence classifier decides, text by text or in batches.

    A text gives a list with a dictionary for each word: `word`, its `score`, where it stands (`start` and `end`, in
    the pair if `segment` is 1), `label`, the class explained, and `uses_target`, False where the scores do not depend
    on it. Texts are strings, `{"text": ..., "text_pair": ...}` or `expnet.Text`. Long texts are read in overlapping
    windows.

    Keyword arguments, for the pipeline or for a call, are those of `Explainer.explain`: `method`, `options`, `seed`,
    `target` (one class, not "all"), `against`, `truncate`.
    """

    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = True

    def __init__(self, *, explainer: str | Path | ExpNet = "universal", **settings: Any) -> None:
        """Join the classifier that transformers loaded and an ExpNet, given as an object, name, folder or hub id.

        Raises:
            InputError: If there is no tokenizer.
            ModelError: If the tokenizer knows no words.
            MismatchError: If the ExpNet does not fit the classifier.
        """
        super().__init__(**settings)
        if self.tokenizer is None:
            raise InputError("A live model comes without its tokenizer: pass tokenizer=..., too.")
        refuse_made_up(self.tokenizer, self.model.name_or_path or "The model")
        classifier = Classifier(self.model, self.tokenizer, name=self.model.name_or_path or "")
        network = explainer if isinstance(explainer, ExpNet) else named(explainer)
        self.explainer = Explainer(classifier, network, name="" if network is explainer else str(explainer))

    def _sanitize_parameters(
        self,
        method: str | None = None,
        options: Mapping[str, Any] | None = None,
        seed: int | None = None,
        target: str | int | None = None,
        against: str | int | None = None,
        truncate: bool | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        target = as_one_target(target, holder="A text's list of words")
        asked = {"method": method, "options": options, "seed": seed, "target": target, "against": against}
        asked["truncate"] = truncate
        return {}, {name: value for name, value in asked.items() if value is not None}, {}

    def preprocess(self, input_: str | Text | Mapping[str, str]) -> dict[str, Text]:
        """Take one text; tokenization belongs to the explainer, which reads long texts in windows."""
        if isinstance(input_, Text):
            return {"text": input_}
        if isinstance(input_, str):
            return {"text": Text.of(input_)}
        if not isinstance(input_, Mapping) or "text" not in input_ or not input_.keys() <= {"text", "text_pair"}:
            raise InputError(f"Expected a text, or 'text' with 'text_pair', got {str(input_)[:80]}.")
        return {"text": Text.of(input_["text"], input_.get("text_pair"))}

    def get_inference_context(self) -> Callable[[], AbstractContextManager[None]]:
        """Leave gradients alone: the explainer turns them off where they are not needed."""
        return nullcontext

    def get_iterator(
        self,
        inputs: Any,
        num_workers: int,
        batch_size: int,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> Iterator[list[dict[str, Any]]]:
        """Make batches of texts as they are: transformers batches ids, and asks for a padding token."""
        kind = PipelineDataset if isinstance(inputs, Sized) else PipelineIterator
        texts = kind(inputs, self.preprocess, preprocess_params)
        workers = num_workers if kind is PipelineDataset else min(num_workers, 1)
        collate = _alone if batch_size == 1 else _together
        batches = DataLoader(texts, num_workers=workers, batch_size=batch_size, collate_fn=collate)
        outputs = PipelineIterator(batches, self.forward, forward_params, loader_batch_size=batch_size)
        return PipelineIterator(outputs, self.postprocess, postprocess_params)

    def _forward(self, inputs: dict[str, Any], **asked: Any) -> dict[str, Any]:
        return {"explanation": self.explainer.explain(inputs["text"], **asked)}

    def postprocess(self, outputs: dict[str, Explanation]) -> list[dict[str, Any]]:
        """Return a dictionary of plain types for each word."""
        explanation = outputs["explanation"]
        return [
            {
                "word": word.text,
                "score": word.score,
                "start": word.start,
                "end": word.end,
                "segment": word.segment,
                "label": explanation.label,
                "uses_target": explanation.uses_target,
            }
            for word in explanation.words
        ]

    def save_pretrained(self, save_directory: str | Path, **settings: Any) -> None:
        """Save the classifier and its tokenizer in the folder, and the ExpNet in its subfolder `explainer`."""
        super().save_pretrained(save_directory, **settings)
        if self.explainer.network is not None:
            self.explainer.network.save_pretrained(Path(save_directory) / "explainer")


def _alone(items: Sequence[dict[str, Text]]) -> dict[str, Text]:
    return items[0]


def _together(items: Sequence[dict[str, Text]]) -> dict[str, list[Text]]:
    return {"text": [item["text"] for item in items]}
