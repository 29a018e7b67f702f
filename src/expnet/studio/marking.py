"""Words of a text as the page numbers them, and what a form says was marked."""

from collections.abc import Sequence

from expnet.errors import InputError
from expnet.rationales import Record
from expnet.text.texts import Text
from expnet.text.words import Span


def pieces_of(text: Text, segment: int) -> list[tuple[str, int | None]]:
    """Return the text in pieces, each with the number of its word, None between words."""
    part, at, pieces = text.part(segment), 0, list[tuple[str, int | None]]()
    for number, word in enumerate(text.words):
        if word.segment == segment:
            pieces += [(part[at : word.start], None)] if word.start > at else []
            pieces.append((text.word(word), number))
            at = word.end
    return pieces + ([(part[at:], None)] if at < len(part) else [])


def places_of(record: Record, spans: Sequence[Span]) -> list[int]:
    """Return the numbers of the words that spans mark."""
    return [place for place, marked in enumerate(record.word_marks(spans)) if marked]


def words_of(record: Record, spans: Sequence[Span]) -> str:
    """Return the words that spans mark, with blanks between."""
    return " ".join(record.text.word(record.text.words[place]) for place in places_of(record, spans))


def chosen_in(text: Text, words: str) -> list[int]:
    """Return the numbers of the words in a form, in order, each once.

    Raises:
        InputError: If they are not numbers of words of this text.
    """
    parts = words.split(",") if words else []
    if not all(part.isascii() and part.isdecimal() and int(part) < len(text.words) for part in parts):
        raise InputError(f"Expected numbers of words below {len(text.words)}, with commas between; got {words[:60]!r}.")
    return sorted({int(part) for part in parts})


def label_of(labels: Sequence[str], label: str) -> str:
    """Return the class of a number; a name could hold characters that a form cannot carry.

    Raises:
        InputError: If it is not the number of a class.
    """
    if not (label.isascii() and label.isdecimal() and int(label) < len(labels)):
        raise InputError(f"Expected the number of a class below {len(labels)}, got {label[:60]!r}.")
    return labels[int(label)]
