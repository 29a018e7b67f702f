"""Tokenize texts inside of a prompt: its tokens count as special, so that they are in every window and never scored."""

import copy
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from expnet.errors import InputError, ModelError
from expnet.text.prompts import FIELD, FIELDS, Prompt

_SAMPLE = "text"  # stands for a text where only what follows it matters


@dataclass(slots=True)
class PromptedText:
    """A text's tokens inside of the prompt, named as an `Encoding` of the package tokenizers names them."""

    ids: list[int] = field(default_factory=list)
    offsets: list[tuple[int, int]] = field(default_factory=list)
    sequence_ids: list[int | None] = field(default_factory=list)
    special_tokens_mask: list[int] = field(default_factory=list)

    @property
    def type_ids(self) -> list[int]:
        """Zeros: language models read none."""
        return [0] * len(self.ids)

    def add(self, token: int, part: int | None = None, span: tuple[int, int] = (0, 0)) -> None:
        """Append a token of the prompt, or one of a part of the text with its characters there."""
        self.ids.append(token)
        self.offsets.append(span)
        self.sequence_ids.append(part)
        self.special_tokens_mask.append(int(part is None))


@dataclass(frozen=True, slots=True)
class _Stretch:
    """What stands between two special tokens of the prompt: fields, and the literal text before, between and after."""

    engine: Tokenizer
    literals: list[str]
    parts: list[int]

    def rendered(self, texts: Sequence[str]) -> tuple[str, list[tuple[int, int, int]]]:
        """Return the stretch with its fields filled, and for each the part of the text, its start and its end."""
        content, places = self.literals[0], []
        for part, literal in zip(self.parts, self.literals[1:], strict=True):
            places.append((part, len(content), len(content) + len(texts[part])))
            content += texts[part] + literal
        return content, places

    def ending(self) -> str:
        """Return what the prompt's last stretch ends with."""
        return self.rendered([_SAMPLE] * len(FIELDS))[0]


class PromptTokenizer:
    """Encodes texts as the tokenizer encodes the whole prompt with the text in it.

    A stretch of the prompt between special tokens is tokenized together with the text in it. A token that holds
    characters of both belongs to the text. Texts are plain: what looks like a special token or a field in them is not
    one.
    """

    def __init__(self, prompt: Prompt, rendered: str, engine: Tokenizer, before: Sequence[int]) -> None:
        """Take a prompt apart.

        Args:
            prompt: The prompt.
            rendered: Its text, with the fields, and in a chat template if that is asked for.
            engine: The tokenizer's engine, without truncation or padding. It is changed.
            before: Ids that the tokenizer puts before every text.
        """
        self.prompt = prompt
        self._engine = engine
        self._pieces: list[int | _Stretch] = [*before]
        pieces = list(_taken_apart(rendered, engine))
        engine.encode_special_tokens = True  # from now on these are plain text, as they are in texts
        later = _without_prefix(engine)
        for place, piece in enumerate(pieces):
            if isinstance(piece, int):
                self._pieces.append(piece)
            elif piece:
                literals, names = FIELD.split(piece)[::2], FIELD.findall(piece)
                parts = [FIELDS.index(name) for name in names]
                self._pieces.append(_Stretch(later if place else engine, literals, parts))
        self._end = self._pieces[-1] if isinstance(self._pieces[-1], _Stretch) else _Stretch(later, [""], [])

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> "PromptTokenizer":
        """Take a copy of a fast tokenizer's engine; see `TextTokenizer.of`.

        Raises:
            ModelError: If it is a slow one, or a chat is asked for and its template is missing or fails.
        """
        if not tokenizer.is_fast:
            raise ModelError(f"{type(tokenizer).__name__} is a slow tokenizer; a prompt needs a fast one.")
        engine = copy.deepcopy(tokenizer.backend_tokenizer)
        engine.no_truncation()
        engine.no_padding()
        if prompt.chat:
            return cls(prompt, _chat(tokenizer, prompt), engine, [])
        example = engine.encode(_SAMPLE)
        kept = example.special_tokens_mask.index(0) if 0 in example.special_tokens_mask else 0
        return cls(prompt, prompt.template, engine, example.ids[:kept])

    def encode_batch(
        self, texts: Sequence[str | tuple[str, str]], *, add_special_tokens: bool = True
    ) -> list[PromptedText]:
        """Tokenize texts in the prompt; without special tokens only what stands for the texts is kept.

        Raises:
            InputError: If a text has a pair and the prompt no place for it, or the other way round.
        """
        parts = [self._parts(text, strict=add_special_tokens) for text in texts]
        encoded = [PromptedText() for _ in parts]
        for piece in self._pieces:
            if isinstance(piece, _Stretch):
                self._fill(piece, parts, encoded, whole=add_special_tokens)
            elif add_special_tokens:
                for one in encoded:
                    one.add(piece)
        return encoded

    def label_tokens(self) -> list[list[int]]:
        """Return the tokens by which each label's word continues the prompt.

        Raises:
            InputError: If a word merges with the end of the prompt, is unknown to the tokenizer, or has the tokens of
                another.
        """
        ending, tokens = self._end.ending(), list[list[int]]()
        start = self._plain(ending)
        for label, word in self.prompt.labels.items():
            whole = self._plain(ending + word)
            rest = whole[len(start) :]
            if whole[: len(start)] != start or not rest:
                raise InputError(
                    f"The word {word!r} of the label {label!r} merges with the end of the prompt, {ending[-20:]!r}: "
                    "let the space before it belong to the word, not to the template."
                )
            if rest in tokens:
                raise InputError(f"The words of two labels have the same tokens, {label!r} those of an earlier one.")
            if (unknown := self._engine.token_to_id(getattr(self._engine.model, "unk_token", None) or "")) in rest:
                raise InputError(f"The tokenizer does not know the word {word!r} of {label!r} (token {unknown}).")
            tokens.append(rest)
        return tokens

    def example(self) -> list[int]:
        """Return the tokens of the prompt with a short text in it."""
        text = "A short text."
        return self.encode_batch([(text, text) if self.prompt.pairs else text])[0].ids

    def to_str(self) -> str:
        """Return tokenizer and prompt as JSON, for a hash."""
        return json.dumps([self._engine.to_str(), [p if isinstance(p, int) else p.literals for p in self._pieces]])

    def id_to_token(self, token: int) -> str | None:
        """Return a token by its id."""
        return self._engine.id_to_token(token)

    def _plain(self, content: str) -> list[int]:
        return self._end.engine.encode(content, add_special_tokens=False).ids

    def _parts(self, text: str | tuple[str, str], *, strict: bool) -> tuple[str, str]:
        single = isinstance(text, str)
        if strict and single == self.prompt.pairs:
            raise InputError(
                "The prompt has the field {pair}, but the text is not a pair: give its second part."
                if single
                else "The text is a pair, but the prompt has no field {pair}, where its second part goes."
            )
        return (text, "") if isinstance(text, str) else text

    def _fill(
        self, stretch: _Stretch, parts: Sequence[tuple[str, str]], into: list[PromptedText], *, whole: bool
    ) -> None:
        filled = [stretch.rendered(texts) for texts in parts]
        encoded = stretch.engine.encode_batch([content for content, _ in filled], add_special_tokens=False)
        for one, tokens, (_, places) in zip(into, encoded, filled, strict=True):
            for token, span in zip(tokens.ids, tokens.offsets, strict=True):
                place = _place(span, places)
                if place is not None or whole:
                    one.add(token, *(place or ()))


