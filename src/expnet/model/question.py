"""What a model is asked of each text, and what its outputs are: by its own head, a prompt, or zero-shot labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from expnet.errors import ExpnetError, ModelError
from expnet.model.entailment import Hypotheses
from expnet.model.prompted import with_prompt
from expnet.runtime.memory import exhausted
from expnet.text.hypotheses import HypothesisTokenizer
from expnet.text.labels import OutputKind, class_names
from expnet.text.prompted import PromptTokenizer
from expnet.text.prompts import Prompt
from expnet.text.zero_shot import ZeroShot


@dataclass(frozen=True, slots=True)
class Question:
    """How a model answers.

    Attributes:
        model: The model that runs; of a language model with a prompt, a classifier around it.
        labels: Names of the outputs.
        kind: What the outputs are.
        multi_label: Whether labels are independent.
        prompt: What is asked, unless it is the model's own head.
        reader: What puts texts into a prompt, or before a hypothesis.
        hypotheses: Those of zero-shot labels.
    """

    model: PreTrainedModel
    labels: tuple[str, ...]
    kind: OutputKind
    multi_label: bool
    prompt: Prompt | ZeroShot | None = None
    reader: PromptTokenizer | HypothesisTokenizer | None = None
    hypotheses: Hypotheses | None = None

    @classmethod
    def of(
        cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: Prompt | ZeroShot | None
    ) -> "Question":
        """Find out what a model is asked; without a prompt, what its config says.

        Raises:
            InputError: If the words of the prompt's labels cannot follow it, or the tokenizer cannot tell labels apart.
            ModelError: If the classes are not numbered from 0 on or share a name, or the model does not suit a prompt.
        """
        if isinstance(prompt, ZeroShot):
            hypotheses, premises = Hypotheses.of(model, tokenizer, prompt)
            labels = tuple(prompt.labels)
            return cls(model, labels, "probability", prompt.independent, prompt, premises, hypotheses)
        model, reader = with_prompt(model, tokenizer, prompt)
        labels, problem = class_names(model.config.id2label, model.config.label2id), model.config.problem_type
        kind: OutputKind = "value" if problem == "regression" else "probability"
        multi_label = problem == "multi_label_classification" or (kind == "probability" and len(labels) == 1)
        return cls(model, labels, kind, multi_label, None if reader is None else reader.prompt, reader)


def check_names(model: str, labels: Sequence[str], run: Callable[[], Tensor]) -> None:
    """Check by a short text that each logit has a name: a wrong number might not show until much later.

    Args:
        model: Its name, for the message.
        labels: The names.
        run: Returns the logits of a short text, one row.

    Raises:
        ModelError: If there are more or fewer, or the model fails on the text.
    """
    try:
        logits = run()
    except Exception as error:  # raised again
        if isinstance(error, ExpnetError) or exhausted(error):
            raise
        raise ModelError(
            f"{model} fails on a short text: {type(error).__name__}: {error}. It must run by itself, its weights all "
            "of one type, without autocast around it."
        ) from error
    if logits.shape[1:] != (len(labels),):
        raise ModelError(
            f"{model} gives {logits.shape[-1]} logits, but its config names {len(labels)} classes: "
            f"{', '.join(map(repr, labels[:20]))}. Name each logit: id2label and label2id in config.json, or on "
            "model.config."
        )
