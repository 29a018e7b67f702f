"""The audit record of a file: what a model decided over many rows, and which words the explanations name."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from expnet.errors import MismatchError, require_extra

require_extra("pyarrow", "batch")
import pyarrow as pa

from expnet.audit.drift import Change, Drift, changes, drift, label_rows, word_rows
from expnet.audit.rows import Extremes, Figures, Reservoir, figures
from expnet.audit.sample import Faithfulness, faithfulness
from expnet.audit.shards import Folder, open_explained, shards_in_turn
from expnet.audit.words import Driver, Totals, word_mass
from expnet.batch.folders import spelled
from expnet.explainer import Explainer
from expnet.identity import models
from expnet.runtime.progress import track

KIND, SCHEMA = "expnet file", 1
BINS = 20  # of the histogram of probabilities
_SHOWN = 20  # words a class, and words that changed
_EXTREME = 10
_SAMPLE = 2000  # rows that drift is tested on
_SETTINGS = ("method", "options", "target", "against", "truncate")
_MADE = ("classifier_hash", "tokenizer_hash", "explainer_hash", *_SETTINGS, "versions")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedRow:
    """A row with a clear explanation, or a doubtful one.

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
        drivers: For each class the words with the largest mean scores, of those with a lift of 1 or more.
        missed: The most rows that a word's count may lack, because rare words were dropped to save memory.
        clearest: Rows in which the model was sure and few words carry the scores.
        doubtful: The opposite.
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


def record_file(
    folder: str | Path,
    *,
    against: str | Path | None = None,
    explainer: Explainer | None = None,
    sample: int = 200,
    least_rows: int = 10,
    seed: int = 0,
    keep_text: bool = True,
    progress: bool = False,
) -> FileRecord:
    """Describe the folder that `expnet explain-file` wrote; its shards are read one by one.

    Args:
        folder: The folder.
        against: Another folder, to measure how far the two are apart.
        explainer: The one that explained it, to check a sample of rows for faithfulness.
        sample: How many rows to check.
        least_rows: Rows of a class that a word must be in to be named.
        seed: Of samples, random words, permutations and intervals.
        keep_text: If False, rows are given by number alone; words that are in many rows are still named.
        progress: Show a progress bar.

    Raises:
        BatchError: If `expnet explain-file` did not write a folder, or it is incomplete.
        MismatchError: If the explainer is not the one that explained the folder.
    """
    opened = open_explained(Path(folder))
    if explainer is not None:
        _check_same(opened, explainer)
    here = _read(opened, seed, progress)
    other = None if against is None else _read(open_explained(Path(against)), seed, progress)
    checked = None
    if explainer is not None:
        rows = here.sample.slice(0, sample)
        clarity = figures(rows).clarity
        checked = faithfulness(explainer.classifier, rows, clarity, seed=seed, progress=progress)
    return FileRecord(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        folder=spelled(opened.path.resolve().name),
        sha256=opened.sha256(),
        shards=len(opened.shards),
        run=opened.run,
        rows=here.statuses.total(),
        statuses=dict(here.statuses.most_common()),
        labels=dict(here.labels.most_common()),
        histogram={label: tuple(map(int, here.histogram[label])) for label, _ in here.labels.most_common()},
        least_rows=least_rows,
        drivers=here.totals.drivers(here.labels, least=least_rows, count=_SHOWN),
        missed=here.totals.missed,
        clearest=tuple(_row(row, keep_text) for row in here.extremes.most()),
        doubtful=tuple(_row(row, keep_text) for row in here.extremes.least()),
        unclear=here.unclear,
        faithfulness=checked,
        against=None if other is None else _compare(here, other, least_rows, seed),
    )


@dataclass(slots=True)
class _FolderSummary:
    """What is collected from the shards of a folder."""

    folder: Folder
    statuses: Counter[str]
    labels: Counter[str]
    histogram: dict[str, Any]
    totals: Totals
    extremes: Extremes
    unclear: int
    sample: pa.Table


