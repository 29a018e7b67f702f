"""Rows of a benchmark: one measurement of one method on one set, text by text.

While a plan runs they are appended to a file of lines and never changed; of finished plans they are kept in Parquet.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from expnet.benchmark.kept import read_kept, write_kept
from expnet.errors import BenchmarkError, InputError
from expnet.files.lines import numbered

Kind = Literal["plausibility", "faithfulness", "stability", "sanity", "cost"]
SCHEMA = 1
# How one was trained, least of its task first.
EXPNETS = ("cross-both", "cross-task", "cross-language", "cross-base", "shipped", "adapted", "few marks", "in-domain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was measured, of what, and how; figures only, no texts.

    Attributes:
        kind: What was measured.
        experiment: "baseline", "control", "floor" (mark all), "human", or how an ExpNet was trained, one of `EXPNETS`.
        family: Family of the task, such as "sentiment".
        set: The texts, such as "fair_sst/test".
        classifier: Name of the classifier that was explained.
        method: Name of the method; "mark_all" and "human" for floor and ceiling.
        condition: What else tells rows apart: `marks`, `replacement`, `against`, `seed`, `shots`, `start`.
        sample: Whether the texts are a stratified sample of the set, taken because the method is expensive.
        texts: Numbers of the texts in their set, in the order of the values.
        values: Figures, each with a value per text; NaN where it is not defined.
        curves: Means over texts at ascending shares of words.
        provenance: Versions, hashes of weights and data, settings, seconds.
    """

    kind: Kind
    experiment: str
    family: str
    set: str
    classifier: str
    method: str
    condition: Mapping[str, str | int | float | None] = field(default_factory=dict)
    sample: bool = False
    texts: tuple[int, ...]
    values: Mapping[str, Sequence[float]]
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What was measured, and of what: two rows with the same key measure the same."""
        named = (self.kind, self.experiment, self.set, self.classifier, self.method)
        return json.dumps([*named, dict(self.condition)], sort_keys=True)

    def to_json(self) -> str:
        """Return one line; numbers keep five digits, NaN becomes null."""
        content = {"schema": SCHEMA, **asdict(self)}
        content["values"] = {name: [_rounded(x) for x in values] for name, values in self.values.items()}
        content["curves"] = {name: [_rounded(x) for x in values] for name, values in self.curves.items()}
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Row":
        """Read what `to_json` wrote.

        Raises:
            BenchmarkError: If a field is missing or unknown, or the schema is another one.
        """
        content = {name: value for name, value in data.items() if name not in ("cell", "part", "of")}
        if (schema := content.pop("schema", None)) != SCHEMA:
            raise BenchmarkError(f"expected a row of schema {SCHEMA}, got {schema!r}")
        try:
            content["texts"] = tuple(content["texts"])
            for name in ("values", "curves"):
                content[name] = {
                    key: tuple(math.nan if x is None else float(x) for x in column)
                    for key, column in content[name].items()
                }
            return cls(**content)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BenchmarkError(f"this is not a row: {error}") from error


class RowFile:
    """Rows on disk, grouped in cells: a cell is written whole or, if the process died, counts as not written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, cell: str, rows: Sequence[Row]) -> None:
        """Add the rows of a cell and force them to disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = []
        for part, row in enumerate(rows):
            content = json.loads(row.to_json()) | {"cell": cell, "part": part, "of": len(rows)}
            lines.append(json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n")
        # The line before may have been cut off: keep it from spoiling this one.
        start = "\n" if self.path.is_file() and self.path.stat().st_size and not self._ends_with_newline() else ""
        with self.path.open("ab", buffering=0) as file:  # one write, so that other processes may append as well
            file.write((start + "".join(lines)).encode())
            os.fsync(file.fileno())

    def cells(self) -> set[str]:
        """Return the names of the cells that are complete."""
        return {cell for cell, rows in self._cells().items() if rows}

    def read(self) -> list[Row]:
        """Return the rows of whole cells; where a plan was changed and measured again, the newer of two."""
        stored = [Row.from_dict(row) for rows in self._cells().values() for row in rows]
        return list({row.key: row for row in stored}.values())

    def _cells(self) -> dict[str, list[dict[str, Any]]]:
        rows_of: dict[str, dict[int, dict[str, Any]]] = {}
        sizes: dict[str, int] = {}
        if not self.path.is_file():
            return {}
        try:
            lines = [line for _, line in numbered(self.path)]
        except InputError as error:
            raise BenchmarkError(str(error)) from error
        for line in lines:
            try:
                row = json.loads(line)
                cell, part, size = row["cell"], row["part"], row["of"]
            except (ValueError, KeyError, TypeError):
                continue  # cut off when the process died; its cell is not whole and is run again
            rows_of.setdefault(cell, {})[part] = row
            sizes[cell] = size
        return {cell: list(rows.values()) if len(rows) == sizes[cell] else [] for cell, rows in rows_of.items()}

    def _ends_with_newline(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def read_rows(paths: Iterable[str | Path]) -> list[Row]:
    """Read rows from `.parquet`, `.jsonl` or `.jsonl.gz` files, or from all such files in folders.

    Raises:
        BenchmarkError: If there is no such file, or nothing in it is a row.
        MissingExtraError: If a file is Parquet, and pyarrow is not installed.
    """
    rows: list[Row] = []
    for path in map(Path, paths):
        files = sorted([*path.glob("*.jsonl*"), *path.glob("*.parquet")]) if path.is_dir() else [path]
        found_rows = [row for file in files if file.is_file() for row in _read(file)]
        if not found_rows:
            raise BenchmarkError(
                f"There are no benchmark rows in {path}; expected a .jsonl file that `expnet benchmark` wrote, a "
                ".parquet file that scripts/keep_rows.py wrote, or a folder with such files."
            )
        rows += found_rows
    return rows


def keep_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows to a `.parquet` file, as they stand in lines: numbers with five digits.

    Raises:
        BenchmarkError: If a row has not one value per text, or a number is too large or too small for a float32.
        MissingExtraError: If pyarrow is not installed.
    """
    write_kept(path, [json.loads(row.to_json()) for row in rows])


def _read(file: Path) -> list[Row]:
    return [Row.from_dict(row) for row in read_kept(file)] if file.suffix == ".parquet" else RowFile(file).read()


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.5g}")
