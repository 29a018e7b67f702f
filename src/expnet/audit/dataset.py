"""The audit record of a file: what a model decided over many rows, and which words the explanations name."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from expnet.errors import MismatchError, require_extra

require_extra("pyarrow", "batch")
import pyarrow as pa

from expnet.audit.drift import changes, drift, label_rows, word_rows
from expnet.audit.file_record import Comparison, FileRecord
from expnet.audit.listing import audited_row, listed_rows, with_examples
from expnet.audit.rows import Extremes, Figures, Reservoir, figures
from expnet.audit.sample import faithfulness
from expnet.audit.shards import Folder, open_explained, shards_in_turn
from expnet.audit.words import Totals, word_mass
from expnet.batch.folders import spelled
from expnet.explainer import Explainer
from expnet.identity import models
from expnet.runtime.progress import track

BINS = 20  # of the histogram of probabilities
_SHOWN = 20  # words a class, and words that changed
_EXTREME = 10
_SAMPLE = 2000  # rows that drift is tested on
_SETTINGS = ("method", "options", "target", "against", "truncate")
_MADE = ("classifier_hash", "tokenizer_hash", "explainer_hash", *_SETTINGS, "versions")


def record_file(
    folder: str | Path,
    *,
    against: str | Path | None = None,
    explainer: Explainer | None = None,
    sample: int = 200,
    least_rows: int = 10,
    most_listed: int = 500,
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
        most_listed: How many rows to list for a closer look, 1,000 at most.
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
    drivers = here.totals.drivers(here.labels, least=least_rows, count=_SHOWN)
    rows = listed_rows(opened, here.sample, [*here.extremes.most(), *here.extremes.least()], drivers, most=most_listed)
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
        drivers=with_examples(drivers, rows),
        missed=here.totals.missed,
        clearest=tuple(audited_row(row, keep_text) for row in here.extremes.most()),
        doubtful=tuple(audited_row(row, keep_text) for row in here.extremes.least()),
        listed=tuple(audited_row(row, keep_text) for row in rows),
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
