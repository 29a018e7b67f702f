"""Words are spans of characters on the text; tokens map to them by overlap."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

import numpy as np
from numpy import ndarray

Pool = Literal["max", "sum"]

# Word boundaries (UAX #29) over letters that say what kind each character is (scripts/word_kinds.py). Both are ours, so
# that words do not change with a dependency's release. "can't" and "3.14" stay whole, combining marks and emoji
# sequences too, while hyphens separate and every Han character stands alone. Repeats never give back (*+, and (?> )
# around what is longer: Python before 3.11.5 gets the possessive repeat of a group wrong, CPython's issue 106052):
# whatever extends a character (WB4) is passed over whole.
_EXTENDED = "[EZ]*+"
_HEBREW, _UNDERSCORE = f"H{_EXTENDED}", f"(?:U{_EXTENDED})"
_LETTERS = rf"""(?>(?:
    {_HEBREW} O {_EXTENDED} (?=H)                                               # WB7b, WB7c
      | (?! {_HEBREW} S {_EXTENDED} (?![AHQ]) ) [AHQ] {_EXTENDED} (?>(?: [LMS] {_EXTENDED} (?=[AHQ]) )?)   # WB5-7
      | D {_EXTENDED} (?>(?: [NMS] {_EXTENDED} (?=D) )?)                        # WB8-12
)+)"""
_KATAKANA = f"(?>(?: K {_EXTENDED} )+)"
_PART = rf"""(?:
    (?=[AHQDKU]) (?>{_UNDERSCORE}*) (?>(?: (?: {_LETTERS} | {_KATAKANA} ) (?>{_UNDERSCORE}+) )*)      # WB13a, WB13b
        (?>(?: {_LETTERS} (?: {_HEBREW} S {_EXTENDED} )? | {_HEBREW} S {_EXTENDED} | {_KATAKANA} )?)    # WB7a, WB13
  | W++ {_EXTENDED}                                                             # WB3d
  | R {_EXTENDED} (?>(?: R {_EXTENDED} )?)                                      # WB15, WB16
  | . {_EXTENDED}
)"""
_PIECE = re.compile(
    f"A++ (?=[WX]) | CF | [CFB] | {_PART} (?>(?: (?<=Z) (?=[PQ]) {_PART} )*)".encode(),  # WB3, WB3a, WB3b; WB3c
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


class Span(NamedTuple):
    """Characters `start` to `end` (exclusive) of the text (`segment` 0) or of its pair (1)."""

    start: int
    end: int
    segment: int = 0


def split_words(text: str, segment: int = 0) -> tuple[Span, ...]:
    """Split a text at Unicode word boundaries (UAX #29).

    Punctuation marks are words of their own. White space, control and zero-width characters form no words, so a blank
    text has none. Scripts without spaces that need a dictionary (Thai, Khmer) are split into letters: pass pre-split
    words for them.
    """
    kinds = _kinds()[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)].tobytes()
    spans, start = [], 0
    for piece in _PIECE.findall(kinds):  # the pieces cover the whole text
        end = start + len(piece)
        if not piece.islower():  # some of it is visible
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


def words_of_tokens(tokens: Sequence[Span], words: Sequence[Span], special: Sequence[bool]) -> list[tuple[int, int]]:
    """Return for each token the first word that it covers and the one after the last; (0, 0) where it covers none.

    A token covers each word that it shares a character with. An empty one covers the word that it is in, or next to if
    no other token covers that word: some tokenizers report the letter after an added token as empty. Special tokens
    cover none.

    Args:
        tokens: In text order within each segment.
        words: Those of the text, then those of its pair, in text order and without overlap.
        special: For each token whether it is special, and so stands for no text.
    """
    second = next((index for index, word in enumerate(words) if word.segment), len(words))
    parts = [(0, words[:second]), (second, words[second:])]
    edges = [(base, [word.start for word in part], [word.end for word in part]) for base, part in parts]
    covered, empty = [(0, 0)] * len(tokens), list[int]()
    for at, (start, end, segment) in enumerate(tokens):
        if not special[at]:
            base, starts, ends = edges[segment]
            first = bisect_right(ends, start)
            stop = bisect_left(starts, end, first)
            if stop > first:  # also where an empty token stands inside of a word
                covered[at] = (base + first, base + stop)
            elif start == end:
                empty.append(at)
    taken = {word for span in covered for word in range(*span)} if empty else set[int]()
    for at in empty:
        start, _, segment = tokens[at]
        for word in _touching(start, *edges[segment]):
            if word not in taken:
                covered[at] = (word, word + 1)
                break
    return covered


def _touching(place: int, base: int, starts: Sequence[int], ends: Sequence[int]) -> Iterator[int]:
    """Yield the word that ends at a place, and the word that begins there, as far as there are any."""
    for edges in (ends, starts):
        at = bisect_left(edges, place)
        if at < len(edges) and edges[at] == place:
            yield base + at


@cache
def _kinds() -> ndarray:
    """Return a letter for every code point: its kind, in lower case where the character is invisible."""
    table = files("expnet.text").joinpath("word_kinds.txt").read_text("ascii").replace("\n", "")
    runs = re.findall(r"(\d*)(\D)", table)
    letters = np.frombuffer("".join(kind for _, kind in runs).encode(), np.uint8)
    return letters.repeat([int(length or 1) for length, _ in runs])
