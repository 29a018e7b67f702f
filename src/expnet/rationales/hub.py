"""Data sets of the Hugging Face hub, or a local folder, in the fields of the shared format."""

from collections.abc import Collection, Iterator
from typing import Any

from expnet.errors import RationaleError, require_extra
from expnet.rationales.offsets import Offsets, Unit, unit_of
from expnet.rationales.problems import ReadFile, SourceRow, parsed
from expnet.rationales.readers.shared import parse_record
from expnet.rationales.reading import OnError, gather
from expnet.rationales.records import Record


def read_dataset(
    name: str,
    split: str,
    *,
    config: str | None = None,
    revision: str | None = None,
    rationale: str = "rationale",
    labels: Collection[str] | None = None,
    offsets: Offsets = "auto",
    on_error: OnError = "refuse",
) -> ReadFile:
    """Load a split with `datasets` and read its rows as lines of the shared format; see `read`.

    No code of the data set runs: `datasets` only reads its Parquet, JSON or CSV files.

    Args:
        name: A data set of the hub, such as "me/marked-reviews", or a local folder.
        split: Such as "train".
        config: Which of the data set's configurations.
        revision: Commit, tag or branch on the hub; a commit pins the data.
        rationale: The column with the marks.
        labels: The labels there may be. Class labels stored as numbers become their names first.
        offsets: What spans count: "characters" (also "auto"), "utf-16" units or bytes of "utf-8".
        on_error: As for `read`; the line of a problem is the row, counted from 1.

    Raises:
        RationaleError: If there is no such data set or split; with "refuse", if there is any problem.
        MissingExtraError: If `datasets` is not installed.
    """
    unit = unit_of(offsets)
    require_extra("datasets", "data")
    import datasets

    try:
        rows = datasets.load_dataset(name, config, split=split, revision=revision)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise RationaleError(f"The split {split!r} of {name!r} cannot be loaded: {error}") from error
    title = f"{name}[{split}]"
    return gather(title, parsed(title, _rows(rows), lambda row: _record(row, rationale, unit)), labels, on_error)


def _rows(rows: Any) -> Iterator[SourceRow]:
    names = {column: feature.int2str for column, feature in rows.features.items() if hasattr(feature, "int2str")}
    for number, row in enumerate(rows, start=1):
        # A table has every column in every row: one that is null was not there.
        fields = {column: value for column, value in row.items() if value is not None}
        for column, name_of in names.items():
            if column in fields:
                fields[column] = name_of(fields[column]) if fields[column] >= 0 else None  # -1: unlabelled
        yield SourceRow(number, fields)


def _record(row: SourceRow, rationale: str, unit: Unit) -> Record:
    return parse_record(row.fields, rationale=rationale, default_id=str(row.line), unit=unit)
