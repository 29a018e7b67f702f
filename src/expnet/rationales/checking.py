"""Problems of sets whose texts can all be read: missing labels, texts in two splits."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from expnet.rationales.problems import Problem, ReadFile
from expnet.text.texts import Text


@dataclass(frozen=True, slots=True)
class Leak:
    """How many texts of one split (`inside`) are also in another, larger one (`of`)."""

    inside: str
    of: str
    texts: int


def check(readings: Mapping[str, ReadFile]) -> list[Problem]:
    """Return every problem of the splits: those of reading, texts without a label, and leaks.

    A missing label is a problem where other texts of the split have one. A leak is a text that stands in a larger
    split, too; see `normalised`.

    Args:
        readings: What was read (with `on_error="skip"`), by file.
    """
    problems: list[Problem] = []
    seen: dict[str, tuple[str, int]] = {}
    for file, reading in _large_first(readings):
        problems += reading.problems
        labelled = sum(record.label is not None for record in reading.records)
        own: dict[str, tuple[str, int]] = {}
        for record, line in zip(reading.records, reading.lines, strict=True):
            if labelled and record.label is None:
                reason = f"there is no label, but {labelled} other texts have one"
                problems.append(Problem(file, line, reason, record.id, "label"))
            key = normalised(record.text)
            if key in seen:
                other, at = seen[key]
                problems.append(Problem(file, line, f"the same text is in {other}, line {at}", record.id, "leak"))
            own.setdefault(key, (file, line))
        seen = own | seen
    return problems


def leaks(readings: Mapping[str, ReadFile]) -> list[Leak]:
    """Count, for each pair of splits that share texts, the texts of the smaller that are in the larger."""
    splits = [(file, [normalised(r.text) for r in reading.records]) for file, reading in _large_first(readings)]
    overlaps = []
    for (large, texts), (small, others) in combinations(splits, 2):
        known = set(texts)
        if shared := sum(text in known for text in others):
            overlaps.append(Leak(small, large, shared))
    return overlaps


def _large_first(readings: Mapping[str, ReadFile]) -> list[tuple[str, ReadFile]]:
    return sorted(readings.items(), key=lambda item: -len(item[1].records))


def normalised(text: Text) -> str:
    """Return a text's letters and digits, of any script, without case; two texts with the same are one text.

    A text without any, such as "?!", stays as it is. A pair is kept apart from the text.
    """
    return "\n".join(_letters(part) for part in (text.text, text.pair or ""))


def _letters(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(character for character in folded if character.isalnum() or character == "_") or text
