"""The files of a batch job: which there are, what they hold, and how they are cut into chunks."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from pathlib import Path

import pyarrow as pa

from expnet.batch.formats import ARROW, TEXT, chunks, measure, readable
from expnet.batch.rows import Chunk
from expnet.errors import BatchError

_BYTES = 32 * 2**20  # most in a chunk, so that memory does not depend on how long the texts are
_ENDINGS = (*ARROW, *TEXT)


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file, its hash, its columns and the number of rows in each of its chunks."""

    path: Path
    name: str
    sha256: str
    schema: pa.Schema
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the rows of a shard come from: `rows` rows of a file, after the first `start`."""

    file: str
    sha256: str
    start: int
    rows: int


def find_files(source: Path) -> tuple[list[Path], list[Path]]:
    """Return the files to read, and those in the folder that are of no known kind.

    A folder that `datasets` saved is read in its own order, any other by name, folders in it included, but not those
    that are only linked there. Names that begin with "." or "_" are left out, as Spark and Arrow do.

    Raises:
        BatchError: If there is nothing to read, several splits to choose from, or a folder that may not be read.
    """
    with readable(source):
        if source.is_file():
            if not _known(source):
                raise BatchError(f"{source} is of no known kind; expected {_kinds()}.")
            return [source], []
        if not source.is_dir():
            raise BatchError(f"There is no file or folder {source}.")
        if (splits := source / "dataset_dict.json").is_file():
            names = json.loads(splits.read_bytes())["splits"]
            raise BatchError(f"{source} holds the splits {', '.join(names)}: give one, such as {source / names[0]}.")
        if (state := source / "state.json").is_file():
            return [source / file["filename"] for file in json.loads(state.read_bytes())["_data_files"]], []
        inside = _inside(source)
        # A link that leads nowhere stays in, so that reading it fails: its rows are not to be lost in silence.
        known = [path for path in inside if _known(path) and (path.is_file() or not path.exists())]
    if not known:
        raise BatchError(f"{source} holds no file to read; expected {_kinds()}.")
    read = set(known)
    return known, [path for path in inside if path not in read]


def survey(path: Path, root: Path, shard_rows: int) -> InputFile:
    """Read a file once: hash it, learn its columns, and cut it into chunks."""
    with readable(path), path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    cut = _Cut(shard_rows)
    schema = measure(path, cut.add)
    name = path.name if path == root else path.relative_to(root).as_posix()
    return InputFile(path.resolve(), name, digest, schema, tuple(cut.counts))


def common_schema(files: Sequence[InputFile]) -> pa.Schema:
    """Return the columns of all files; a column that a file lacks is null there.

    Raises:
        BatchError: If files give a column types that no type can hold.
    """
    schema = files[0].schema
    for file in files[1:]:
        try:
            schema = pa.unify_schemas([schema, file.schema], promote_options="permissive")
        except pa.ArrowException as error:
            raise BatchError(
                f"{file.name} and the files before it have columns of one name but different types: {error}. "
                "Explain them apart, or write them with the same types."
            ) from error
    return schema


def places(files: Sequence[InputFile]) -> tuple[Place, ...]:
    """Return where the rows of each shard come from; one shard without rows if there are none at all."""
    found = [
        Place(file.name, file.sha256, end - count, count)
        for file in files
        for end, count in zip(accumulate(file.counts), file.counts, strict=True)
    ]
    return tuple(found) or (Place(files[0].name, files[0].sha256, 0, 0),)


class Reader:
    """Reads chunks by number. It only ever goes forward through the files; going back means starting over."""

    def __init__(self, files: Sequence[InputFile], schema: pa.Schema, columns: Sequence[str]) -> None:
        self.files, self.schema, self.columns = files, schema, columns
        self._next = 0
        self._chunks = self._all()

    def read(self, number: int) -> Chunk:
        """Return a chunk.

        Raises:
            BatchError: If a file can no longer be read, or has fewer rows than before.
        """
        if number < self._next:
            self._next, self._chunks = 0, self._all()
        chunk = next(islice(self._chunks, number - self._next, None), None)
        self._next = number + 1
        if chunk is None:
            return Chunk(self.schema.empty_table(), {name: [] for name in self.columns}, {})
        return chunk

    def _all(self) -> Iterator[Chunk]:
        return chain.from_iterable(chunks(file.path, file.counts, self.schema, self.columns) for file in self.files)


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


def _known(path: Path) -> bool:
    return path.name.endswith(_ENDINGS)


def _inside(source: Path) -> list[Path]:
    """Return what is in a folder and in the folders in it, links to folders as they are, without hidden names."""
    found: list[Path] = []
    for root, folders, files in os.walk(source, onerror=_raise):
        folders[:] = [name for name in folders if not _hidden(name)]
        links = [name for name in folders if Path(root, name).is_symlink()]
        found += [Path(root, name) for name in (*files, *links) if not _hidden(name)]
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error


def _hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def _kinds() -> str:
    return ", ".join(_ENDINGS)
