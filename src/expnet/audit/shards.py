"""The folder that `expnet explain-file` wrote, read shard by shard."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expnet.batch.added_columns import OK
from expnet.batch.formats import readable
from expnet.batch.hashed import HashedFile
from expnet.batch.shards import count_shards, read_about, shard_path
from expnet.errors import BatchError

_ADDED = ("label", "probability", "words", "scores", "status")
_OF_A_SHARD = ("shard", "statuses")
_NEEDED = ("text", "prefix", "classifier", "classifier_hash", "tokenizer_hash", "explainer")
_OR_NULL = ("pair", "explainer_hash")


@dataclass(frozen=True, slots=True)
class Folder:
    """Shards in the order of their rows, and the metadata that they share: what made all of them."""

    path: Path
    shards: tuple[HashedFile, ...]
    run: dict[str, Any]

    def sha256(self) -> str:
        """Return the hash that `sha256sum part-*.parquet | sha256sum` prints in the folder."""
        lines = [f"{shard.sha256}  {shard.path.name}\n" for shard in self.shards]
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    def rows(self, shard: HashedFile) -> tuple[pa.Table, Counter[str]]:
        """Return a shard's explained rows, and how many of all its rows have each status.

        The columns are `row` (its number in the folder's shard), `text`, `pair` (null without one) and what was added,
        without the prefix.

        Raises:
            BatchError: If the shard has changed since the folder was opened, or does not hold what its metadata says.
        """
        added = {name: self.run["prefix"] + name for name in _ADDED}
        given = {name: self.run[name] for name in ("text", "pair") if self.run[name] is not None}
        with readable(shard.path), shard.open() as file:
            told = read_about(file, shard.path)["statuses"]
            file.seek(0)
            # By position, so that a column that is both, text and pair, does no harm.
            table = pq.read_table(file, columns=sorted({*added.values(), *given.values()}))
        named = {name: table.column(column) for name, column in {**given, **added}.items()}
        named.setdefault("pair", pa.chunked_array([pa.nulls(len(table), pa.string())]))
        named["row"] = pa.chunked_array([pa.array(range(len(table)), pa.int64())])
        counts = Counter(named["status"].to_pylist())
        if told != counts:
            raise BatchError(f"{shard.path} is damaged: it holds {dict(counts)}, and its metadata says {told}.")
        kept: pa.Table = pa.table(named).filter(pc.equal(named["status"], OK))
        return kept.combine_chunks(), counts


def open_explained(path: Path) -> Folder:
    """Find the shards of a finished job.

    Raises:
        BatchError: If the folder holds none, one is missing, they are of several jobs, or the model is a regression.
    """
    count = max(count_shards(path), len(list(path.glob("part-*.parquet"))))
    if not count:
        raise BatchError(f"{path} holds no part-*.parquet: give a folder that `expnet explain-file` wrote.")
    shards: list[HashedFile] = []
    first: dict[str, Any] = {}
    for number in range(count):
        shard = shard_path(path, number)
        if not shard.is_file():
            raise BatchError(f"{shard.name} is missing in {path}: give the `expnet explain-file` that made it again.")
        with readable(shard):
            shards.append(HashedFile.of(shard))
            with shards[-1].open() as file:
                about = read_about(file, shard)
        run = {name: value for name, value in about.items() if name not in _OF_A_SHARD}
        first = first or _checked(run, shard)
        if run != first:
            names = sorted(name for name in {*first, *run} if first.get(name) != run.get(name))
            raise BatchError(f"{shard} was not made by the job of the others: {', '.join(names)} differ.")
        if about["shard"].get("number") != number:
            raise BatchError(
                f"{shard} is shard {about['shard'].get('number')} under another name: give the `expnet explain-file` "
                "that made the folder again."
            )
    return Folder(path, tuple(shards), first)


def shards_in_turn(folder: Folder) -> Iterator[tuple[pa.Table, Counter[str]]]:
    """Yield the rows of each shard; `row` counts through the folder."""
    start = 0
    for shard in folder.shards:
        table, statuses = folder.rows(shard)
        position = table.schema.get_field_index("row")
        yield table.set_column(position, "row", pc.add(table.column("row"), start)), statuses
        start += statuses.total()


def _checked(run: dict[str, Any], shard: Path) -> dict[str, Any]:
    if run.get("kind") == "value":
        raise BatchError(
            f"{shard.parent} holds the values of a regression, and the record of a file counts classes and compares "
            "their probabilities: read the column `value` with a tool for data frames."
        )
    wrong = [name for name in _NEEDED if not isinstance(run.get(name), str)]
    if wrong := wrong + [name for name in _OR_NULL if not isinstance(run.get(name, 0), str | None)]:
        raise BatchError(f"{shard} is damaged: its metadata lacks {', '.join(wrong)}.")
    return run
