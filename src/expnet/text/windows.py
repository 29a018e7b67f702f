"""Tokenize texts, and cut tokens into windows that a model can read; plain Python, without torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from expnet.errors import InputError, ModelError, TextTooLongError
from expnet.text.texts import Text
from expnet.text.words import Span, words_of_tokens

if TYPE_CHECKING:
    from expnet.text.hypotheses import HypothesisTokenizer
    from expnet.text.prompted import PromptTokenizer

# Most texts, and characters, that are tokenized together: enough to find texts of similar length among them, few enough
# that their tokens take little memory.
_TEXTS, _CHARACTERS = 512, 1_000_000


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """One text, tokenized as a whole, and its windows.

    Attributes:
        fields: For each token, as lists of one length: id, type id, special, start and end of its characters, segment
            (-1 where special), the first word it covers and the one after the last (both 0 where it covers none), its
            number in the text (-1 where special).
        windows: Positions of the tokens of each window; special tokens are in all of them.
        read: How many characters of the text and of its pair were read.
    """

    fields: tuple[list[int], ...]
    windows: list[list[int]]
    read: tuple[int, int]

    @property
    def length(self) -> int:
        """Tokens in all windows."""
        return sum(map(len, self.windows))


def read_texts(
    tokenizer: "Tokenizer | PromptTokenizer | HypothesisTokenizer",
    texts: Sequence[Text],
    *,
    max_length: int,
    overlap: int | None = None,
    truncate: bool = False,
) -> Iterator[TokenizedText]:
    """Tokenize texts; the arguments and errors are those of `expnet.text.encoding.encode`.

    The tokenizer must neither pad nor truncate.
    """
    if not texts:
        raise InputError("Expected at least one text, got none.")
    for index, (text, tokens) in enumerate(zip(texts, _tokenize(tokenizer, texts), strict=True)):
        if not tokens.ids:
            raise InputError(
                f"Text number {index} is blank and this tokenizer adds no special tokens, so that the model has "
                "nothing to read. Leave it out."
            )
        covered = words_of_tokens(tokens.spans, text.words, tokens.special)
        chosen = list(_windows(tokens, max_length, overlap, truncate))
        yield TokenizedText(_fields(tokens, covered), chosen, _read(text, tokens, chosen[0] if truncate else None))


def in_chunks(texts: Sequence[Text], most: int = _TEXTS) -> Iterator[list[int]]:
    """Yield the indices of texts that are tokenized together, shortest first.

    Args:
        texts: In any order.
        most: Most texts in a chunk; fewer where they have more than a million characters.
    """
    sizes = [text.characters for text in texts]
    chunk, characters = list[int](), 0
    for index in sorted(range(len(texts)), key=sizes.__getitem__):
        if chunk and (len(chunk) == most or characters + sizes[index] > _CHARACTERS):
            yield chunk
            chunk, characters = [], 0
        chunk.append(index)
        characters += sizes[index]
    if chunk:
        yield chunk


def by_budget(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Yield the indices of items that share a batch, shortest first, so that there is little padding.

    Args:
        lengths: Tokens of each item.
        budget: Most tokens in a batch, padding included; a longer item gets a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and lengths[order[stop]] * (stop + 1 - start) <= budget:
            stop += 1
        yield order[start:stop]
        start = stop


@dataclass(frozen=True, slots=True)
class _Tokens:
    """One text, tokenized whole: ids, spans (empty for special tokens), special flags, token type ids."""

    ids: list[int]
    spans: list[Span]
    special: list[bool]
    type_ids: list[int]


def _tokenize(tokenizer: "Tokenizer | PromptTokenizer | HypothesisTokenizer", texts: Sequence[Text]) -> list[_Tokens]:
    try:
        encoded = tokenizer.encode_batch([text.text if text.pair is None else (text.text, text.pair) for text in texts])
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # from Rust: not an Exception, so that it would end the process
            raise ModelError(f"The tokenizer fails on a text: {error}") from error
        raise
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
        # The last window starts earlier, so that it has as much context as the others.
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


def _fields(tokens: _Tokens, covered: list[tuple[int, int]]) -> tuple[list[int], ...]:
    return (
        tokens.ids,
        tokens.type_ids,
        [int(special) for special in tokens.special],
        [span.start for span in tokens.spans],
        [span.end for span in tokens.spans],
        [-1 if special else span.segment for special, span in zip(tokens.special, tokens.spans, strict=True)],
        [first for first, _ in covered],
        [stop for _, stop in covered],
        [-1 if special else at for at, special in enumerate(tokens.special)],
    )
