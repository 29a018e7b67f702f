"""Texts to batches of tokens that remember their characters."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from expnet.errors import InputError, ModelError
from expnet.text.hypotheses import HypothesisTokenizer
from expnet.text.prompted import PromptTokenizer
from expnet.text.texts import Text
from expnet.text.windows import TokenizedText, read_texts
from expnet.text.words import Pool


@dataclass(frozen=True, slots=True)
class TextTokenizer:
    """A copy of a tokenizer's engine, unaffected by the truncation and padding that others set on the original.

    Attributes:
        backend: The engine.
        pad: Id that the model treats as padding; without one, only windows of equal length can share a batch.
        typed: Whether the model reads token type ids.
        vocabulary: Rows in the model's table of embeddings; None where that is unknown.
        end: Id of the end of a text, if the model only reads windows together that hold it equally often.
    """

    backend: Tokenizer | PromptTokenizer | HypothesisTokenizer
    pad: int | None
    typed: bool
    vocabulary: int | None = None
    end: int | None = None

    @classmethod
    def of(
        cls, tokenizer: PreTrainedTokenizerBase, prompt: PromptTokenizer | HypothesisTokenizer | None = None
    ) -> "TextTokenizer":
        """Copy the engine of a fast tokenizer, or take the one that puts texts into a prompt or before a hypothesis.

        Raises:
            ModelError: If it is a slow one, which cannot say which characters a token covers.
        """
        if not tokenizer.is_fast:
            raise ModelError(
                f"{type(tokenizer).__name__} is a slow tokenizer, which cannot say which characters a token covers. "
                "Load or convert a fast one (a folder with tokenizer.json)."
            )
        if isinstance(prompt, PromptTokenizer):
            return cls(prompt, tokenizer.pad_token_id, typed=False)
        typed = "token_type_ids" in tokenizer.model_input_names
        if prompt is not None:
            return cls(prompt, tokenizer.pad_token_id, typed)
        backend = copy.deepcopy(tokenizer.backend_tokenizer)
        backend.no_truncation()
        backend.no_padding()
        return cls(backend, tokenizer.pad_token_id, typed)


@dataclass(frozen=True, slots=True)
class Encoding:
    """A batch of windows on texts; a text that fits the model is one window.

    Padding is on the right. `covers` gives the first word that each token covers and the one after the last,
    counted within its own text; both are 0 where it covers none, as special tokens and padding do. `token_of` counts
    the tokens of a text through all its windows, so that tokens in the overlap of two windows carry the same number;
    -1 for special tokens and padding. `read` holds for each text how many characters of it and of its pair were read:
    all, unless truncation was asked for. `pad` is the id that the model treats as padding; None if it has none, so that
    only windows of equal length can share a batch. `end` is the id, if there is one, that windows must hold equally
    often to share a batch. `asked` is the label whose hypothesis each window holds, where a zero-shot classifier is
    asked about one (`Classifier.about`).
    """

    texts: tuple[Text, ...]
    text_of: Int[Tensor, " batch"]
    ids: Int[Tensor, "batch tokens"]
    mask: Bool[Tensor, "batch tokens"]
    special: Bool[Tensor, "batch tokens"]
    offsets: Int[Tensor, "batch tokens 2"]
    segment: Int[Tensor, "batch tokens"]
    covers: Int[Tensor, "batch tokens 2"]
    token_of: Int[Tensor, "batch tokens"]
    type_ids: Int[Tensor, "batch tokens"] | None
    read: tuple[tuple[int, int], ...]
    pad: int | None = 0
    end: int | None = None
    asked: Int[Tensor, " batch"] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def real(self) -> Bool[Tensor, "batch tokens"]:
        """True where a token stands for characters of the text: neither special nor padding."""
        return self.mask & ~self.special

    def windows(self) -> list[int]:
        """Return the number of windows of each text."""
        return torch.bincount(self.text_of, minlength=len(self.texts)).tolist()

    def rows(self, start: int, stop: int, width: int) -> "Encoding":
        """Return some windows, cut to the first `width` tokens; the texts stay."""
        if (start, stop, width) == (0, *self.ids.shape):
            return self
        tensors: dict[str, Any] = {
            name: None if value is None else value[start:stop, :width]
            for name in ("ids", "mask", "special", "offsets", "segment", "covers", "token_of", "type_ids")
            for value in [getattr(self, name)]
        }
        asked = None if self.asked is None else self.asked[start:stop]
        return replace(self, text_of=self.text_of[start:stop], asked=asked, **tensors)

    def inputs(self, device: torch.device | str = "cpu") -> dict[str, Tensor]:
        """Return the model's keyword arguments."""
        named = {"input_ids": self.ids, "attention_mask": self.mask.long()}
        if self.type_ids is not None:
            named["token_type_ids"] = self.type_ids
        return {name: tensor.to(device) for name, tensor in named.items()}