def _read(folder: Folder, seed: int, progress: bool) -> _FolderSummary:
    reservoir = Reservoir(_SAMPLE, seed=seed)
    summary = _FolderSummary(folder, Counter(), Counter(), {}, Totals(), Extremes(_EXTREME), 0, pa.table({}))
    turns = track(shards_in_turn(folder), f"reading {folder.path.name}", show=progress, total=len(folder.shards))
    for table, statuses in turns:
        summary.statuses.update(statuses)
        shard_figures = figures(table)
        _count_labels(summary, table, shard_figures)
        summary.totals.add(table)
        summary.extremes.add(table, shard_figures)
        summary.unclear += int(np.isnan(shard_figures.clarity).sum())
        reservoir.add(table)
        summary.sample = reservoir.rows()
    return summary


def _count_labels(summary: _FolderSummary, table: pa.Table, shard_figures: Figures) -> None:
    labels = np.array(table.column("label").to_pylist(), dtype=object)
    for label in sorted(set(labels)):
        counts, _ = np.histogram(shard_figures.probability[labels == label], BINS, (0, 1))
        summary.labels[label] += int((labels == label).sum())
        summary.histogram[label] = summary.histogram.get(label, 0) + counts


def _check_same(folder: Folder, explainer: Explainer) -> None:
    own = models(explainer)
    for name in ("classifier_hash", "tokenizer_hash", "explainer_hash"):
        if folder.run[name] != own[name]:
            raise MismatchError(
                f"{folder.path} was explained by {folder.run['classifier']} with {folder.run['explainer']}, and the "
                f"{name} differs from the one given: pass the same --model and --explainer, or none."
            )


def _row(row: Mapping[str, Any], keep_text: bool) -> AuditedRow:
    strongest = sorted(range(len(row["scores"])), key=lambda at: -row["scores"][at])[:3]
    kept = {"text": row["text"], "pair": row["pair"], "top": tuple(row["words"][at] for at in strongest)}
    told = {name: row[name] for name in ("row", "label", "probability", "margin", "concentration", "clarity")}
    return AuditedRow(**told, **(kept if keep_text else {"text": None, "pair": None, "top": ()}))


def _compare(here: _FolderSummary, there: _FolderSummary, least_rows: int, seed: int) -> Comparison:
    both, label_drift, word_drift = (here, there), None, None
    tables = [summary.totals.table() for summary in both]
    if all(len(summary.sample) for summary in both):
        samples = [summary.sample for summary in both]
        names = sorted({*here.labels, *there.labels})
        counts = [np.array([summary.labels[name] for name in names], float) for summary in both]
        label_drift = drift((counts[0], counts[1]), _pair(label_rows(samples)), seed=seed)
        words = word_mass(pa.concat_tables(tables)).sort_by([("mass", "descending"), ("word", "ascending")])
        vocabulary = words["word"].to_pylist()
        rows = _pair(word_rows(samples, vocabulary))
        word_drift = drift(_masses(tables, vocabulary), rows, seed=seed)
    runs = [summary.folder.run for summary in both]
    return Comparison(
        folder=spelled(there.folder.path.resolve().name),
        sha256=there.folder.sha256(),
        rows=there.labels.total(),
        labels=dict(there.labels.most_common()),
        made={name: (runs[0].get(name), runs[1].get(name)) for name in _MADE if runs[0].get(name) != runs[1].get(name)},
        label_drift=label_drift,
        word_drift=word_drift,
        changed=tuple(changes(tables[0], tables[1], least=least_rows, count=_SHOWN)),
    )


def _masses(tables: Sequence[pa.Table], vocabulary: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    places = {word: at for at, word in enumerate(vocabulary)}
    masses = np.zeros((2, len(vocabulary)))
    for mass, table in zip(masses, tables, strict=True):
        by_word = word_mass(table)
        mass[[places[word] for word in by_word["word"].to_pylist()]] = by_word["mass"].to_numpy()
    return masses[0], masses[1]


def _pair(two: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return two[0], two[1]


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
