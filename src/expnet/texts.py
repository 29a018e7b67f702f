"""What is explained: a text or a pair, with the words that scores are reported on."""

from collections.abc import Sequence
from dataclasses import dataclass

from expnet.errors import InputError
from expnet.words import Span, join_words, split_words


@dataclass(frozen=True, slots=True)
class Text:
    """A text, or a text pair, and its words in reading order (the text's, then the pair's).

    Build one with `Text.of` (words found by Unicode rules) or `Text.from_words` (words given).
    """

    text: str
    pair: str | None
    words: tuple[Span, ...]

    @classmethod
    def of(cls, text: str, pair: str | None = None) -> "Text":
        """Take a raw text and split it at Unicode word boundaries.

        Raises:
            InputError: If the text or the pair is not a string, or cannot be encoded as UTF-8.
        """
        for part in (text,) if pair is None else (text, pair):
            _check_string(part)
        return cls(text, pair, split_words(text) + (split_words(pair, 1) if pair is not None else ()))

    @classmethod
    def from_words(cls, words: Sequence[str], pair: Sequence[str] | None = None) -> "Text":
        """Take words that somebody already split; they are joined by single spaces.

        Raises:
            InputError: If a word is not a string or is empty, or one string is given instead of a list of words.
        """
        if isinstance(words, str) or isinstance(pair, str):
            raise InputError("Expected a list of words, got one string: split it, or use Text.of.")
        for word in (*words, *(pair or ())):
            _check_string(word)
            if not word:
                raise InputError("Pre-split words hold an empty string: drop it, with its mark if there is one.")
        text, spans = join_words(words)
        if pair is None:
            return cls(text, None, spans)
        second, pair_spans = join_words(pair, 1)
        return cls(text, second, spans + pair_spans)

    def part(self, segment: int) -> str:
        """Return the text (segment 0) or its pair (1; empty where there is none)."""
        return self.text if segment == 0 else self.pair or ""

    def word(self, span: Span) -> str:
        """Return the characters of a span."""
        return self.part(span.segment)[span.start : span.end]


def as_text(text: "str | Text") -> Text:
    """Return a text as it is, or a string as `Text.of` takes it."""
    return text if isinstance(text, Text) else Text.of(text)


def _check_string(part: object) -> None:
    if not isinstance(part, str):
        raise InputError(f"Expected a string, got {type(part).__name__}: {str(part)[:60]!r}.")
    try:
        part.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"The text holds a lone surrogate at character {error.start}, which is no Unicode text. "
            "Read the source as UTF-8, or decode it with errors='replace'."
        ) from error