def encode(
    tokenizer: TextTokenizer,
    texts: Sequence[Text],
    *,
    max_length: int,
    overlap: int | None = None,
    truncate: bool = False,
) -> Encoding:
    """Tokenize texts; what exceeds the limit is read in overlapping windows.

    Args:
        tokenizer: Made by `TextTokenizer.of`.
        texts: At least one text. A blank one becomes special tokens only.
        max_length: Most tokens in a window, special tokens included.
        overlap: Tokens that neighbouring windows share; a quarter of a window by default. Of a pair only the
            longer part moves, the other stays whole in every window.
        truncate: Keep the first window only. No token covers the words beyond.

    Raises:
        InputError: If there is no text, the overlap leaves no room to move, the special tokens fill a whole window,
            a blank text meets a tokenizer that adds no special tokens, or a token is not in the model's table.
        TextTooLongError: If both parts of a pair are too long.
    """
    readings = read_texts(tokenizer.backend, texts, max_length=max_length, overlap=overlap, truncate=truncate)
    return pack(tokenizer, texts, list(readings))


def pack(tokenizer: TextTokenizer, texts: Sequence[Text], readings: Sequence[TokenizedText]) -> Encoding:
    """Join texts, tokenized by `read_texts`, into one batch, padded on the right.

    Raises:
        InputError: If a token has no row in the model's table of embeddings.
    """
    windows = [(index, positions) for index, reading in enumerate(readings) for positions in reading.windows]
    lengths = np.array([len(positions) for _, positions in windows])
    # With numpy: on a single text, each operation of torch takes longer than the work that it does.
    filled = np.zeros((len(readings[0].fields), len(windows), lengths.max()), np.int64)
    tables = [np.array(reading.fields) for reading in readings]
    for row, (index, positions) in enumerate(windows):
        filled[:, row, : len(positions)] = tables[index][:, positions]
    encoding = _padded(tuple(texts), filled, lengths, [index for index, _ in windows], tokenizer, readings)
    _check_ids(encoding, tokenizer)
    return encoding


def pool_words(
    scores: Float[Tensor, "batch tokens"], encoding: Encoding, *, pool: Pool = "max"
) -> list[Float[Tensor, " words"]]:
    """Combine token scores to word scores, text by text.

    A token in several windows first gets the mean of its scores. A word without a token that the model read
    scores 0.

    Args:
        scores: One score per token, in the method's own units; special tokens and padding do not count.
        encoding: Where the scores come from.
        pool: "max" takes a word's most important token, and each word that a token covers gets its score; "sum" keeps
            the total, for methods that promise completeness, and the words that a token covers share its score by
            their characters in it.
    """
    counts = [len(text.words) for text in encoding.texts]
    starts = torch.tensor([0, *accumulate(counts)])
    row, token, word = overlaps(encoding.covers)
    values, word_of = scores.float().cpu()[row, token], starts[encoding.text_of[row]] + word
    if pool == "sum":
        values = values * shares(encoding, row, token, word)
    if len(encoding.text_of) > len(encoding.texts):
        values, word_of = _mean_over_windows(values, encoding.token_of[row, token], word_of)
    words = torch.zeros(sum(counts))
    words = words.scatter_reduce(0, word_of, values, "amax" if pool == "max" else "sum", include_self=False)
    return list(words.split(counts))


