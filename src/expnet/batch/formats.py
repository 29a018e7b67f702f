"""Parquet, Arrow, JSON lines and CSV as streams of rows."""

import gzip
import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedIOBase
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from expnet.batch.columns import check_count, check_names, check_types, decoded, is_string, sizes
from expnet.batch.hashed import HashedFile
from expnet.batch.rows import Chunk
from expnet.errors import BatchError
from expnet.files.lines import Opener
from expnet.rationales.files import csv_header, csv_rows, json_lines
from expnet.rationales.problems import Problem, SourceRow

ENDINGS = (".parquet", ".arrow", ".jsonl", ".jsonl.gz", ".csv", ".csv.gz")

_IPC_FILE = b"ARROW1"  # how an Arrow file with a footer begins; one without it is a stream
_AT_ONCE = 64  # rows decoded together: few, as a cell may hold megabytes
_MOST_BYTES = 32 * 2**20  # in the rows decoded together, as far as the file tells in advance
_EXACT = 2**53  # above this, floats skip whole numbers


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn errors of reading into a `BatchError` that names the file."""
    try:
        yield
    except (OSError, UnicodeError, pa.ArrowException) as error:
        raise BatchError(
            f"{path} cannot be read: {error}. Is it complete, and of the type that its name says?"
        ) from error


def is_kind(path: Path, *endings: str) -> bool:
    """Return whether a file's name has one of these endings, in upper or lower case."""
    return path.name.lower().endswith(endings)


def measure(file: HashedFile, add: Callable[[int], None]) -> pa.Schema:
    """Read a file once and return its columns; call `add` with the approximate size of each row in bytes.

    CSV holds strings. A JSON column of one kind of values keeps it; otherwise it becomes strings: strings as they are,
    anything else as JSON.

    Raises:
        BatchError: If it cannot be read, is cut off, names a column twice, has too many of them or one of a type that
            Parquet lacks, or holds a string that is longer than a line may be.
    """
    if _is_arrow(file.path):
        with readable(file.path):
            schema = _schema(file)
            check_names(file.path, schema.names)
            check_types(file.path, schema)
            for batch in _batches(file):
                for size in sizes(batch, file.path):
                    add(size)
    else:
        header = _header(file)
        check_names(file.path, header)
        kinds: dict[str, set[str]] = {name: {"str"} for name in header}
        for row in _rows(file):
            fields = row.fields if isinstance(row, SourceRow) else {}
            add(sum(len(str(value)) for value in fields.values()))
            for name, value in fields.items():
                kinds.setdefault(name, set()).add(_kind(value))
            check_count(file.path, len(kinds))
        schema = pa.schema([(_clean(name), _type(types)) for name, types in kinds.items()])
    check_names(file.path, schema.names)
    return schema.remove_metadata()


def chunks(
    file: HashedFile,
    counts: Sequence[int],
    schema: pa.Schema,
    columns: Sequence[Hashable],
    constants: Mapping[str, Any],
) -> Iterator[Chunk]:
    """Yield consecutive chunks of so many rows, in a schema that may have more columns than the file.

    Args:
        file: Where they are.
        counts: Rows of each chunk.
        schema: Of the chunks.
        columns: Those that are read.
        constants: Columns with one value in all rows of the file.
    """
    if _is_arrow(file.path):
        with readable(file.path):
            for table in _tables(file, counts):
                table = decoded(table, schema)
                for name, value in constants.items():
                    kind = schema.field(name).type
                    table = table.append_column(name, pa.array([value] * len(table), kind))
                whole = pa.concat_tables([schema.empty_table(), table], promote_options="permissive").cast(schema)
                yield Chunk(whole, {name: _values(table, name) for name in columns}, {})
    else:
        rows = _rows(file)
        for count in counts:
            yield _chunk(list(islice(rows, count)), schema, columns, constants)


def _is_arrow(path: Path) -> bool:
    return is_kind(path, ".parquet", ".arrow")


