"""Which words drive each class: totals of every word over a file, in bounded memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float
from numpy import ndarray

from expnet.audit.rows import column, row_of_words, shares

_KEYS = ["label", "word"]
_SUMS = ["rows", "count", "score", "share", "leads", "chance"]
LEADERS = 3  # words of a row that count as its top words


@dataclass(frozen=True, slots=True)
class Driver:
    """A word in the rows of one class.

    Attributes:
        word: In lower case, compatible characters made one (NFKC).
        rows: Rows of the class that hold it.
        score: Its mean score there.
        lift: How many times as often rows that hold it have this class as rows in general; 1 if it makes no difference.
        lead: How many times as often it is among the three top words of a row as it would be if the scores of each row
            were dealt out to its words at random. Words that are merely frequent, such as "the", are below 1.
        examples: Rows of the class that hold it, of those in `FileRecord.listed`; its largest scores first.
    """

    word: str
    rows: int
    score: float
    lift: float
    lead: float
    examples: tuple[int, ...] = ()


class Totals:
    """For each class and word: rows, occurrences, sums of scores and of shares of the row's absolute scores.

    And how many occurrences are among the three top words of their row, and how many would be by chance.

    Words without a letter or digit are left out. At most `limit` entries are kept: where there are more, the words in
    the fewest rows are dropped, and `missed` is the most rows that any entry may lack because of that (lossy counting,
    Manku and Motwani 2002).
    """

    def __init__(self, *, limit: int = 400_000) -> None:
        self.missed = 0
        self._limit = limit
        self._parts: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        """Count the words of a shard."""
        row_of = row_of_words(table)
        leads, chance = leading(table)
        words = normalised(column(table, "words").flatten())
        occurrences = pa.table(
            {
                "label": column(table, "label").take(pa.array(row_of)),
                "word": words,
                "row": row_of,
                "score": column(table, "scores").flatten().cast(pa.float64()),
                "share": shares(table),
                "leads": leads,
                "chance": chance,
            }
        ).filter(pc.match_substring_regex(words, r"[\p{L}\p{N}]"))
        by_row = _summed(_with_ones(occurrences, "count"), [*_KEYS, "row"], _SUMS[1:])
        self._parts.append(_with_ones(by_row, "rows").select([*_KEYS, *_SUMS]))
        if sum(map(len, self._parts)) > self._limit:
            self._compact()

    def table(self) -> pa.Table:
        """Return a row for each class and word: label, word, rows, count, and the sums score, share, leads, chance."""
        return _summed(pa.concat_tables(self._parts), _KEYS, _SUMS).sort_by([(key, "ascending") for key in _KEYS])

    def drivers(self, labels: Mapping[str, int], *, least: int, count: int) -> dict[str, list[Driver]]:
        """Return for each class the words with the largest mean scores, of those with lift and lead of 1 or more.

        Args:
            labels: Rows of each class.
            least: Rows of the class in which a word must be.
            count: How many words at most.
        """
        totals = self.table()
        everywhere = _summed(totals, ["word"], ["rows"]).rename_columns({"rows": "all"})
        joined = totals.filter(pc.greater_equal(totals["rows"], least)).join(everywhere, "word")
        return {label: _strongest(joined, label, labels, count) for label in labels}

    def _compact(self) -> None:
        whole = self.table()
        if len(whole) > self._limit // 2:
            ranked = whole.sort_by([("rows", "descending"), *((key, "ascending") for key in _KEYS)])
            self.missed += ranked["rows"][self._limit // 2].as_py()
            whole = ranked.slice(0, self._limit // 2)
        self._parts = [whole]


def leading(table: pa.Table) -> tuple[Float[ndarray, " words"], Float[ndarray, " words"]]:
    """Return for each word 1 if it is among the three top words of its row, else 0; and the probability of that.

    The probability is that of a row whose scores are dealt out to its words at random. Of equal scores the first leads.
    """
    scores = column(table, "scores").flatten().to_numpy().astype(float)
    row_of = row_of_words(table)
    lengths = np.bincount(row_of, minlength=len(table))
    order = np.lexsort((-scores, row_of))  # which is stable
    rank = np.empty(len(scores), int)
    rank[order] = np.arange(len(scores)) - (np.cumsum(lengths) - lengths)[row_of]
    return (rank < LEADERS).astype(float), np.minimum(1, LEADERS / np.maximum(lengths, 1))[row_of]


def normalised(words: pa.Array) -> pa.Array:
    """Return words in lower case, compatible characters made one (NFKC)."""
    return pc.utf8_lower(pc.utf8_normalize(words, form="NFKC"))


def word_mass(table: pa.Table) -> pa.Table:
    """Return for each word of `Totals.table` its share of all scores, over the classes, with rows and mean score."""
    by_word = _summed(table, ["word"], _SUMS)
    total = pc.sum(by_word["share"]).as_py() or 1.0
    return pa.table(
        {
            "word": by_word["word"],
            "rows": by_word["rows"],
            "mass": pc.divide(by_word["share"], total),
            "score": pc.divide(by_word["score"], pc.cast(by_word["count"], pa.float64())),
        }
    )


def _strongest(joined: pa.Table, label: str, labels: Mapping[str, int], count: int) -> list[Driver]:
    share = labels[label] / sum(labels.values())
    own = joined.filter(pc.equal(joined["label"], label)).to_pylist()
    drivers = [
        Driver(
            word=row["word"],
            rows=row["rows"],
            score=row["score"] / row["count"],
            lift=row["rows"] / row["all"] / share,
            lead=row["leads"] / row["chance"],
        )
        for row in own
    ]
    named = [driver for driver in drivers if driver.lift >= 1 and driver.lead >= 1]
    return sorted(named, key=lambda driver: (-driver.score, driver.word))[:count]


def _with_ones(table: pa.Table, name: str) -> pa.Table:
    return table.append_column(name, pa.repeat(pa.scalar(1, pa.int64()), len(table)))


def _summed(table: pa.Table, keys: Sequence[str], names: Sequence[str]) -> pa.Table:
    # One thread, so that sums come out the same each time.
    sums = table.group_by(list(keys), use_threads=False).aggregate([(name, "sum") for name in names])
    return sums.rename_columns({f"{name}_sum": name for name in names})
