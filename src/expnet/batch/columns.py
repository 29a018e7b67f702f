"""The columns of a file: how many there may be, of which types, and how much their rows hold."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expnet.errors import BatchError
from expnet.files.lines import LONGEST

_MOST_COLUMNS = 10_000  # rows of JSON may each bring keys of their own


def check_names(path: Path, names: Sequence[str]) -> None:
    """Refuse a file that has two columns of one name, or too many.

    Raises:
        BatchError: With the name or the number.
    """
    check_count(path, len(names))
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise BatchError(f"{path} has two columns named {twice[0]!r}; rename one.")


def check_count(path: Path, columns: int) -> None:
    """Refuse a file of too many columns.

    Raises:
        BatchError: With the number.
    """
    if columns > _MOST_COLUMNS:
        raise BatchError(f"{path} has {columns:,} columns or more; expected {_MOST_COLUMNS:,} at most: leave some out.")


def check_types(path: Path, schema: pa.Schema) -> None:
    """Refuse a file with a column that no shard can hold.

    Raises:
        BatchError: With the type.
    """
    try:
        pq.write_table(schema.empty_table(), pa.BufferOutputStream())
    except pa.ArrowException as error:
        raise BatchError(
            f"{path} has a column that Parquet, the output format, cannot hold: {error}. Convert it, or leave it out."
        ) from error


def is_string(kind: pa.DataType) -> bool:
    """Return whether a column of a type holds strings or bytes of any length."""
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in tests)


def sizes(batch: pa.RecordBatch, path: Path) -> list[int]:
    """Return about how many bytes each row holds, strings exactly.

    Raises:
        BatchError: If a string is longer than a line of text may be.
    """
    total = np.zeros(batch.num_rows, np.int64)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        coded = pa.types.is_dictionary(column.type)
        if not is_string(column.type.value_type if coded else column.type):
            total += 0 if coded else column.nbytes // max(1, batch.num_rows)
            continue
        lengths = pc.binary_length(column.dictionary).take(column.indices) if coded else pc.binary_length(column)
        bytes_ = lengths.fill_null(0).to_numpy(zero_copy_only=False)
        if bytes_.max(initial=0) > LONGEST:
            raise BatchError(
                f"{path} holds a string of {bytes_.max():,} bytes in column {name!r}; expected {LONGEST:,} at most: "
                "cut it into several."
            )
        total += bytes_
    totals: list[int] = total.tolist()
    return totals


def decoded(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with dictionary-encoded strings decoded, except where the schema keeps them."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type) and not pa.types.is_dictionary(schema.field(field.name).type):
            table = table.set_column(place, field.name, table.column(place).cast(field.type.value_type))
    return table
