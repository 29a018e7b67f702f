"""The files of a batch job: what they hold, and how they are cut into chunks."""

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from expnet.batch.folders import name_in, partition_of
from expnet.batch.formats import chunks, measure, readable
from expnet.batch.hashed import HashedFile
from expnet.batch.rows import Chunk
from expnet.errors import BatchError

_BYTES = 32 * 2**20  # most in a chunk, so that memory does not depend on how long the texts are
_WHOLE = re.compile("0|-?[1-9][0-9]{0,17}")  # a number that comes back as it was, and fits 64 bits


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file, its columns, those that its folders give, and the number of rows in each of its chunks."""

    hashed: HashedFile
    name: str
    schema: pa.Schema
    partition: Mapping[str, str | None]
    counts: tuple[int, ...]

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self.hashed.path

    @property
    def sha256(self) -> str:
        """The SHA-256 of all its bytes."""
        return self.hashed.sha256


@dataclass(frozen=True, slots=True)
class ShardSource:
    """Where the rows of a shard come from: `rows` rows of a file, after the first `start`."""

    file: str
    sha256: str
    start: int
    rows: int


def survey(path: Path, root: Path, shard_rows: int) -> InputFile:
    """Read a file once: hash it, learn its columns, and cut it into chunks."""
    with readable(path):
        hashed = HashedFile.of(path.resolve())
    cut = _Cut(shard_rows)
    schema = measure(hashed, cut.add)
    return InputFile(hashed, name_in(root, path), schema, partition_of(root, path), tuple(cut.counts))


def common_schema(files: Sequence[InputFile]) -> pa.Schema:
    """Return the columns of all files, then those that names of folders give; null where a file lacks one.

    A column from names of folders holds whole numbers if all its values are such, otherwise strings.

    Raises:
        BatchError: If no type can hold the types that files give a column, or a column is both in a file and in the
            name of a folder.
    """
    schema = files[0].schema
    for file in files[1:]:
        try:
            schema = pa.unify_schemas([schema, file.schema], promote_options="permissive")
        except pa.ArrowException as error:
            raise BatchError(
                f"{file.name} and the files before it have columns of one name but different types: {error}. "
                "Explain them separately, or write them with the same types."
            ) from error
    for name in {name: None for file in files for name in file.partition}:
        if name in schema.names:
            raise BatchError(
                f"The column {name!r} is in the files and in the names of folders, such as that of "
                f"{next(file.name for file in files if name in file.partition)}: rename one of the two."
            )
        values = [value for file in files if (value := file.partition.get(name)) is not None]
        whole = values and all(map(_WHOLE.fullmatch, values))
        schema = schema.append(pa.field(name, pa.int64() if whole else pa.string()))
    return schema


def places(files: Sequence[InputFile]) -> tuple[ShardSource, ...]:
    """Return where the rows of each shard come from; one shard without rows if there are none at all."""
    sources = [
        ShardSource(file.name, file.sha256, end - count, count)
        for file in files
        for end, count in zip(accumulate(file.counts), file.counts, strict=True)
    ]
    return tuple(sources) or (ShardSource(files[0].name, files[0].sha256, 0, 0),)


class Reader:
    """Reads chunks by number. It only ever goes forward through the files; going back means starting over."""

    def __init__(self, files: Sequence[InputFile], schema: pa.Schema, columns: Sequence[Hashable]) -> None:
        self.files, self.schema, self.columns = files, schema, columns
        self._next = 0
        self._chunks = self._all()

    def read(self, number: int) -> Chunk:
        """Return the rows of a chunk, by its number from 0.

        Raises:
            BatchError: If a file can no longer be read, or has changed since the job began.
        """
        if number < self._next:
            self._next, self._chunks = 0, self._all()
        chunk = next(islice(self._chunks, number - self._next, None), None)
        self._next = number + 1
        if chunk is None:
            return Chunk(self.schema.empty_table(), {name: [] for name in self.columns}, {})
        return chunk

    def _all(self) -> Iterator[Chunk]:
        return chain.from_iterable(
            chunks(file.hashed, file.counts, self.schema, self.columns, self._constants(file)) for file in self.files
        )

    def _constants(self, file: InputFile) -> dict[str, Any]:
        numbers = {field.name for field in self.schema if pa.types.is_integer(field.type)}
        return {
            name: int(value) if value is not None and name in numbers else value
            for name, value in file.partition.items()
            if name in self.schema.names
        }


class _Cut:
    """Counts rows into chunks that are neither too long nor too large; a single row may be."""

    def __init__(self, rows: int) -> None:
        self.counts: list[int] = []
        self._rows, self._held = rows, 0

    def add(self, size: int) -> None:
        if not self.counts or self.counts[-1] == self._rows or self._held + size > _BYTES:
            self.counts.append(0)
            self._held = 0
        self.counts[-1] += 1
        self._held += size
