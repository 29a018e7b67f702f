"""Figures of explained rows: how sure the model was, and how few words carry the scores; and a choice of rows."""

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int
from numpy import ndarray


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of explained rows, one value per row each.

    Attributes:
        probability: Of the class explained.
        margin: By how much it leads at least, 2 × probability - 1, or 0; in [0, 1].
        concentration: 1 if one word has all the score, 0 if all words have the same; NaN for a row with fewer than
            two words, or without a score. 1 - entropy / its maximum, over absolute scores.
        clarity: Margin × concentration.
    """

    probability: Float[ndarray, " rows"]
    margin: Float[ndarray, " rows"]
    concentration: Float[ndarray, " rows"]
    clarity: Float[ndarray, " rows"]


def figures(table: pa.Table) -> Figures:
    """Return the figures of explained rows."""
    row_of, mass = row_of_words(table), shares(table)
    words = np.bincount(row_of, minlength=len(table))
    scored = np.bincount(row_of, mass, len(table)) > 0
    entropy = np.bincount(row_of, -mass * np.log(np.where(mass > 0, mass, 1)), len(table))
    defined = scored & (words > 1)
    concentration = np.full(len(table), np.nan)
    # Rounding may leave it a hair outside.
    concentration[defined] = (1 - entropy[defined] / np.log(words[defined])).clip(0, 1)
    probability = column(table, "probability").to_numpy(zero_copy_only=False).astype(float)
    margin = np.maximum(2 * probability - 1, 0)
    return Figures(probability, margin, concentration, margin * concentration)


def row_of_words(table: pa.Table) -> Int[ndarray, " words"]:
    """Return for each word the row it is in, counted within the table."""
    lengths = pc.list_value_length(column(table, "scores")).to_numpy(zero_copy_only=False)
    row_of: ndarray = np.repeat(np.arange(len(table)), lengths.astype(int))
    return row_of


def shares(table: pa.Table) -> Float[ndarray, " words"]:
    """Return each word's part of the absolute scores of its row; they sum to 1 in each row that has any."""
    mass = np.abs(column(table, "scores").flatten().to_numpy().astype(float))
    row_of = row_of_words(table)
    total = np.bincount(row_of, mass, len(table))[row_of]
    share: ndarray = np.divide(mass, total, out=np.zeros_like(mass), where=total > 0)
    return share


def column(table: pa.Table, name: str) -> pa.Array:
    """Return a column in one piece."""
    whole = table.column(name).combine_chunks()
    # Which of the two comes depends on the number of chunks.
    return whole if isinstance(whole, pa.Array) else pa.concat_arrays(whole.chunks)


def row_at(table: pa.Table, figures: Figures, at: int) -> dict[str, Any]:
    """Return one row of a table, with its figures."""
    row: dict[str, Any] = table.slice(at, 1).to_pylist()[0]
    return row | {name: float(getattr(figures, name)[at]) for name in ("margin", "concentration", "clarity")}


class Extremes:
    """Keeps the rows with the largest and the smallest clarity; of equals the first."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._most: list[dict[str, Any]] = []
        self._least: list[dict[str, Any]] = []

    def add(self, table: pa.Table, figures: Figures) -> None:
        """Consider the rows of a shard."""
        defined = np.flatnonzero(~np.isnan(figures.clarity))
        ascending, descending = (defined[np.argsort(way * figures.clarity[defined], kind="stable")] for way in (1, -1))
        # No other row of the shard can be among the extremes of the whole.
        for at in {*ascending[: self._count].tolist(), *descending[: self._count].tolist()}:
            row = row_at(table, figures, at)
            self._most.append(row)
            self._least.append(row)
        self._most = heapq.nsmallest(self._count, self._most, key=lambda row: (-row["clarity"], row["row"]))
        self._least = heapq.nsmallest(self._count, self._least, key=lambda row: (row["clarity"], row["row"]))

    def most(self) -> list[dict[str, Any]]:
        """Return the clearest rows, clearest first."""
        return self._most

    def least(self) -> list[dict[str, Any]]:
        """Return the most doubtful rows, most doubtful first."""
        return self._least


class Reservoir:
    """A random sample of rows that have words, each as likely to be in it, in random order."""

    def __init__(self, size: int, *, seed: int) -> None:
        self._size, self._generator = size, np.random.default_rng(seed)
        self._keys = np.empty(0)
        self._rows: pa.Table | None = None

    def add(self, table: pa.Table) -> None:
        """Add the rows of a shard to the sampling."""
        lengths = pc.list_value_length(column(table, "words")).to_numpy(zero_copy_only=False)
        table = table.take(np.flatnonzero(lengths > 0))
        keys = np.concatenate([self._keys, self._generator.random(len(table))])
        chosen = np.argsort(keys)[: self._size]
        together = table if self._rows is None else pa.concat_tables([self._rows, table])
        self._keys, self._rows = keys[chosen], together.take(chosen)

    def rows(self) -> pa.Table | None:
        """Return the sample; None if no shard was added."""
        return self._rows
