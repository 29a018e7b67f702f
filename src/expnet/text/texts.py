"""What is explained: a text or a pair, with the words that scores are reported on."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from math import isnan
from os import PathLike
from typing import TypeVar

from expnet.errors import InputError
from expnet.text.words import Span, join_words, split_words

T = TypeVar("T")


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
        text, pair = _plain(text), None if pair is None else _plain(pair)
        return cls(text, pair, split_words(text) + (split_words(pair, 1) if pair is not None else ()))

    @classmethod
    def from_words(cls, words: Iterable[str], pair: Iterable[str] | None = None) -> "Text":
        """Take pre-split words, which are joined by single spaces.

        Raises:
            InputError: If a word is not a string or is empty, or the words are not a list.
        """
        if isinstance(words, str) or isinstance(pair, str):
            raise InputError("Expected a list of words, got one string: split it, or use Text.of.")
        words = [*check_list(words, "words")]
        pair = None if pair is None else [*check_list(pair, "words")]
        for word in (*words, *(pair or ())):
            if not _plain(word):
                raise InputError("Pre-split words hold an empty string: drop it, with its mark if there is one.")
        text, spans = join_words(words)
        if pair is None:
            return cls(text, None, spans)
        second, pair_spans = join_words(pair, 1)
        return cls(text, second, spans + pair_spans)

    @property
    def characters(self) -> int:
        """How many characters the text and its pair have."""
        return len(self.text) + len(self.pair or "")

    def part(self, segment: int) -> str:
        """Return the text (segment 0) or its pair (1; empty where there is none)."""
        return self.text if segment == 0 else self.pair or ""

    def word(self, span: Span) -> str:
        """Return the characters of a span."""
        return self.part(span.segment)[span.start : span.end]


def as_text(text: "str | Text") -> Text:
    """Return a `Text` as it is, and a string as `Text.of` splits it."""
    return text if isinstance(text, Text) else Text.of(text)


def as_texts(texts: "Iterable[str | Text]") -> list[Text]:
    """Return the texts of a list, tuple, generator, array or column, in their order.

    Raises:
        InputError: If it is a single item, or a collection whose texts or their order would have to be guessed.
    """
    return [as_text(text) for text in check_list(texts)]


def check_list(items: Iterable[T], what: str = "texts") -> Iterable[T]:
    """Return a list, tuple, generator, array or column of texts or words as it is.

    Raises:
        InputError: If it is a single item, or a collection whose items or their order would have to be guessed.
    """
    expected = f"Expected a list of {what}, got {type(items).__name__}"
    if hint := _hint(items):
        raise InputError(f"{expected}: {hint}")
    if isinstance(items, Set):
        raise InputError(f"{expected}, which has no order of its own: pass a list.")
    # An array without an axis says that it can be iterated, but cannot.
    if isinstance(items, str | Text) or not isinstance(items, Iterable) or getattr(items, "ndim", 1) == 0:
        raise InputError(f"{expected}. Put a single one into a list.")
    return items


def _hint(item: object) -> str:
    """Say how to pass what is often taken for a text or a list of them; "" for everything else."""
    if isinstance(item, Mapping):
        return "for a pair pass Text.of(text, pair); otherwise pass the values you mean, as a list."
    if hasattr(item, "columns") or hasattr(item, "column_names"):
        return "pass one of its columns, or use explain_frame(explainer, frame, text=...)."
    if isinstance(item, bytes | bytearray | memoryview):
        return "decode it first, as with item.decode('utf-8')."
    if hasattr(item, "as_py"):
        return "convert it from Arrow first, with to_pylist() or as_py()."
    if isinstance(item, PathLike):
        return "read the file and pass its texts, or use explain_file."
    return ""


def _plain(part: object) -> str:
    """Return a string as one of exactly that type, if it is one that UTF-8 can hold."""
    if not isinstance(part, str):
        words = "for a pair pass Text.of(text, pair), for words Text.from_words(words)."
        absent = part is None or (isinstance(part, float) and isnan(part))
        hint = "Leave missing ones out." if absent else _hint(part) or words * isinstance(part, Iterable)
        raise InputError(f"Expected a string, got {type(part).__name__}: {str(part)[:60]!r}. {hint}".rstrip())
    try:
        part.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"The text holds a lone surrogate at character {error.start}, which is not valid Unicode. "
            "Read the source as UTF-8, or decode it with errors='replace'."
        ) from error
    return str.__str__(part)
