"""An Arrow table in, a table out: for polars, DuckDB and whatever else speaks Arrow's C stream interface."""

from typing import TYPE_CHECKING, Protocol

from expnet.errors import InputError, require_extra
from expnet.explainer import Explainer
from expnet.runtime.progress import track

if TYPE_CHECKING:
    import pyarrow as pa

    from expnet.batch.settings import Settings

    class ArrowStream(Protocol):
        """A table that can be read through Arrow's C stream interface."""

        def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
            """Return a capsule with a stream of the rows."""
            ...


_ROWS = 1024


def explain_table(
    explainer: Explainer, table: "ArrowStream", *, settings: "Settings | None" = None, progress: bool = False
) -> "pa.Table":
    """Explain each row of a table; its columns are kept, the table that came in is not changed.

    A row that cannot be explained has a status other than "ok" and an error, and no explanation.

    Args:
        explainer: As from `expnet.load`.
        table: One text a row: a table of pyarrow, a frame of polars, a relation of DuckDB, a pandas frame from 2.2 on.
        settings: Columns, method and target; by default the texts are in the column "text".
        progress: Show a progress bar.

    Returns:
        The rows with the columns of `expnet.batch.added_columns` added, such as `label`, `words`, `scores` and
        `status`. `polars.from_arrow` makes a frame of them.

    Raises:
        MissingExtraError: If pyarrow is not installed.
        InputError: If it is not such a table, a column is missing, there twice, or has the name of one to be added; and
            whatever `Explainer.explain` raises for all texts.
        ModelError: If the model fails on any text.
    """
    require_extra("pyarrow", "batch")
    import pyarrow as pa

    from expnet.batch.added_columns import added_table
    from expnet.batch.rows import Chunk, check_columns, explain_rows, explain_sample
    from expnet.batch.settings import Settings

    if not hasattr(table, "__arrow_c_stream__"):
        raise InputError(
            f"Expected a table that speaks Arrow's C stream interface, such as a frame of polars, got "
            f"{type(table).__name__}: build one from a column of texts, or pass a list of them to Explainer.explain."
        )
    rows: pa.Table = pa.RecordBatchReader.from_stream(table).read_all()
    settings, kind = settings or Settings(), explainer.classifier.kind
    check_columns(rows.column_names, settings, kind)
    if twice := [name for name in settings.columns if rows.column_names.count(name) > 1]:
        raise InputError(f"The table has more than one column {twice[0]!r}: rename or drop all but one.")
    explain_sample(explainer, settings)
    parts = []
    for start in track(range(0, max(1, len(rows)), _ROWS), "explaining", show=progress):  # of no rows, too
        part = rows.slice(start, _ROWS)
        cells = {name: part.column(name).to_pylist() for name in settings.columns}
        outcomes = explain_rows(explainer, Chunk(part, cells, {}), settings)
        parts.append(added_table(outcomes, settings.prefix, kind, every=settings.every))
    for field, column in zip(parts[0].schema, pa.concat_tables(parts).columns, strict=True):
        rows = rows.append_column(field, column)
    return rows
