"""A pandas frame in, a frame out: the columns that `expnet explain-file` writes, by the same code."""

from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from expnet.errors import InputError, require_extra
from expnet.explainer import Explainer
from expnet.runtime.progress import track

if TYPE_CHECKING:
    import pandas as pd

    from expnet.batch.settings import Settings

_ROWS = 1024


def explain_frame(
    explainer: Explainer,
    frame: "pd.DataFrame",
    *,
    text: Hashable = "text",
    pair: Hashable | None = None,
    target: str | int | None = None,
    target_column: Hashable | None = None,
    against: str | int | None = None,
    classes: int | None = None,
    method: str = "expnet",
    options: Mapping[str, Any] = MappingProxyType({}),
    seed: int = 0,
    truncate: bool = False,
    max_characters: int = 100_000,
    prefix: str = "",
    progress: bool = False,
) -> "pd.DataFrame":
    """Explain each row of a frame; its columns and its index are kept, the frame that came in is not changed.

    A row that cannot be explained has a status other than "ok" and an error, and no explanation.

    Args:
        explainer: As from `expnet.load`.
        frame: One text a row. None, NaN and NA are missing values.
        text: Column of the texts, as `frame.columns` has it: a name, a number in a frame without a header, a tuple
            where columns have several levels.
        pair: Column of the second texts; where it is missing, the row is a single text.
        target: Class to explain in every row, by name or index; by default each text's predicted class. "all" explains
            every class, in one column more, `classes`.
        target_column: Column with the class to explain, by name or index; where it is missing, the predicted one.
        against: Class to contrast the target, or that of the column, with.
        classes: With the target "all", how many of the most probable classes are explained.
        method: Name of the attribution method.
        options: Its options.
        seed: For stochastic methods. A row's scores depend on it, not on the other rows.
        truncate: Cut texts over the model's limit instead of reading them in overlapping windows.
        max_characters: Longer rows (text and pair together) are not explained but get the status "too long".
        prefix: Put before the names of the columns that are added.
        progress: Show a progress bar.

    Returns:
        A new frame, with the columns of `expnet.batch.added_columns` added, such as `label`, `words`, `scores` and
        `status`; lists are NumPy arrays, as `pandas.read_parquet` gives them. Where columns have several levels, they
        have these names in the first, and "" in the others.

    Raises:
        MissingExtraError: If pandas or pyarrow is not installed.
        InputError: If a column is missing, there twice, or has the name of one to be added; and whatever
            `Explainer.explain` raises for all texts.
        ModelError: If the model fails on any text.
    """
    require_extra("pandas", "pandas")
    require_extra("pyarrow", "pandas")
    import pandas as pd

    from expnet.batch.rows import check_columns, explain_sample
    from expnet.batch.settings import Settings

    if not isinstance(frame, pd.DataFrame):
        raise InputError(
            f"Expected a pandas frame, got {type(frame).__name__}: build one from a column "
            "of texts, or pass a list of them to Explainer.explain."
        )
    settings = Settings(
        text=text,
        pair=pair,
        target=target,
        target_column=target_column,
        against=against,
        classes=classes,
        method=method,
        options=options,
        seed=seed,
        truncate=truncate,
        max_characters=max_characters,
        prefix=prefix,
    )
    columns = list(frame.columns)
    # Where columns have several levels, the first alone chooses all columns below it.
    groups = dict.fromkeys(label[0] for label in columns) if frame.columns.nlevels > 1 else {}
    check_columns([*columns, *groups], settings, explainer.classifier.kind)
    if several := [name for name in settings.columns if columns.count(name) != 1]:
        below = [label for label in columns if label[0] == several[0]] if several[0] in groups else []
        advice = f"give one of {below}" if below else "rename or drop all but one"
        raise InputError(f"The frame has more than one column {several[0]!r}: {advice}.")
    explain_sample(explainer, settings)
    starts = range(0, max(1, len(frame)), _ROWS)  # an empty frame gets the columns, too
    parts = [
        _added(explainer, frame.iloc[start : start + _ROWS], settings)
        for start in track(starts, "explaining", show=progress)
    ]
    added = pd.concat(parts).set_axis(frame.index)
    if groups:
        rest = [""] * (frame.columns.nlevels - 1)
        added.columns = pd.MultiIndex.from_tuples([(name, *rest) for name in added.columns])
    added.columns.names = frame.columns.names
    return pd.concat([frame, added], axis=1)


def _added(explainer: Explainer, part: "pd.DataFrame", settings: "Settings") -> "pd.DataFrame":
    """Return the columns to add to some rows, in their order."""
    import pyarrow as pa

    from expnet.batch.added_columns import added_table
    from expnet.batch.rows import Chunk, explain_rows

    # Arrow cannot hold every column that pandas can; it only counts the rows.
    rows = pa.table({"": pa.array(range(len(part)), pa.int64())})
    columns = list(part.columns)
    cells = {name: _cells(part.iloc[:, columns.index(name)]) for name in settings.columns}
    outcomes = explain_rows(explainer, Chunk(rows, cells, {}), settings)
    added: pd.DataFrame = added_table(
        outcomes, settings.prefix, explainer.classifier.kind, every=settings.every
    ).to_pandas()
    return added


def _cells(column: "pd.Series[Any]") -> list[Any]:
    """Return the values as Python objects, None where one is missing."""
    from pandas.api.types import is_float_dtype

    if is_float_dtype(column.dtype):  # as pandas keeps whole numbers beside missing ones: 1 would come back as 1.0
        column = column.convert_dtypes()
    cells: list[Any] = column.astype(object).where(column.notna(), None).tolist()
    return cells
