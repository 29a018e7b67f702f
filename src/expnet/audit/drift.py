"""How far two files are apart: in their classes, and in the words that carry the scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from numpy import ndarray

from expnet.audit.rows import column, row_of_words, shares
from expnet.audit.words import normalised, word_mass

_VOCABULARY = 2000  # words that a test tells apart; all others count as one
_BLOCK = 50  # permutations at once


@dataclass(frozen=True, slots=True)
class Drift:
    """How far two files are apart, and whether that is more than chance.

    Attributes:
        distance: Jensen-Shannon distance of the whole files, in [0, 1]: 0 if the shares are equal, 1 if nothing is in
            both.
        sampled: The same of the samples that were tested; smaller samples are further apart by chance.
        chance: The distance that 95 % of random divisions of the sampled rows into two files stay below.
        p: Share of random divisions that are as far apart or further, (1 + those) / (1 + all).
    """

    distance: float
    sampled: float
    chance: float
    p: float


@dataclass(frozen=True, slots=True)
class Change:
    """A word's share of all scores here and in the other file, with the rows that it is in and its mean scores."""

    word: str
    mass: float
    other_mass: float
    rows: int
    other_rows: int
    score: float | None
    other_score: float | None


def distance(a: Float[ndarray, "draws categories"], b: Float[ndarray, "draws categories"]) -> Float[ndarray, " draws"]:
    """Return the Jensen-Shannon distance, base 2, of weights that need not sum to 1; NaN where all weights are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        p, q = a / a.sum(1, keepdims=True), b / b.sum(1, keepdims=True)
        middle = (p + q) / 2
        surprises = [np.where(weights == 0, 0.0, weights * np.log2(weights / middle)) for weights in (p, q)]
    divergence = sum(weights.sum(1) for weights in surprises) / 2
    root: ndarray = np.sqrt(np.maximum(divergence, 0))  # rounding may bring 0 below it
    return root


def drift(
    whole: tuple[Float[ndarray, " categories"], Float[ndarray, " categories"]],
    rows: tuple[Float[ndarray, "_ columns"], Float[ndarray, "_ columns"]],
    *,
    seed: int = 0,
    draws: int = 1000,
) -> Drift:
    """Compare two files, and test the difference by permuting their sampled rows.

    Args:
        whole: The weights of all categories in each file.
        rows: What each sampled row of each file gives to each category.
        seed: Seed of the permutations.
        draws: Number of permutations.
    """
    stacked, first = np.concatenate(rows), len(rows[0])
    total = stacked.sum(0)
    generator, distances = np.random.default_rng(seed), []
    for start in range(0, draws, _BLOCK):
        dealt = np.zeros((min(_BLOCK, draws - start), len(stacked)))
        for one in dealt:
            one[generator.permutation(len(stacked))[:first]] = 1
        here = dealt @ stacked
        distances.append(distance(here, total - here))
    apart, by_chance = float(distance(*(sample.sum(0)[None] for sample in rows))[0]), np.concatenate(distances)
    # Distances that are equal but for rounding count as equal.
    p = (1 + int((by_chance >= apart - 1e-9).sum())) / (1 + draws)
    return Drift(
        float(distance(*(weights[None] for weights in whole))[0]), apart, float(np.quantile(by_chance, 0.95)), p
    )


def label_rows(tables: Sequence[pa.Table]) -> list[Float[ndarray, "_ labels"]]:
    """Return each row's class as one-hot, with the classes in the same order for all tables."""
    names = sorted({name for table in tables for name in table.column("label").to_pylist()})
    return [np.array([[name == own for name in names] for own in t.column("label").to_pylist()], float) for t in tables]


def word_rows(tables: Sequence[pa.Table], vocabulary: Sequence[str]) -> list[Float[ndarray, "_ words"]]:
    """Return the share of each row's scores that each word has, and in the last column all other words."""
    places = {word: at for at, word in enumerate(vocabulary[:_VOCABULARY])}
    weights_of_tables = []
    for table in tables:
        weights = np.zeros((len(table), len(places) + 1))
        words = [places.get(word, len(places)) for word in normalised(column(table, "words").flatten()).to_pylist()]
        np.add.at(weights, (row_of_words(table), np.array(words, dtype=int)), shares(table))
        weights_of_tables.append(weights)
    return weights_of_tables


def changes(here: pa.Table, there: pa.Table, *, least: int, count: int) -> list[Change]:
    """Return the words whose share of the scores changed most, of those in at least `least` rows of either file."""
    rows = [{row["word"]: row for row in word_mass(table).to_pylist()} for table in (here, there)]
    absent = {"mass": 0.0, "rows": 0, "score": None}
    changed = []
    for word in sorted({*rows[0], *rows[1]}):
        a, b = (by_word.get(word, absent) for by_word in rows)
        if max(a["rows"], b["rows"]) >= least:
            changed.append(Change(word, a["mass"], b["mass"], a["rows"], b["rows"], a["score"], b["score"]))
    return sorted(changed, key=lambda change: -abs(change.mass - change.other_mass))[:count]
