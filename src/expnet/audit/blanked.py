"""Explanations without their texts: a dot for each character of a word, at its place."""

from collections.abc import Sequence
from dataclasses import replace

from expnet.explanation.result import Explanation, Word

_BLANK = "\u00b7"  # stands for a character of a word that the record does not hold


def blanked(explanation: Explanation, lengths: Sequence[int]) -> Explanation:
    """Put dots for the characters of words and blanks for all others.

    Args:
        explanation: With or without its texts; of its words only the places are read.
        lengths: Characters of the text, and of the second text if there is one.
    """
    texts = [
        _dotted([word for word in explanation.words if word.segment == segment], characters)
        for segment, characters in enumerate(lengths)
    ]
    words = tuple(replace(word, text=f"characters {word.start + 1}–{word.end}") for word in explanation.words)
    named = {name: value for name, value in explanation.provenance.items() if name in ("classifier", "explainer")}
    return replace(explanation, text=texts[0], pair=texts[1] if len(texts) > 1 else None, words=words, provenance=named)


def _dotted(words: Sequence[Word], characters: int) -> str:
    dots = bytearray(b" ") * characters
    for word in words:  # an edited record may say that one ends anywhere
        start, end = min(word.start, characters), min(word.end, characters)
        dots[start:end] = _BLANK.encode("latin-1") * (end - start)
    return dots.decode("latin-1")
