"""Texts to batches of tokens that remember their characters."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from expnet.errors import InputError, ModelError, TextTooLongError
from expnet.texts import Text
from expnet.words import Pool, Span, words_of_tokens


@dataclass(frozen=True, slots=True)
class TextTokenizer:
    """A tokenizer's own engine, copied, so that nobody else's truncation or padding settings matter."""

    backend: Tokenizer
    pad: int
    typed: bool

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "TextTokenizer":
        """Copy the engine of a fast tokenizer.

        Raises:
            ModelError: If it is a slow one, which cannot say which characters a token covers.
        """
        if not tokenizer.is_fast:
            raise ModelError(
                f"{type(tokenizer).__name__} is a slow tokenizer, which cannot say which characters a token covers. "
                "Load or convert a fast one (a folder with tokenizer.json)."
            )
        backend = copy.deepcopy(tokenizer.backend_tokenizer)
        backend.no_truncation()
        backend.no_padding()
        return cls(backend, tokenizer.pad_token_id or 0, "token_type_ids" in tokenizer.model_input_names)


@dataclass(frozen=True, slots=True)
class Encoding:
    """A batch of windows on texts; a text that fits the model is one window.

    Padding stands on the right. `word_of` gives the word of each token, counted within its own text, and -1 for
    special tokens and padding. `token_of` counts the tokens of a text through all its windows, so that tokens in
    the overlap of two windows carry the same number; -1 likewise. `read` holds for each text how many characters
    of it and of its pair were read: all, unless truncation was asked for.
    """

    texts: tuple[Text, ...]
    text_of: Int[Tensor, " batch"]
    ids: Int[Tensor, "batch tokens"]
    mask: Bool[Tensor, "batch tokens"]
    special: Bool[Tensor, "batch tokens"]
    offsets: Int[Tensor, "batch tokens 2"]
    segment: Int[Tensor, "batch tokens"]
    word_of: Int[Tensor, "batch tokens"]
    token_of: Int[Tensor, "batch tokens"]
    type_ids: Int[Tensor, "batch tokens"] | None
    read: tuple[tuple[int, int], ...]

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
        tensors: dict[str, Any] = {
            name: None if value is None else value[start:stop, :width]
            for name in ("ids", "mask", "special", "offsets", "segment", "word_of", "token_of", "type_ids")
            for value in [getattr(self, name)]
        }
        return replace(self, text_of=self.text_of[start:stop], **tensors)

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
        truncate: Keep the first window only. Words beyond are then missing from `word_of`.

    Raises:
        InputError: If there is no text, the overlap leaves no room to move, the special tokens fill a whole window,
            or a blank text meets a tokenizer that adds no special tokens.
        TextTooLongError: If both parts of a pair are too long.
    """
    if not texts:
        raise InputError("Expected at least one text, got none.")
    text_of: list[int] = []
    windows: list[Tensor] = []
    read: list[tuple[int, int]] = []
    for index, (text, tokens) in enumerate(zip(texts, _tokenize(tokenizer, texts), strict=True)):
        if not tokens.ids:
            raise InputError(
                f"Text number {index} is blank and this tokenizer adds no special tokens, so that the model has "
                "nothing to read. Leave it out."
            )
        word_of = words_of_tokens(tokens.spans, text.words)
        table = _table(tokens, word_of)
        chosen = list(_windows(tokens, max_length, overlap, truncate))
        windows += [table[positions] for positions in chosen]
        text_of += [index] * len(chosen)
        read.append(_read(text, tokens, chosen[0] if truncate else None))
    return _pack(tuple(texts), text_of, windows, tokenizer, tuple(read))


def pool_words(
    scores: Float[Tensor, "batch tokens"], encoding: Encoding, *, pool: Pool = "max"
) -> list[Float[Tensor, " words"]]:
    """Combine token scores to word scores, text by text.

    A token in several windows first gets the mean of its scores. A word without a token that the model read
    scores 0.

    Args:
        scores: One score per token, in the method's own units; special tokens and padding do not count.
        encoding: Where the scores come from.
        pool: "max" takes a word's most important token; "sum" keeps the total, for methods that promise
            completeness.
    """
    counts = torch.tensor([len(text.words) for text in encoding.texts])
    starts = counts.cumsum(0) - counts
    on_word = encoding.word_of >= 0
    text_of = encoding.text_of[:, None].expand_as(on_word)[on_word]
    values, word_of = scores.float().cpu()[on_word], starts[text_of] + encoding.word_of[on_word]
    if len(encoding.text_of) > len(encoding.texts):
        values, word_of = _mean_over_windows(values, encoding.token_of[on_word], word_of)
    words = torch.zeros(int(counts.sum()))
    words = words.scatter_reduce(0, word_of, values, "amax" if pool == "max" else "sum", include_self=False)
    return list(words.split(counts.tolist()))


@dataclass(frozen=True, slots=True)
class _Tokens:
    """One text, tokenized whole: ids, spans (empty for special tokens), special flags, token type ids."""

    ids: list[int]
    spans: list[Span]
    special: list[bool]
    type_ids: list[int]


