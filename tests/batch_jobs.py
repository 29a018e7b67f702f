"""What the tests of batch jobs share: tiny inputs, and what came out."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from expnet.batch import Settings, explain_file

TEXTS = ["a good film", "bad", "", "the first short text, another one!", "good good bad film", "long text .", "one"]


def write_parquet(path: Path, rows: list[dict[str, Any]] | None = None, **settings: Any) -> Path:
    rows = [{"id": number, "text": text} for number, text in enumerate(TEXTS)] if rows is None else rows
    pq.write_table(pa.Table.from_pylist(rows), path, **settings)
    return path


def write_lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(explainer, source: Path, output: Path, **settings: Any) -> list[dict[str, Any]]:
    """Explain a file and return the rows of all shards, in order."""
    explain_file(explainer, source, output, settings=Settings(**settings))
    return read(output)


def read(output: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(output.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def content(output: Path) -> dict[str, bytes]:
    """Return what a job wrote, by name; its lock, which is empty and stays, is left out."""
    return {path.name: path.read_bytes() for path in sorted(output.iterdir()) if path.name != ".lock"}
