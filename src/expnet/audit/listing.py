"""Which rows of a file its record lists, and which of them hold the words that drive a class."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expnet.audit.file_record import AuditedRow
from expnet.audit.rows import column, figures, row_at, row_of_words
from expnet.audit.shards import Folder, shards_in_turn
from expnet.audit.words import LEADERS, Driver, normalised

_PER_WORD = 3  # rows of a larger file that are looked for, for each word of each class

Drivers = Mapping[str, Sequence[Driver]]
Row = dict[str, Any]  # as `Folder.rows` gives it, with its figures


def audited_row(row: Mapping[str, Any], keep_text: bool) -> AuditedRow:
    """Return a row for the record, without its words unless the text may be in it."""
    strongest = sorted(range(len(row["scores"])), key=lambda at: -row["scores"][at])[:LEADERS]
    content = {"text": row["text"], "pair": row["pair"], "top": tuple(row["words"][at] for at in strongest)}
    told = {name: row[name] for name in ("row", "label", "probability", "margin", "concentration", "clarity")}
    return AuditedRow(**told, **(content if keep_text else {"text": None, "pair": None, "top": ()}))


def listed_rows(folder: Folder, sample: pa.Table, extremes: Sequence[Row], drivers: Drivers, *, most: int) -> list[Row]:
    """Choose rows to look into, in the order of the file.

    Args:
        folder: The file; it is read again if the sample does not hold all that may be listed.
        sample: Random rows that have words.
        extremes: Rows that come first.
        drivers: Words whose rows come next, best first; then the sample fills up.
        most: How many rows at most.
    """
    measured = figures(sample) if len(sample) else None
    drawn = (row_at(sample, measured, at) for at in range(len(sample)) if measured is not None)
    whole = len(sample) <= most
    by_word = [] if whole or not most else _rows_of(folder, drivers)
    # The best row of each word before the second best of any.
    by_rank = (row for rank in zip_longest(*by_word) for row in rank if row is not None)
    chosen: dict[int, Row] = {}
    for row in chain(extremes, by_rank, drawn):
        if len(chosen) == most:
            break
        chosen.setdefault(row["row"], row)
    return [chosen[number] for number in sorted(chosen)]


def with_examples(drivers: Drivers, rows: Sequence[Row]) -> dict[str, list[Driver]]:
    """Return the drivers of each class with the numbers of the listed rows that hold them, largest scores first."""
    scores: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        words = normalised(pa.array(row["words"], pa.string())).to_pylist()
        for word, score in zip(words, row["scores"], strict=True):
            best = scores.setdefault((row["label"], word), {})
            best[row["row"]] = max(score, best.get(row["row"], score))
    return {
        label: [replace(driver, examples=_by_score(scores.get((label, driver.word), {}))) for driver in named]
        for label, named in drivers.items()
    }


def _by_score(scores: Mapping[int, float]) -> tuple[int, ...]:
    return tuple(sorted(scores, key=lambda row: (-scores[row], row)))


def _rows_of(folder: Folder, drivers: Drivers) -> list[list[Row]]:
    """Return for each word of each class the rows of the whole file in which it scores highest, best first."""
    best: dict[tuple[str, str], list[tuple[float, int, Row]]] = {
        (label, driver.word): [] for label, named in drivers.items() for driver in named
    }
    vocabulary = pa.array(sorted({word for _, word in best}), pa.string())
    for table, _ in shards_in_turn(folder):
        words = normalised(column(table, "words").flatten())
        scores = column(table, "scores").flatten().to_numpy().astype(float)
        labels, numbers = table["label"].to_pylist(), table["row"].to_pylist()
        row_of, measured = row_of_words(table), figures(table)
        held = np.flatnonzero(pc.is_in(words, value_set=vocabulary).to_numpy(zero_copy_only=False))
        for at in held[np.argsort(-scores[held], kind="stable")]:  # so that a row's first is its best
            row = int(row_of[at])
            entries = best.get((labels[row], words[at].as_py()))
            if entries is None or any(number == numbers[row] for _, number, _ in entries):
                continue
            if len(entries) < _PER_WORD or scores[at] > -entries[-1][0]:
                entries.append((-float(scores[at]), numbers[row], row_at(table, measured, row)))
                entries.sort(key=itemgetter(0, 1))
                del entries[_PER_WORD:]
    return [[row for *_, row in entries] for entries in best.values()]
