"""One Hugging Face classifier with its tokenizer: load, encode, predict, trace."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from expnet.attention.borrow import borrow, class_logits, declared_pad, pooled_end
from expnet.attention.capture import Trace, capture
from expnet.attention.probe import Support, probe
from expnet.errors import InputError, ModelError
from expnet.model.capacity import batches, budget, embedding_rows, known_id, token_limit
from expnet.model.loading import load_model
from expnet.model.prediction import Prediction, mean_of_windows, refuse_not_finite
from expnet.model.question import Question, check_names
from expnet.model.weights import hash_of
from expnet.model.wrappers import inner_model
from expnet.runtime.ambient import torch_defaults
from expnet.text.encoding import Encoding, TextTokenizer, encode, pack
from expnet.text.labels import class_index, output_index
from expnet.text.prompts import Prompt, saved_prompt
from expnet.text.texts import Text, as_texts
from expnet.text.windows import TokenizedText, read_texts
from expnet.text.zero_shot import ZeroShot


class Classifier:
    """A borrowed sequence classifier: its mode, attention implementation and gradients are restored after each call.

    Attributes:
        name: Folder or hub id, for provenance; "" for live objects.
        labels: Class names in the order of the logits.
        kind: What its outputs are: "probability", or "value" if its config's `problem_type` is "regression".
        multi_label: Whether classes are independent. Also True for a classifier with a single logit, whose sigmoid is
            taken, as transformers' own pipeline does.
        max_length: Most tokens in one window, special tokens included.
        mask_id: Id of the tokenizer's [MASK], or None if it has none that the model knows.
        prompt: What a language model, or a model of natural language inference, is asked; None for a classifier whose
            head has the labels.
        hypotheses: Those of zero-shot labels; None where one pass gives the logits of all labels.
        pad_id: Id of the padding token from the model's config, else from the tokenizer; None likewise. Texts of
            different lengths share a batch only if it is in the config.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str = "",
        max_length: int | None = None,
        prompt: Prompt | ZeroShot | None = None,
    ) -> None:
        """Wrap live objects; the wrappers of `torch.compile` and `DataParallel` are removed.

        With a prompt the model is a causal language model, with zero-shot labels one of natural language inference.

        Raises:
            InputError: If the words of the prompt's labels cannot follow it, or the tokenizer cannot tell labels apart.
            ModelError: If the model is not a transformers model, has adapters that are not merged or weights that are
                offloaded, fails on a short text, the tokenizer has no offsets, the limit exceeds what the model can
                read, or the classes are not numbered from 0 on, share a name, or are more or fewer than the model's
                logits.
        """
        question = Question.of(inner_model(model), tokenizer, prompt)
        self.model = question.model
        self.labels, self.kind, self.multi_label = question.labels, question.kind, question.multi_label
        self.prompt, self.hypotheses = question.prompt, question.hypotheses
        self.tokenizer = tokenizer
        self.name = name
        self._support: Support | None = None
        self._budget: int | None = None
        limit = token_limit(self.model, tokenizer)
        if max_length is not None and not 1 <= max_length <= limit:
            raise ModelError(f"max_length is {max_length}, but {type(self.model).__name__} reads 1 to {limit} tokens.")
        self.max_length = limit if max_length is None else max_length
        rows = embedding_rows(self.model)
        # What counts as padding is for the model to say: a decoder looks for this id to find the last token.
        pad, end = known_id(declared_pad(self.model), rows), pooled_end(self.model)
        self.text_tokenizer = replace(TextTokenizer.of(tokenizer, question.reader), pad=pad, vocabulary=rows, end=end)
        self.mask_id = known_id(tokenizer.mask_token_id, rows)
        self.pad_id = pad
        if self.pad_id is None:
            self.pad_id = known_id(tokenizer.pad_token_id, rows)
        check_names(type(self.model).__name__, self.labels, lambda: self._logits(self.encode([self.example()])))

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        max_length: int | None = None,
        prompt: Prompt | ZeroShot | None = None,
    ) -> "Classifier":
        """Load a classifier from a folder or the Hugging Face hub; safetensors only, no remote code.

        Args:
            name_or_path: A folder, or a hub id. A folder with a PEFT adapter is merged into its base model.
            revision: Commit, tag or branch on the hub.
            device: The accelerator if there is one, else the CPU.
            dtype: float32 on the CPU, elsewhere what the weights are stored in.
            max_length: Most tokens in a window; by default what the model can read.
            prompt: Makes a causal language model, or one of natural language inference, a classifier of its labels; by
                default the one saved in the folder, if any.

        Raises:
            InputError: If the words of the prompt's labels cannot follow it.
            ModelError: If there is no such model, it is not a sequence classifier, or its weights lack the head.
            UnsafeModelError: If its files ask for foreign code or hold weights only as a pickle.
        """
        prompt = prompt or saved_prompt(name_or_path)
        model, tokenizer = load_model(
            name_or_path, revision=revision, device=device, dtype=dtype, language=isinstance(prompt, Prompt)
        )
        return cls(model, tokenizer, name=str(name_or_path), max_length=max_length, prompt=prompt)

    @property
    def embeddings(self) -> Float[Tensor, "vocabulary width"]:
        """The table in which the model looks its tokens up."""
        table = self.model.get_input_embeddings().weight
        if not isinstance(table, Tensor):
            raise ModelError(f"{type(self.model).__name__} has no table of token embeddings.")
        return table.detach()

    @property
    def architecture(self) -> str:
        """The model's type in transformers' own terms, such as "bert"."""
        return str(self.model.config.model_type)

    @property
    @torch_defaults()
    def support(self) -> Support:
        """How this model's attention is captured; determined by running it once on two short texts.

        Raises:
            UnsupportedModelError: If it cannot be captured.
            ModelError: If the model gives no class logits.
        """
        if self._support is None:
            texts = [self.example("Another one, a little longer than the first."), self.example()]
            encoding = self.encode(texts if self.text_tokenizer.pad is not None else texts[:1])
            self._support = probe(self.model, encoding.inputs(self.model.device))
        return self._support

    @support.setter
    def support(self, support: Support) -> None:
        self._support = support

    def fingerprint(self) -> str:
        """Return a hash of the architecture, the window and every weight, which changes when they do.

        Raises:
            ModelError: If the model's state holds something that cannot be hashed.
        """
        asked = "" if self.prompt is None else self.prompt.to_json()
        return hash_of(self.model, f"{self.architecture} {self.max_length}{asked}")

    def example(self, text: str = "A short text.") -> Text:
        """Return a text that every model can read; a pair where the prompt asks for one."""
        return Text.of(text, text if self.prompt is not None and self.prompt.pairs else None)

    @torch_defaults()
    def encode(self, texts: Iterable[str | Text], *, truncate: bool = False) -> Encoding:
        """Tokenize texts; see `expnet.text.encoding.encode`."""
        return encode(self.text_tokenizer, as_texts(texts), max_length=self.max_length, truncate=truncate)

    def read(self, texts: Iterable[str | Text], *, truncate: bool = False) -> list[TokenizedText]:
        """Tokenize texts without joining them into a batch, which `pack` does."""
        backend = self.text_tokenizer.backend
        return list(read_texts(backend, as_texts(texts), max_length=self.max_length, truncate=truncate))

    @torch_defaults()
    def pack(self, texts: Sequence[Text], readings: Sequence[TokenizedText]) -> Encoding:
        """Join texts, tokenized by `read`, into one batch."""
        return pack(self.text_tokenizer, texts, readings)

    @property
    def budget(self) -> int:
        """Most tokens in a batch of different texts, padding included.

        By default 1,024 on the CPU and 8,192 elsewhere; see docs/speed.md. It can be set.
        """
        return self._budget or budget(self.model.device)

    @budget.setter
    def budget(self, tokens: int) -> None:
        if tokens < 1:
            raise InputError(f"The budget is {tokens} tokens, expected 1 or more.")
        self._budget = tokens

    @torch_defaults()
    def predict(self, encoding: Encoding) -> Prediction:
        """Return the class probabilities, or the values, of each text; windows of one text are averaged.

        Raises:
            NonFiniteError: If the model returns NaN or infinity.
        """
        return self.prediction(encoding, self._logits(encoding))

    @torch_defaults()
    def _logits(self, encoding: Encoding) -> Float[Tensor, "batch classes"]:
        def once(windows: Encoding) -> Tensor:
            return torch.cat(
                [class_logits(self.model, part.inputs(self.model.device)).cpu() for part in batches(windows)]
            )

        with torch.inference_mode(), borrow(self.model, compiled=True):
            return self.of_every_label(encoding, once)

    def about(self, encoding: Encoding, target: Int[Tensor, " batch"]) -> tuple[Encoding, Int[Tensor, " batch"]]:
        """Return what the model reads for a target of each window, and the target among the model's own outputs.

        For a zero-shot classifier: the windows with the hypotheses of their targets, unless they have one already, and
        entailment. For any other, both as they are.

        Raises:
            UnsupportedModelError: If a zero-shot classifier is to contrast labels.
        """
        if self.hypotheses is None:
            return encoding, target
        asked = self.hypotheses.ask(encoding, target.cpu()) if encoding.asked is None else encoding
        return asked, torch.full_like(target, self.hypotheses.target)

    def of_every_label(
        self, encoding: Encoding, run: Callable[[Encoding], Float[Tensor, "..."]]
    ) -> Float[Tensor, "... labels"]:
        """Return the logits of all labels: what `run` gives, of a zero-shot classifier one label a run."""
        return run(encoding) if self.hypotheses is None else self.hypotheses.logits(encoding, run)

    @torch_defaults()
    def trace(self, encoding: Encoding, *, received: bool = False) -> Trace:
        """Run one forward pass per batch of windows and take the attention along.

        Args:
            encoding: Windows.
            received: As for `capture`.

        Returns:
            Logits and log-attention on the CPU, one row per window; see `Trace`. Of a zero-shot classifier the logits
            are the model's own, and the windows must be `about` a label.
        """
        if self.hypotheses is not None and encoding.asked is None:
            raise InputError("Zero-shot labels are read one by one: trace the windows that `about` returns for one.")
        support = self.support
        parts = [
            capture(self.model, inputs, anchor=support.anchor, backend=support.backend, received=received)
            for inputs in (part.inputs(self.model.device) for part in batches(encoding))
        ]
        return Trace.joined(parts, encoding.ids.shape[1])

    @torch_defaults()
    def prediction(self, encoding: Encoding, logits: Float[Tensor, "batch classes"]) -> Prediction:
        """Turn the logits of windows into the outputs of texts, by averaging over the windows."""
        refuse_not_finite(logits, encoding)
        merged = mean_of_windows(self.outputs(logits), encoding)
        return Prediction(self.labels, merged, self.multi_label, self.kind)

    def outputs(self, logits: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch classes"]:
        """Turn logits into outputs: probabilities, or the values of a regression as they are."""
        logits = logits.float()
        if self.kind == "value":
            return logits
        return logits.sigmoid() if self.multi_label else logits.softmax(-1)

    def target_index(self, target: str | int) -> int:
        """Return the index of a class given by name or index.

        Raises:
            InputError: If there is no such class; the message offers the nearest name.
        """
        return class_index(self.labels, target)

    def output_index(self, target: str | int | None) -> int | None:
        """Return the index of the output to explain; None for each text's most probable class.

        Raises:
            InputError: If there is no such class, or none was named and the model is a regression with several outputs.
        """
        return output_index(self.labels, target, self.kind)

    def check_probabilities(self, what: str) -> None:
        """Raise if the model is a regression, for what needs probabilities.

        Args:
            what: What needs probabilities, as the first words of a sentence.

        Raises:
            InputError: If the model is a regression.
        """
        if self.kind == "value":
            raise InputError(
                f"{what} needs the probability of a class, and this model is a regression, which gives values "
                f"({', '.join(self.labels[:5])}). Choose another method or measure."
            )
