"""Tokenize texts as premises: the hypothesis behind them counts as special, so that it is never scored or perturbed."""

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tokenizers import Encoding as Tokens
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from expnet.errors import InputError, ModelError
from expnet.text.zero_shot import ZeroShot

_SAMPLE = "text"  # stands for a premise where only what follows it matters


@dataclass(frozen=True, slots=True)
class Premise:
    """A premise's tokens and those of a hypothesis, named as an `Encoding` of the package tokenizers names them."""

    ids: list[int]
    type_ids: list[int]
    offsets: list[tuple[int, int]]
    sequence_ids: list[int | None]
    special_tokens_mask: list[int]


@dataclass(frozen=True, slots=True)
class Tail:
    """All that follows the premise: separators and the hypothesis of one label."""

    ids: list[int]
    type_ids: list[int]


class HypothesisTokenizer:
    """Encodes each text with the longest of the hypotheses; one of the others can take its place afterwards.

    Attributes:
        zero_shot: The labels and their template.
        tails: What follows the premise, for each label.
        longest: Number of the label whose tail is the longest: windows leave room for any of them.
    """

    def __init__(self, engine: Tokenizer, zero_shot: ZeroShot) -> None:
        """Take an engine without truncation or padding.

        Raises:
            InputError: If two hypotheses have the same tokens, or one has none.
        """
        self.zero_shot = zero_shot
        self._engine = engine
        self._hypotheses = zero_shot.hypotheses
        self.tails = [_tail(engine.encode(_SAMPLE, hypothesis)) for hypothesis in self._hypotheses]
        lengths = [len(tail.ids) for tail in self.tails]
        self.longest = lengths.index(max(lengths))
        if problem := next(self._problems(), None):
            raise InputError(problem)

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, zero_shot: ZeroShot) -> "HypothesisTokenizer":
        """Take a copy of a fast tokenizer's engine; see `TextTokenizer.of`.

        Raises:
            ModelError: If it is a slow one.
        """
        if not tokenizer.is_fast:
            raise ModelError(f"{type(tokenizer).__name__} is a slow tokenizer; zero-shot labels need a fast one.")
        engine = copy.deepcopy(tokenizer.backend_tokenizer)
        engine.no_truncation()
        engine.no_padding()
        return cls(engine, zero_shot)

    def encode_batch(
        self, texts: Sequence[str | tuple[str, str]], *, add_special_tokens: bool = True
    ) -> list[Premise] | list[Tokens]:
        """Tokenize premises with the longest hypothesis; without special tokens only the premises.

        Raises:
            InputError: If a text is a pair.
            ModelError: If what follows a premise depends on it.
        """
        premises = [text for text in texts if isinstance(text, str)]
        if len(premises) < len(texts):
            raise InputError("The text is a pair, but zero-shot labels ask about one text: the hypothesis is its pair.")
        if not add_special_tokens:
            return list(self._engine.encode_batch(premises, add_special_tokens=False))
        hypothesis = self._hypotheses[self.longest]
        return list(map(self._premise, self._engine.encode_batch([(premise, hypothesis) for premise in premises])))

    def to_str(self) -> str:
        """Return tokenizer and labels as JSON, for a hash."""
        return json.dumps([self._engine.to_str(), self.zero_shot.to_json()])

    def id_to_token(self, token: int) -> str | None:
        """Return a token by its id."""
        return self._engine.id_to_token(token)

    def _premise(self, tokens: Tokens) -> Premise:
        tail = self.tails[self.longest].ids
        if tokens.ids[len(tokens.ids) - len(tail) :] != tail:
            raise ModelError("The tokenizer tokenizes a hypothesis in another way behind another premise.")
        special = [int(part != 0) for part in tokens.sequence_ids]
        return Premise(
            ids=tokens.ids,
            type_ids=tokens.type_ids,
            offsets=[(0, 0) if flag else span for flag, span in zip(special, tokens.offsets, strict=True)],
            sequence_ids=[None if flag else 0 for flag in special],
            special_tokens_mask=special,
        )

    def _problems(self) -> Iterator[str]:
        empty = len(_tail(self._engine.encode(_SAMPLE, "")).ids)
        ids = [tail.ids for tail in self.tails]
        for number, label in enumerate(self.zero_shot.labels):
            if len(ids[number]) == empty:
                yield f"The hypothesis of {label!r} has no tokens."
            elif (first := ids.index(ids[number])) != number:
                yield f"The tokenizer cannot tell the labels {self.zero_shot.labels[first]!r} and {label!r} apart."


def _tail(tokens: Tokens) -> Tail:
    start = 1 + max(place for place, part in enumerate(tokens.sequence_ids) if part == 0)
    return Tail(tokens.ids[start:], tokens.type_ids[start:])
