"""The audit record of a file, as data: what stands in it, and its JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from expnet.audit.drift import Change, Drift
from expnet.audit.sample import Faithfulness
from expnet.audit.words import Driver

KIND, SCHEMA = "expnet file", 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedRow:
    """A row that the record shows.

    `row` counts from 0 through the file; `top` are its three strongest words; the figures are those of `Figures`.
    """

    row: int
    text: str | None
    pair: str | None
    label: str
    probability: float
    margin: float
    concentration: float
    clarity: float
    top: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A second file, compared with this one.

    Attributes:
        folder: Its name.
        sha256: Of its shards, as in `FileRecord`.
        rows: Explained ones.
        labels: Rows of each class.
        made: Settings that differ between the two: scores by different models or methods cannot be compared directly.
        label_drift: Of the classes' shares; None where a file has no explained row.
        word_drift: Of the words' parts of the scores.
        changed: The words whose part changed most.
    """

    folder: str
    sha256: str
    rows: int
    labels: Mapping[str, int]
    made: Mapping[str, tuple[Any, Any]]
    label_drift: Drift | None
    word_drift: Drift | None
    changed: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """What is in a folder of explained rows.

    Attributes:
        created: When, in UTC, as ISO 8601.
        folder: Its name.
        sha256: Of its shards; see `Folder.sha256`.
        shards: How many.
        run: What made them, from their metadata: models, hashes, settings, versions.
        rows: All rows.
        statuses: Rows by status.
        labels: Explained rows of each class.
        histogram: For each class, how many of its rows have a probability in each twentieth of [0, 1].
        least_rows: Rows of its class that a word must be in to be named.
        drivers: For each class the words with the largest mean scores, of those with lift and lead of 1 or more.
        missed: The most rows that a word's count may lack, because rare words were dropped to save memory.
        clearest: Rows in which the model was sure and few words carry the scores.
        doubtful: The opposite.
        listed: Rows to look into, in the order of the file: all that have words or, in a larger file, the clearest and
            most doubtful ones, those in which drivers score highest, and others drawn at random.
        unclear: Rows that have no clarity: fewer than two words, or no score.
        faithfulness: The effect of removing words from a sample of rows, where the model was given.
        against: Another file, where one was given.
    """

    created: str
    folder: str
    sha256: str
    shards: int
    run: Mapping[str, Any]
    rows: int
    statuses: Mapping[str, int]
    labels: Mapping[str, int]
    histogram: Mapping[str, tuple[int, ...]]
    least_rows: int
    drivers: Mapping[str, Sequence[Driver]]
    missed: int
    clearest: tuple[AuditedRow, ...]
    doubtful: tuple[AuditedRow, ...]
    listed: tuple[AuditedRow, ...]
    unclear: int
    faithfulness: Faithfulness | None
    against: Comparison | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, as `file.schema.json` beside this module describes them; null is not defined."""
        plain: dict[str, Any] = _plain({"kind": KIND, "schema": SCHEMA, **asdict(self)})
        return plain

    def to_json(self) -> str:
        """Return the record for a file."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    match value:
        case float():
            return None if math.isnan(value) else value
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value
