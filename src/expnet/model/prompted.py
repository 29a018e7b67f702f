"""A language model that classifies: its prompt asks, and the next token of each label's word is the label's logit."""

import copy
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    DynamicCache,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from expnet.attention.anchor import POOLINGS
from expnet.attention.borrow import declared_pad
from expnet.attention.intercept import aside
from expnet.errors import ModelError
from expnet.text.prompted import PromptTokenizer
from expnet.text.prompts import Prompt, save_prompt

# Largest difference to the model's own logits, as a share of the largest of them.
_TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4}
_COARSE = 5e-2


class PromptedModel(PreTrainedModel):  # type: ignore[no-untyped-call]
    """A classifier around a language model, of which it shares all modules.

    A label's logit is that of its word's token after the last token of the prompt. If a word has several tokens, each
    label's logit is the logarithm of its word's probability: the sum over its tokens, those after the first in a
    further pass that reads keys and values of the prompt from the first one.

    Attributes:
        prompt: The prompt, for a model made by `around`.
    """

    base_model_prefix = "decoder"
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True
    prompt: Prompt

    def __init__(self, config: PreTrainedConfig, language_model: PreTrainedModel | None = None) -> None:
        """Take a language model apart, or make a random one.

        Args:
            config: The language model's, with `label_tokens` and the labels.
            language_model: The model.
        """
        super().__init__(config)
        auto: Any = AutoModelForCausalLM
        whole: PreTrainedModel = auto.from_config(config) if language_model is None else language_model
        self.decoder: Any = whole.base_model
        self.score = LabelHead(whole, None if self.continues else [tokens[0] for tokens in config.label_tokens])
        self.__dict__["_whole"] = whole  # not as a module, as most of it would be there twice

    @classmethod
    def around(cls, language_model: PreTrainedModel, prompt: Prompt, tokenizer: PromptTokenizer) -> "PromptedModel":
        """Make a classifier of a language model, which stays as it is.

        Raises:
            InputError: If a label's word cannot follow the prompt.
            ModelError: If it is not a causal language model whose logits are a linear map of the last hidden states.
        """
        if getattr(language_model, "get_output_embeddings", lambda: None)() is None:
            raise ModelError(
                f"{type(language_model).__name__} has no language model's head: a prompt needs a causal language model."
            )
        config = copy.deepcopy(language_model.config)
        config.label_tokens = tokenizer.label_tokens()
        config.id2label = dict(enumerate(prompt.labels))
        config.label2id = {label: number for number, label in config.id2label.items()}
        config.problem_type = "single_label_classification"
        ids = torch.tensor([tokenizer.example()], device=language_model.device)
        config.pad_token_id = _padding(config, int(ids[0, -1]))
        model = cls(config, language_model)
        model.train(language_model.training)
        model.prompt = prompt
        model._verify(ids)
        return model

    @property
    def continues(self) -> bool:
        """Whether a word has several tokens."""
        return any(len(tokens) > 1 for tokens in self.config.label_tokens)

    @property
    def room(self) -> int:
        """Tokens of the longest word after its first one, for which a window must leave room."""
        return max(map(len, self.config.label_tokens)) - 1

    def forward(
        self, input_ids: Int[Tensor, "batch tokens"], attention_mask: Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Return the labels' logits; padding must be on the right."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        last = POOLINGS["last"].tokens(input_ids, mask.bool(), declared_pad(self)).int().argmax(1)
        cache = DynamicCache() if self.continues else None
        hidden = self.decoder(
            input_ids=input_ids, attention_mask=attention_mask, use_cache=cache is not None, **self._past(cache)
        )[0]
        logits = self.score(hidden[torch.arange(len(last), device=last.device), last])
        if cache is not None:
            with aside():
                logits = self._of_words(logits, cache, last + 1)
        return SequenceClassifierOutput(logits=logits)

    def _past(self, cache: DynamicCache | None) -> dict[str, DynamicCache | None]:
        # transformers renames the argument, model by model.
        names = inspect.signature(self.decoder.forward).parameters
        return {"cache" if "cache" in names else "past_key_values": cache}

    def _of_words(
        self, logits: Float[Tensor, "batch vocabulary"], cache: DynamicCache, lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the logarithm of each word's probability."""
        first = _log_softmax(logits)
        return torch.stack(
            [
                first[:, tokens[0]] + (self._further(tokens, cache, lengths) if len(tokens) > 1 else 0)
                for tokens in self.config.label_tokens
            ],
            1,
        )

    def _further(
        self, tokens: Sequence[int], cache: DynamicCache, lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return the log-probability of a word's tokens after the first, given the prompt and those before."""
        device = lengths.device
        past, shown = _pushed_right(cache, lengths)
        steps = torch.arange(len(tokens) - 1, device=device)
        hidden = self.decoder(
            input_ids=torch.tensor(tokens[:-1], device=device).expand(len(lengths), -1),
            attention_mask=F.pad(shown.long(), (0, len(steps)), value=1),
            position_ids=lengths[:, None] + steps,
            use_cache=True,
            **self._past(past),
        )[0]
        return _log_softmax(self.score(hidden))[:, steps, torch.tensor(tokens[1:], device=device)].sum(1)

    def _verify(self, ids: Int[Tensor, "1 tokens"]) -> None:
        """Compare with the language model, which also reads a token more: one that sees it is not causal."""
        whole: Any = self.__dict__["_whole"]
        training = whole.training
        with torch.inference_mode():
            try:
                whole.eval()
                theirs = whole(input_ids=ids, use_cache=False).logits[0, -2].float()
                ours = self.score(self.decoder(input_ids=ids[:, :-1], use_cache=False)[0][0, -1]).float()
            finally:
                whole.train(training)
        if not self.continues:
            theirs = theirs[[tokens[0] for tokens in self.config.label_tokens]]
        gap, scale = float((ours - theirs).abs().max()), float(theirs.abs().max())
        if not gap <= _TOLERANCE.get(whole.dtype, _COARSE) * max(scale, 1.0):
            raise ModelError(
                f"{type(whole).__name__} gives other logits than its last hidden states times its head (they differ by "
                f"{gap:.2g}): it is not a causal language model, or not one that can be asked for labels."
            )

    def get_input_embeddings(self) -> nn.Module:
        """Return the language model's table of embeddings."""
        table: nn.Module = self.decoder.get_input_embeddings()
        return table

    def _can_set_attn_implementation(self) -> bool:  # type: ignore[override]  # the class says nothing here
        return bool(self.decoder._can_set_attn_implementation())

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:  # type: ignore[override]
        """Save the language model as it is, and the prompt beside it."""
        self.__dict__["_whole"].save_pretrained(save_directory, **options)
        save_prompt(self.prompt, save_directory)


def with_prompt(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: Prompt | None
) -> tuple[PreTrainedModel, PromptTokenizer | None]:
    """Return a classifier, and what puts texts into its prompt; a model without a prompt as it is, and None.

    Raises:
        InputError: If the words of the labels cannot follow the prompt.
        ModelError: See `PromptedModel.around` and `PromptTokenizer.of`.
    """
    if isinstance(model, PromptedModel):
        return model, PromptTokenizer.of(tokenizer, model.prompt)
    if prompt is None:
        return model, None
    reader = PromptTokenizer.of(tokenizer, prompt)
    return PromptedModel.around(model, prompt, reader), reader


class LabelHead(nn.Module):
    """The language model's head, or its rows for some tokens, with what the model does to logits afterwards."""

    def __init__(self, language_model: Any, tokens: Sequence[int] | None) -> None:
        """Take the head, or copy the rows of these tokens."""
        super().__init__()
        head, config = language_model.get_output_embeddings(), language_model.config.get_text_config()
        bias = getattr(head, "bias", None)
        if tokens is None:
            self.weight, self.bias = head.weight, bias
        else:
            self.weight = nn.Parameter(head.weight.detach()[list(tokens)].clone())
            self.bias = None if bias is None else nn.Parameter(bias.detach()[list(tokens)].clone())
        self.scale = float(getattr(config, "logit_scale", None) or 1) / float(
            getattr(config, "logits_scaling", None) or 1
        )
        self.cap: float | None = getattr(config, "final_logit_softcapping", None)

    def forward(self, hidden: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch tokens"]:
        """Return logits."""
        logits = F.linear(hidden, self.weight, self.bias)
        if self.scale != 1:
            logits = logits * self.scale
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap


def _log_softmax(logits: Float[Tensor, "*batch vocabulary"]) -> Float[Tensor, "*batch vocabulary"]:
    logits = logits.float()
    return logits - logits.logsumexp(-1, keepdim=True)


def _padding(config: PreTrainedConfig, last: int) -> int | None:
    """Return an id to pad with; not the prompt's last, as the last token that is another counts as the last one."""
    end = config.eos_token_id
    candidates = [config.pad_token_id, *(end if isinstance(end, list) else [end])]
    return next((token for token in candidates if token is not None and token >= 0 and token != last), None)


def _pushed_right(
    cache: DynamicCache, lengths: Int[Tensor, " batch"]
) -> tuple[DynamicCache, Bool[Tensor, "batch tokens"]]:
    """Return keys and values with the padding on the left, and a mask of them.

    What follows then stands next to the text, as sliding windows count places, padding included.
    """
    layers: list[Any] = cache.layers
    width = layers[0].keys.shape[2]
    places = torch.arange(width, device=lengths.device) - (width - lengths[:, None])
    index = (places % width)[:, None, :, None]
    past = DynamicCache()
    for number, layer in enumerate(layers):
        key, value = (part.gather(2, index.expand_as(part)) for part in (layer.keys, layer.values))
        past.update(key, value, number)
    return past, places >= 0
