"""Words are spans of characters on the text; tokens map to them by overlap."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import regex

Pool = Literal["max", "sum"]

# UAX #29 word boundaries: "can't" and "3.14" stay whole, combining marks and emoji sequences too,
# while hyphens separate and every Han character stands alone.
# In a run of flags \b alone would count them from the first again and again; hence the first branch.
_PIECE = regex.compile(r"(?sw)\p{Regional_Indicator}{2}(?=\p{Regional_Indicator})|.+?\b")
_VISIBLE = regex.compile(r"[^\p{White_Space}\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]")


class Span(NamedTuple):
    """Characters `start` to `end` (exclusive) of the text (`segment` 0) or of its pair (1)."""

    start: int
    end: int
    segment: int = 0


def split_words(text: str, segment: int = 0) -> tuple[Span, ...]:
    """Split a text at Unicode word boundaries (UAX #29).

    Punctuation marks are words of their own. White space, control and zero-width characters belong to no
    word of their own, so a blank text has no words. Scripts without spaces that need a dictionary (Thai,
    Khmer) fall apart into letters: give pre-split words for them.
    """
    spans, start = [], 0
    for piece in _PIECE.findall(text):  # they leave nothing out
        end = start + len(piece)
        if (piece.isascii() and piece.isalnum()) or _VISIBLE.search(piece):  # the first is quicker
            spans.append(Span(start, end, segment))
        start = end
    return tuple(spans)


def join_words(words: Sequence[str], segment: int = 0) -> tuple[str, tuple[Span, ...]]:
    """Join pre-split words by single spaces and return the text with each word's span."""
    spans, start = [], 0
    for word in words:
        spans.append(Span(start, start + len(word), segment))
        start += len(word) + 1
    return " ".join(words), tuple(spans)


def words_of_tokens(tokens: Sequence[Span], words: Sequence[Span]) -> list[int]:
    """Return for each token the index of the word it overlaps most, or -1 where it overlaps none.

    Both sequences must be in text order within each segment, words without overlap. A token on several
    words goes to the one it shares most characters with, the first of equals.
    """
    by_segment: dict[int, list[int]] = {}
    for index, word in enumerate(words):
        by_segment.setdefault(word.segment, []).append(index)
    cursor = dict.fromkeys(by_segment, 0)
    word_of = []
    for token in tokens:
        indices = by_segment.get(token.segment, [])
        at = cursor.get(token.segment, 0)
        # Special tokens have no characters, stand at 0 and send the cursor back.
        while at > 0 and words[indices[at - 1]].end > token.start:
            at -= 1
        while at < len(indices) and words[indices[at]].end <= token.start:
            at += 1
        cursor[token.segment] = at
        best, shared = -1, 0
        while at < len(indices) and words[indices[at]].start < token.end:
            word = words[indices[at]]
            here = min(token.end, word.end) - max(token.start, word.start)
            if here > shared:
                best, shared = indices[at], here
            at += 1
        word_of.append(best)
    return word_of
