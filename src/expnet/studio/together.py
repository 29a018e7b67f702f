"""Marks that several people keep, each in a file of their own: joined text by text, and compared."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal, get_args

import numpy as np

from expnet.errors import InputError
from expnet.metrics import one_against_others, token_f1
from expnet.rationales import Record
from expnet.rationales.votes import agree
from expnet.studio.marks import Entry, Marks, joined
from expnet.studio.texts import key_of

# The marks of one's own file; of all files, the words that anybody marked, or more than half of the annotators.
Source = Literal["own", "any", "most"]
SOURCES: tuple[Source, ...] = get_args(Source)


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """Two annotators, how many texts both marked, and the mean over these of the token F1 of their marks, in [0, 1]."""

    names: tuple[str, str]
    texts: int
    f1: float


@dataclass(frozen=True, slots=True)
class PeopleAgreement:
    """How far annotators agree.

    Attributes:
        texts: Texts that two or more marked.
        f1: Mean over these texts of the token F1 of each two; NaN if there is none.
        pairs: Each two annotators who marked a text in common, in the order of their names.
        against: Mean over the texts that three or more marked of each annotator's token F1 against the majority of
            the others; NaN if there is none.
    """

    texts: int
    f1: float
    pairs: tuple[PairAgreement, ...]
    against: float


def from_all(entries: Sequence[Entry], others: Sequence[Marks]) -> list[Record]:
    """Return the record of each entry with the marks that others made of the same text.

    Where two files hold marks of the same person, those of the first stay.
    """
    records, stores = [entry.record for entry in entries], [marks.entries() for marks in others]
    for stored in stores:
        for at, record in enumerate(records):
            if (theirs := stored.get(key_of(record))) is None:
                continue
            names = {annotation.annotator for annotation in record.annotations}
            new = [annotation for annotation in theirs.record.annotations if annotation.annotator not in names]
            records[at] = joined(record, *new) if new else record
    return records


def chosen_by(source: Source, own: Sequence[Record], everybody: Sequence[Record]) -> list[Record]:
    """Return the marked records to learn from."""
    records = own if source == "own" else everybody
    marked = [record for record in records if record.annotations]
    if source != "most":
        return marked  # their rationale is the union
    return [replace(record, rationale=agree(record.annotations, "majority")) for record in marked]


def as_source(name: str) -> Source:
    """Return the source of this name.

    Raises:
        InputError: If there is none.
    """
    for source in SOURCES:
        if source == name:
            return source
    raise InputError(f"Expected marks of {', '.join(SOURCES)}; got {name[:60]!r}.")


def people_agreement(records: Sequence[Record]) -> PeopleAgreement:
    """Compare the marks of the annotators of each record."""
    of_pairs: dict[tuple[str, str], list[float]] = {}
    by_text, against = list[float](), list[float]()
    for record in records:
        marks = {one.annotator: np.array(record.word_marks(one.spans), bool) for one in record.annotations}
        agreed = {(a, b): float(token_f1(marks[a], marks[b])) for a, b in combinations(sorted(marks), 2)}
        for names, f1 in agreed.items():
            of_pairs.setdefault(names, []).append(f1)
        by_text += [float(np.mean([*agreed.values()]))] if agreed else []
        against.append(one_against_others([*marks.values()]) if len(marks) > 1 else float("nan"))
    known = [f1 for f1 in against if not np.isnan(f1)]
    pairs = [PairAgreement(names, len(f1), float(np.mean(f1))) for names, f1 in sorted(of_pairs.items())]
    return PeopleAgreement(len(by_text), _mean(by_text), tuple(pairs), _mean(known))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
