"""The columns that are added to a file or frame, declared once: name, type, and where a row's value comes from.

To add a column, add it to `added_columns`: shards, frames, the signature in MLflow and the checks of names follow from
it. The table in docs/how-to.md says what each column means.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import pyarrow as pa

from expnet.explanation.result import Explanation
from expnet.text.labels import OutputKind

OK, FAILED = "ok", "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row: its explanation, or a status other than "ok" and the reason.

    Where every class is explained, `classes` are their explanations, the most probable first, which is `explanation`.
    """

    status: str
    error: str | None = None
    explanation: Explanation | None = None
    classes: Sequence[Explanation] = ()


@dataclass(frozen=True, slots=True)
class AddedColumn:
    """A column that is added; `value` returns what it holds for a row, None for null."""

    name: str
    type: pa.DataType
    value: Callable[[Outcome], Any]


def added_columns(kind: OutputKind) -> tuple[AddedColumn, ...]:
    """Return the columns that are added, in their order.

    `starts` and `ends` are characters of the text, or of its pair (segment 1). Where the model is a regression the
    column `value` stands in place of `probability`. `uses_target` says whether the scores depend on `label`.

    Args:
        kind: What the model says.
    """
    return (
        AddedColumn("label", pa.string(), _explained(attrgetter("label"))),
        AddedColumn(kind, pa.float32(), _explained(attrgetter("output"))),
        AddedColumn("words", pa.list_(pa.string()), _each_word("text")),
        AddedColumn("starts", pa.list_(pa.int32()), _each_word("start")),
        AddedColumn("ends", pa.list_(pa.int32()), _each_word("end")),
        AddedColumn("segments", pa.list_(pa.int32()), _each_word("segment")),
        AddedColumn("scores", pa.list_(pa.float32()), _each_word("score")),
        AddedColumn("uses_target", pa.bool_(), _explained(attrgetter("uses_target"))),
        AddedColumn("truncated", pa.bool_(), _explained(attrgetter("truncated"))),
        AddedColumn("status", pa.string(), attrgetter("status")),
        AddedColumn("error", pa.string(), attrgetter("error")),
    )


def added_fields(prefix: str, kind: OutputKind, *, every: bool = False) -> list[pa.Field]:
    """Return names and types of the columns that are added.

    Args:
        prefix: Before each name.
        kind: What the model says.
        every: Whether every class is explained: then a column `classes` is added, too.
    """
    return [pa.field(prefix + column.name, column.type) for column in _columns(kind, every)]


def added_table(outcomes: Sequence[Outcome], prefix: str, kind: OutputKind, *, every: bool = False) -> pa.Table:
    """Return the added columns for some rows, without the columns of the input."""
    arrays = [pa.array(map(column.value, outcomes), column.type) for column in _columns(kind, every)]
    return pa.table(arrays, schema=pa.schema(added_fields(prefix, kind, every=every)))


def _columns(kind: OutputKind, every: bool) -> list[AddedColumn]:
    return [*added_columns(kind), *([_CLASSES] if every else [])]


def _ranked(explanations: Sequence[Explanation]) -> list[dict[str, Any]]:
    return [
        {"label": one.label, "probability": one.output, "scores": [word.score for word in one.words]}
        for one in explanations
    ]


# Of each class, the most probable first, the scores of `words`.
_CLASSES = AddedColumn(
    "classes",
    pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float32()), ("scores", pa.list_(pa.float32()))])),
    lambda outcome: _ranked(outcome.classes) if outcome.classes else None,
)


def _explained(value: Callable[[Explanation], Any]) -> Callable[[Outcome], Any]:
    """Return a getter that gives null for a row that was not explained."""
    return lambda outcome: None if outcome.explanation is None else value(outcome.explanation)


def _each_word(attribute: str) -> Callable[[Outcome], list[Any] | None]:
    get = attrgetter(attribute)
    return _explained(lambda explanation: [get(word) for word in explanation.words])