def overlaps(covers: Int[Tensor, "*rows 2"]) -> tuple[Int[Tensor, " pairs"], ...]:
    """Return every pair of a token and a word that it covers: the token's place along each axis, and the word."""
    first, stop = covers.unbind(-1)
    numbers = stop - first
    places = numbers.nonzero(as_tuple=True)
    numbers, word = numbers[places], first[places]
    total = int(numbers.sum())
    if total == len(numbers):  # one word a token, in most texts
        return *places, word
    within = torch.arange(total) - (numbers.cumsum(0) - numbers).repeat_interleave(numbers)
    return *(place.repeat_interleave(numbers) for place in places), word.repeat_interleave(numbers) + within


def shares(
    encoding: Encoding, row: Int[Tensor, " pairs"], token: Int[Tensor, " pairs"], word: Int[Tensor, " pairs"]
) -> Float[Tensor, " pairs"]:
    """Return, for each of the `overlaps`, the share of the token's characters that this word has; sums to 1 a token."""
    longest = max(len(text.words) for text in encoding.texts)
    spans = torch.zeros(len(encoding.texts), longest, 2, dtype=torch.long)
    for row_of_spans, text in zip(spans, encoding.texts, strict=True):
        if text.words:
            row_of_spans[: len(text.words)] = torch.tensor([(start, end) for start, end, _ in text.words])
    start, end = spans[encoding.text_of[row], word].unbind(-1)
    first, last = encoding.offsets[row, token].unbind(-1)
    # A token without characters covers one word.
    shared = (torch.minimum(end, last) - torch.maximum(start, first)).clamp(min=1).float()
    place = row * encoding.ids.shape[1] + token
    return shared / torch.zeros(encoding.ids.numel()).scatter_add_(0, place, shared)[place]


def _padded(
    texts: tuple[Text, ...],
    fields: ndarray,
    lengths: ndarray,
    text_of: list[int],
    tokenizer: TextTokenizer,
    readings: Sequence[TokenizedText],
) -> Encoding:
    mask = np.arange(fields.shape[2]) < lengths[:, None]
    ids, type_ids, special, start, end, segment, first, stop, token_of = fields
    for values, padding in ((ids, tokenizer.pad or 0), (segment, -1), (token_of, -1)):
        values[~mask] = padding
    return Encoding(
        texts=texts,
        text_of=torch.tensor(text_of),
        ids=torch.from_numpy(ids),
        mask=torch.from_numpy(mask),
        special=torch.from_numpy(special.astype(bool)),
        offsets=torch.from_numpy(np.stack([start, end], -1)),
        segment=torch.from_numpy(segment),
        covers=torch.from_numpy(np.stack([first, stop], -1)),
        token_of=torch.from_numpy(token_of),
        type_ids=torch.from_numpy(type_ids) if tokenizer.typed else None,
        read=tuple(reading.read for reading in readings),
        pad=tokenizer.pad,
        end=tokenizer.end,
    )


def _check_ids(encoding: Encoding, tokenizer: TextTokenizer) -> None:
    if tokenizer.vocabulary is None or int(encoding.ids.max()) < tokenizer.vocabulary:
        return
    beyond = encoding.mask & (encoding.ids >= tokenizer.vocabulary)
    if not beyond.any():  # nothing reads padding
        return
    row, place = beyond.nonzero()[0].tolist()
    token = int(encoding.ids[row, place])
    text = encoding.texts[int(encoding.text_of[row])].text
    raise InputError(
        f"The text {text[:60]!r} holds the token {tokenizer.backend.id_to_token(token)!r} with the id {token}, but the "
        f"model has embeddings for {tokenizer.vocabulary} ids, from 0 on. The tokenizer belongs to another model, or "
        "was extended without model.resize_token_embeddings and training."
    )


def _mean_over_windows(values: Tensor, token_of: Tensor, word_of: Tensor) -> tuple[Tensor, Tensor]:
    """Average the values of a token over its windows; return values and words without repetition."""
    keys = torch.stack([token_of, word_of])  # words are counted through all texts, and so tell the texts apart
    unique, place = keys.unique(dim=1, return_inverse=True)
    if unique.shape[1] == keys.shape[1]:
        return values, word_of
    empty = torch.zeros(unique.shape[1], device=values.device)
    return empty.scatter_reduce(0, place, values, "mean", include_self=False), unique[1]