def _batches(file: HashedFile) -> Iterator[pa.RecordBatch]:
    with file.open() as source:
        if is_kind(file.path, ".parquet"):
            # A string that is stored once, for many rows, is not to be copied for each of them.
            strings = [field.name for field in _schema(file) if is_string(field.type)]
            with pq.ParquetFile(source, read_dictionary=strings) as parquet:
                groups = [parquet.metadata.row_group(number) for number in range(parquet.num_row_groups)]
                largest = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=0)
                at_once = min(_AT_ONCE, _MOST_BYTES // max(1, largest))
                yield from parquet.iter_batches(batch_size=max(1, at_once))
        else:
            with _ipc(source) as reader:
                for batch in _each(reader):
                    yield from (batch.slice(start, _AT_ONCE) for start in range(0, batch.num_rows, _AT_ONCE))


def _schema(file: HashedFile) -> pa.Schema:
    with file.open() as source:
        if is_kind(file.path, ".parquet"):
            return pq.read_schema(source)
        with _ipc(source) as reader:
            return reader.schema


def _ipc(source: BufferedIOBase) -> pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader:
    """Read Arrow as a file, which most programs write, or as a stream, which `datasets` writes."""
    start = source.read(len(_IPC_FILE))
    source.seek(0)
    return pa.ipc.open_file(source) if start == _IPC_FILE else pa.ipc.open_stream(source)


def _each(reader: pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pa.ipc.RecordBatchFileReader):
        yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        yield from reader


def _tables(file: HashedFile, counts: Sequence[int]) -> Iterator[pa.Table]:
    batches = _batches(file)
    held: list[pa.RecordBatch] = []
    for count in counts:
        while sum(batch.num_rows for batch in held) < count:
            held.append(next(batches))
        table = pa.Table.from_batches(held)
        held = table.slice(count).to_batches()
        yield table.slice(0, count)


def _values(table: pa.Table, name: Hashable) -> list[Any]:
    """Return the values of a column, None if the file does not have it; a text that is not UTF-8 stays bytes."""
    if name not in table.column_names:
        return [None] * table.num_rows
    column = table.column(name)
    try:
        items: list[Any] = column.to_pylist()
        return items
    except UnicodeDecodeError:
        return [_value(cell) for cell in column]


def _value(cell: pa.Scalar) -> Any:
    try:
        return cell.as_py()
    except UnicodeDecodeError:
        return cell.as_buffer().to_pybytes()


def _is_csv(path: Path) -> bool:
    return is_kind(path, ".csv", ".csv.gz")


def _opener(file: HashedFile) -> Opener:
    @contextmanager
    def unpacked(path: Path) -> Iterator[BufferedIOBase]:
        with file.open() as source:
            if is_kind(path, ".gz"):
                with gzip.open(source) as content:
                    yield content
            else:
                yield source

    return unpacked


def _header(file: HashedFile) -> list[str]:
    """Return the columns of a CSV file; nothing for JSON, whose columns its rows tell."""
    if not _is_csv(file.path):
        return []
    header = csv_header(file.path, _opener(file))
    if isinstance(header, Problem):
        raise BatchError(
            f"{header}: the names of the columns cannot be read. Is the file complete, and every quote closed?"
        )
    return header


def _rows(file: HashedFile) -> Iterator[SourceRow | Problem]:
    """Yield rows; those that cannot be read as problems, unless all that follows is lost with them."""
    for row in (csv_rows if _is_csv(file.path) else json_lines)(file.path, _opener(file)):
        if isinstance(row, Problem) and row.kind == "too long":
            raise BatchError(str(row))
        if isinstance(row, Problem) and (row.kind == "cut off" or row.reason == "unexpected end of data"):
            raise BatchError(f"{row}: what follows cannot be read. Is the file complete, and every quote closed?")
        yield row


def _kind(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return "int" if abs(value) <= _EXACT else "long" if -(2**63) <= value < 2**63 else "json"
    return type(value).__name__


def _type(kinds: set[str]) -> pa.DataType:
    types = kinds - {"NoneType"}
    if types == {"bool"}:
        return pa.bool_()
    if types and types <= {"int", "long"}:
        return pa.int64()
    return pa.float64() if types and types <= {"int", "float"} else pa.string()


def _chunk(
    rows: Sequence[SourceRow | Problem], schema: pa.Schema, columns: Sequence[Hashable], constants: Mapping[str, Any]
) -> Chunk:
    fields = [{**(_named(row.fields) if isinstance(row, SourceRow) else {}), **constants} for row in rows]
    arrays = [pa.array([_cell(one.get(field.name), field.type) for one in fields], field.type) for field in schema]
    return Chunk(
        pa.Table.from_arrays(arrays, schema=schema),
        {name: [one.get(name) for one in fields] for name in columns},
        {place: f"line {row.line}: {row.reason}" for place, row in enumerate(rows) if isinstance(row, Problem)},
    )


def _named(fields: Mapping[str, Any]) -> dict[Hashable, Any]:
    return {_clean(name): value for name, value in fields.items()}


def _cell(value: Any, kind: pa.DataType) -> Any:
    if value is None or not pa.types.is_string(kind):
        return value
    return _clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _clean(text: str) -> str:
    """Spell out lone surrogates, which no file can hold."""
    return text.encode("utf-8", "backslashreplace").decode()
