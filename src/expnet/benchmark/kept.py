"""Rows of finished plans in one Parquet file, in which nothing stands twice.

Each row is a line. Rows that have the same figures of the same texts form a block: its first line holds the numbers of
the texts, and all values, text by text; every line says where in the block its own are. Rows with equal values, such as
those that two plans share, have one place.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from expnet.errors import BenchmarkError, require_extra
from expnet.files.atomic import write_atomic
from expnet.files.parsing import parse_json

_NAMES = ("kind", "experiment", "family", "set", "classifier", "method")
_JSON = ("condition", "provenance")
_VERSION = {b"expnet.rows": b"1"}
_LEVEL = 15  # of zstd; higher ones take minutes for the rows of two plans, to save another 3 %


@dataclass
class _SharedTexts:
    """Texts, names of figures, and the values of each place as float32 [figures texts], in the order of arrival."""

    number: int
    texts: Sequence[int]
    figures: Sequence[str]
    place_of: dict[bytes, int] = field(default_factory=dict)

    def add(self, values: ndarray) -> int:
        """Return the place of these values, a new one unless there are equal ones."""
        return self.place_of.setdefault(values.tobytes(), len(self.place_of))

    def columns(self) -> list[tuple[str, ndarray]]:
        """Return the values of each figure, places within texts: values of one text are alike, and so compress well."""
        stacked = np.stack([np.frombuffer(content, np.float32) for content in self.place_of])
        by_figure = stacked.reshape(len(stacked), len(self.figures), len(self.texts)).transpose(1, 2, 0)
        return [(name, matrix.ravel()) for name, matrix in zip(self.figures, by_figure, strict=True)]


def write_kept(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows, each as its line of JSON holds it; the same rows give the same file.

    Raises:
        BenchmarkError: If a row has not one value per text, or a number is too large or too small for a float32.
        MissingExtraError: If pyarrow is not installed.
    """
    require_extra("pyarrow", "batch")
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines: list[dict[str, Any]] = []
    blocks: dict[tuple[tuple[int, ...], tuple[str, ...]], _SharedTexts] = {}
    first: dict[int, _SharedTexts] = {}  # by number of line
    for row in rows:
        key = tuple(row["texts"]), tuple(row["values"])
        if key not in blocks:
            blocks[key] = first[len(lines)] = _SharedTexts(len(blocks), *key)
        block = blocks[key]
        line = {name: row[name] for name in (*_NAMES, "sample")}
        line |= {name: json.dumps(row[name], ensure_ascii=False, allow_nan=False) for name in _JSON}
        line["curves"] = [(name, _kept(row, name, numbers)) for name, numbers in row["curves"].items()]
        values = [_kept(row, name, numbers, len(row["texts"])) for name, numbers in row["values"].items()]
        place = block.add(np.array(values, np.float32))
        lines.append(line | {"schema": row["schema"], "block": block.number, "place": place})
    for number, block in first.items():
        lines[number] |= {"texts": block.texts, "values": block.columns()}
    file = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_pylist(lines, schema=_schema()),
        file,
        row_group_size=max(len(lines), 1),
        data_page_size=2**30,
        write_statistics=False,
        use_dictionary=[*_NAMES, *_JSON],
        compression="zstd",
        compression_level=_LEVEL,
    )
    write_atomic(path, file.getvalue())