def _place(span: tuple[int, int], places: Sequence[tuple[int, int, int]]) -> tuple[int, tuple[int, int]] | None:
    """Return the part that a token stands for most of, and its characters there; None if it is of the prompt only."""
    best, most = None, 0
    for part, start, end in places:
        first, last = max(span[0], start), min(span[1], end)
        # A token without characters belongs to what it stands in.
        shared = max(last - first, int(span[0] == span[1] and start <= span[0] < end))
        if shared > most:
            best, most = (part, (first - start, max(first, last) - start)), shared
    return best


def _chat(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> str:
    try:
        rendered = tokenizer.apply_chat_template(prompt.messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # templates are programs, and may raise anything
        raise ModelError(f"The tokenizer's chat template is missing or fails: {error}") from error
    if not isinstance(rendered, str) or sorted(FIELD.findall(rendered)) != sorted(
        name for message in prompt.messages for name in FIELD.findall(message["content"])
    ):
        raise ModelError("The tokenizer's chat template does not show each field of the prompt once: write it out.")
    return rendered


def _taken_apart(rendered: str, engine: Tokenizer) -> Iterator[int | str]:
    """Yield the ids of special tokens, each with the space around it that it takes along, and the text between them."""
    special = sorted(
        ((token, number) for number, token in engine.get_added_tokens_decoder().items() if token.special),
        key=lambda pair: -len(pair[0].content),
    )
    space = r"\s*"
    patterns = [f"{space * token.lstrip}({re.escape(token.content)}){space * token.rstrip}" for token, _ in special]
    end = 0
    for match in re.finditer("|".join(patterns), rendered) if patterns else ():
        yield rendered[end : match.start()]
        yield special[(match.lastindex or 1) - 1][1]
        end = match.end()
    yield rendered[end:]


def _without_prefix(engine: Tokenizer) -> Tokenizer:
    """Return an engine for what follows a special token, before which some tokenizers put no space."""
    data = json.loads(engine.to_str())
    first = [
        step
        for step in _steps(data.get("pre_tokenizer"))
        if (step.get("type"), step.get("prepend_scheme")) == ("Metaspace", "first")
    ]
    if not first:
        return engine
    for step in first:
        step["prepend_scheme"] = "never"
    later = Tokenizer.from_str(json.dumps(data))
    later.encode_special_tokens = True
    return later


def _steps(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _steps(child)
