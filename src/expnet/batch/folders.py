"""The files that a job reads: which of a folder, in which order, under which names."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from expnet.batch.formats import ENDINGS, is_kind, readable
from expnet.errors import BatchError

_NULL = "__HIVE_DEFAULT_PARTITION__"


def find_files(source: Path) -> tuple[list[Path], list[Path]]:
    """Return the files to read, and those in the folder whose type is not supported.

    A folder that `datasets` saved is read in its own order, any other in the order of names, with its subfolders but
    without linked ones. Names that begin with "." or "_" are left out, as Spark and Arrow do.

    Raises:
        BatchError: If there is nothing to read, several splits to choose from, or a folder that may not be read.
    """
    with readable(source):
        if source.is_file():
            if not is_kind(source, *ENDINGS):
                raise BatchError(f"{source} has an unsupported file type; expected {', '.join(ENDINGS)}.")
            return [source], []
        if not source.is_dir():
            raise BatchError(f"There is no file or folder {source}.")
        if saved := _saved(source):
            return saved, []
        inside = _inside(source)
        # A link that leads nowhere stays in, so that reading it fails: its rows are not to be lost in silence.
        known = [path for path in inside if is_kind(path, *ENDINGS) and (path.is_file() or not path.exists())]
    if not known:
        raise BatchError(f"{source} holds no file to read; expected {', '.join(ENDINGS)}.")
    read = set(known)
    return known, [path for path in inside if path not in read]


def name_in(root: Path, path: Path) -> str:
    """Return a file's name in the folder that is read; bytes that are not UTF-8 are spelled out."""
    return spelled(path.name if path == root else path.relative_to(root).as_posix())


def partition_of(root: Path, path: Path) -> dict[str, str | None]:
    """Return the columns that the names of folders give, as Hive and Spark write them: `year=2024/lang=en`.

    Raises:
        BatchError: If two folders of a path give the same column.
    """
    keys: dict[str, str | None] = {}
    for folder in () if path == root else path.relative_to(root).parts[:-1]:
        name, equals, value = (spelled(unquote(part, errors="surrogateescape")) for part in folder.partition("="))
        if not (name and equals):
            continue
        if name in keys:
            raise BatchError(f"Two folders on the way to {path} give the column {name!r}: rename one.")
        keys[name] = None if value == _NULL else value
    return keys


def spelled(name: str) -> str:
    r"""Return a file's name with each byte that is not UTF-8 spelled out, as `caf\xe9`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _saved(source: Path) -> list[Path]:
    """Return the files of a folder that `datasets` saved, in its order; none for any other folder.

    Raises:
        BatchError: If it holds several splits, or what `datasets` wrote there is damaged or leads out of the folder.
    """
    splits = _described(source / "dataset_dict.json", "splits")
    if splits is not None:
        if not splits or not all(isinstance(name, str) for name in splits):
            raise BatchError(f"{source / 'dataset_dict.json'} names no splits: it is damaged.")
        raise BatchError(f"{source} holds the splits {', '.join(splits)}: give one, such as {source / splits[0]}.")
    state = source / "state.json"
    files = _described(state, "_data_files")
    if files is None:
        return []
    names: list[Any] = [file.get("filename") if isinstance(file, Mapping) else None for file in files]
    if not names:
        raise BatchError(f"{state} names no files: there is nothing to read.")
    for name in names:
        if not (isinstance(name, str) and name.isprintable() and is_kind(Path(name), ".arrow")):
            raise BatchError(f"{state} is damaged: expected the names of .arrow files, got {name!r:.80}.")
        if not Path(os.path.realpath(source / name)).is_relative_to(os.path.realpath(source)):
            raise BatchError(f"{state} names {name!r:.200}, which leads out of the folder: it is not read.")
    return [source / name for name in names]


def _described(file: Path, key: str) -> list[Any] | None:
    """Return the list under a key of a file of `datasets`; None if there is no such file, or another program wrote it.

    Raises:
        BatchError: If it cannot be read as JSON, or `datasets` wrote the folder and the key is missing.
    """
    if not file.is_file():
        return None
    try:
        description = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BatchError(f"{file} is not valid JSON: {error}. Put it back, or take it out of the folder.") from error
    value = description.get(key) if isinstance(description, Mapping) else None
    if isinstance(value, list):
        return value
    if value is not None or (file.parent / "dataset_info.json").is_file():
        raise BatchError(
            f"{file} is damaged: expected a list under {key!r}. Put it back, or take it out of the folder."
        )
    return None


def _inside(source: Path) -> list[Path]:
    """Return the files in a folder and its subfolders, and links to folders as they are, without hidden names."""
    files_inside: list[Path] = []
    for root, folders, files in os.walk(source, onerror=_raise):
        folders[:] = [name for name in folders if not _hidden(name)]
        links = [name for name in folders if Path(root, name).is_symlink()]
        files_inside += [Path(root, name) for name in (*files, *links) if not _hidden(name)]
    return sorted(files_inside)


def _raise(error: OSError) -> None:
    raise error


def _hidden(name: str) -> bool:
    """Return whether Spark leaves a name out: it keeps `_year=2024`, which is a partition."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name)