def _tokenize(tokenizer: TextTokenizer, texts: Sequence[Text]) -> list[_Tokens]:
    encoded = tokenizer.backend.encode_batch(
        [text.text if text.pair is None else (text.text, text.pair) for text in texts]
    )
    return [
        _Tokens(
            one.ids,
            [Span(start, end, part or 0) for (start, end), part in zip(one.offsets, one.sequence_ids, strict=True)],
            [bool(flag) for flag in one.special_tokens_mask],
            one.type_ids,
        )
        for one in encoded
    ]


def _windows(tokens: _Tokens, max_length: int, overlap: int | None, truncate: bool) -> Iterator[list[int]]:
    """Yield the positions of each window; special tokens are in all of them."""
    count = len(tokens.ids)
    if count <= max_length:
        yield list(range(count))
        return
    fixed = [at for at in range(count) if tokens.special[at]]
    parts = [
        [at for at in range(count) if not tokens.special[at] and tokens.spans[at].segment == segment]
        for segment in (0, 1)
    ]
    short, long = sorted(parts, key=len)
    budget = max_length - len(fixed)
    if budget < 1:
        raise InputError(
            f"A window of {max_length} tokens has no room beside {len(fixed)} special tokens; "
            f"it needs {len(fixed) + 1} at least."
        )
    if truncate:
        short = short[: budget // 2]
        yield sorted(fixed + short + long[: budget - len(short)])
        return
    room = budget - len(short)
    if short and room < max(1, max_length // 4):
        raise TextTooLongError(
            f"A pair of {len(parts[0])} and {len(parts[1])} tokens leaves no room for windows of {max_length}: the "
            f"shorter part must fit with at least {max(1, max_length // 4)} tokens to spare. Shorten it, or allow "
            "truncation."
        )
    shared = room // 4 if overlap is None else overlap
    if not 0 <= shared < room:
        raise InputError(f"Windows that move over {room} tokens can share 0 to {room - 1} of them, not {shared}.")
    for start in range(0, max(1, len(long) - shared), room - shared):
        # The last window is drawn back, so that it has as much context as the others.
        first = min(start, len(long) - room)
        yield sorted(fixed + short + long[first : first + room])


def _read(text: Text, tokens: _Tokens, kept: list[int] | None) -> tuple[int, int]:
    lengths = len(text.text), len(text.pair or "")
    if kept is None:
        return lengths
    shortened = {tokens.spans[at].segment for at in set(range(len(tokens.ids))).difference(kept)}
    ends = [0, 0]
    for span in (tokens.spans[at] for at in kept):
        ends[span.segment] = max(ends[span.segment], span.end)
    first, second = (ends[part] if part in shortened else lengths[part] for part in (0, 1))
    return first, second


def _table(tokens: _Tokens, word_of: Sequence[int]) -> Int[Tensor, "tokens fields"]:
    """Bring what is known of each token of a text into one table, so that a window is a choice of its rows."""
    fields = [
        tokens.ids,
        tokens.type_ids,
        tokens.special,
        [span.start for span in tokens.spans],
        [span.end for span in tokens.spans],
        [-1 if special else span.segment for special, span in zip(tokens.special, tokens.spans, strict=True)],
        word_of,
        [-1 if special else at for at, special in enumerate(tokens.special)],
    ]
    return torch.tensor(fields).T


def _pack(
    texts: tuple[Text, ...],
    text_of: Sequence[int],
    windows: list[Int[Tensor, "_ fields"]],
    tokenizer: TextTokenizer,
    read: tuple[tuple[int, int], ...],
) -> Encoding:
    padded = pad_sequence(windows, batch_first=True)
    lengths = torch.tensor([len(window) for window in windows])
    mask = torch.arange(padded.shape[1]) < lengths[:, None]
    ids, type_ids, special, start, end, segment, word_of, token_of = padded.unbind(-1)
    return Encoding(
        texts=texts,
        text_of=torch.tensor(text_of),
        ids=ids.masked_fill(~mask, tokenizer.pad),
        mask=mask,
        special=special.bool(),
        offsets=torch.stack([start, end], dim=-1),
        segment=segment.masked_fill(~mask, -1),
        word_of=word_of.masked_fill(~mask, -1),
        token_of=token_of.masked_fill(~mask, -1),
        type_ids=type_ids if tokenizer.typed else None,
        read=read,
    )


def _mean_over_windows(values: Tensor, token_of: Tensor, word_of: Tensor) -> tuple[Tensor, Tensor]:
    """Average what several windows say about one token; return values and words without repetition."""
    keys = torch.stack([token_of, word_of])  # words are counted through all texts, and so tell the texts apart
    unique, place = keys.unique(dim=1, return_inverse=True)
    if unique.shape[1] == keys.shape[1]:
        return values, word_of
    empty = torch.zeros(unique.shape[1], device=values.device)
    return empty.scatter_reduce(0, place, values, "mean", include_self=False), unique[1]