def read_kept(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file in their order, each as its line of JSON holds it but for NaN, which is NaN.

    Raises:
        BenchmarkError: If the file is damaged, or not one that `write_kept` wrote.
        MissingExtraError: If pyarrow is not installed.
    """
    require_extra("pyarrow", "batch")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise BenchmarkError(f"{path} is damaged, or not a Parquet file: {error}") from error
    if not (table.schema.equals(_schema()) and _VERSION.items() <= (table.schema.metadata or {}).items()):
        raise BenchmarkError(
            f"{path} does not hold benchmark rows that this version of expnet can read; its columns are "
            f"{', '.join(table.schema.names)}. Expected a file that scripts/keep_rows.py wrote."
        )
    try:
        yield from _rows(table)
    except (ValueError, IndexError) as error:
        raise BenchmarkError(f"{path} is damaged: {error}") from error


def _rows(table: Any) -> Iterator[dict[str, Any]]:
    plain = table.drop_columns(["values", "curves"]).to_pylist()
    curves, values = (table.column(name).combine_chunks() for name in ("curves", "values"))
    places = [0] * len(plain)
    for line in plain:
        if line["block"] < 0 or line["block"] >= len(plain) or line["place"] < 0:
            raise ValueError(f"there is no place {line['place']} in block {line['block']}")
        places[line["block"]] = max(places[line["block"]], line["place"] + 1)
    blocks: list[tuple[list[int], dict[str, ndarray]]] = []
    for number, line in enumerate(plain):
        if line["texts"] is not None:
            shape = len(line["texts"]), places[len(blocks)]
            # The values of a place one after another, which is how they are read.
            matrices = {name: np.array(x.reshape(shape).T, order="C") for name, x in _numbers(values[number]).items()}
            blocks.append((line["texts"], matrices))
        place, (texts, matrices) = line.pop("place"), blocks[line.pop("block")]
        for name in _JSON:
            line[name] = parse_json(line[name])
            if not isinstance(line[name], dict):
                raise ValueError(f"expected an object as {name}, got {line[name]!r}")
        figures = {name: matrix[place].tolist() for name, matrix in matrices.items()}
        shown = {name: numbers.tolist() for name, numbers in _numbers(curves[number]).items()}
        yield line | {"texts": texts, "values": figures, "curves": shown}


def _schema() -> Any:
    import pyarrow as pa

    numbers = pa.map_(pa.string(), pa.list_(pa.float32()))
    types = {
        "schema": pa.int32(),
        **{name: pa.string() for name in (*_NAMES, *_JSON)},
        "sample": pa.bool_(),
        "curves": numbers,
        "block": pa.int32(),
        "place": pa.int32(),
    }
    shared = {"texts": pa.list_(pa.int64()), "values": numbers}
    fields = [pa.field(name, kind, nullable=False) for name, kind in types.items()]
    return pa.schema([*fields, *(pa.field(name, kind) for name, kind in shared.items())], metadata=_VERSION)


def _kept(row: Mapping[str, Any], name: str, numbers: Sequence[float | None], expected: int | None = None) -> ndarray:
    """Return numbers as float32, which holds five digits of what is neither huge nor tiny; None becomes NaN."""
    import pyarrow as pa

    if expected not in (None, len(numbers)):
        raise BenchmarkError(f"{row['method']} on {row['set']} has {len(numbers)} values of {name!r}, not {expected}.")
    exact = np.array(numbers, np.float64)
    with np.errstate(over="ignore"):
        kept = exact.astype(np.float32)
    if not np.array_equal(_decimals(pa.array(kept)), exact, equal_nan=True):
        raise BenchmarkError(
            f"{row['method']} on {row['set']}: a number of {name!r} has more than five digits, or its magnitude is "
            "beyond 1e-37 … 3e38, so a float32 cannot keep it."
        )
    return kept


def _numbers(scalar: Any) -> dict[str, ndarray]:
    """Return what a cell of type map holds."""
    if scalar.values is None or scalar.values.field(1).null_count:
        raise ValueError("values are missing")
    names, lists = scalar.values.flatten()
    return {name: _decimals(numbers.values) for name, numbers in zip(names.to_pylist(), lists, strict=True)}


def _decimals(numbers: Any) -> ndarray:
    """Return the shortest decimals that these float32 stand for, as float64: exactly the numbers that were kept."""
    import pyarrow as pa

    decimals: ndarray = numbers.cast(pa.string()).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return decimals
