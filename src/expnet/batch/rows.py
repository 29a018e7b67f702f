"""Explain the rows of a chunk of a file; every engine explains by these functions."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import pyarrow as pa

from expnet.batch.added_columns import FAILED, OK, Outcome, added_fields, added_table
from expnet.batch.settings import Settings
from expnet.errors import ExpnetError, InputError, ModelError, NonFiniteError, TextTooLongError, did_you_mean
from expnet.explainer import Explainer
from expnet.explainer.asking import asked_classes
from expnet.explanation.result import Explanation
from expnet.runtime.memory import bisect_on_error, exhausted
from expnet.text.labels import OutputKind, as_target
from expnet.text.texts import Text
from expnet.text.windows import in_chunks

# Rows explained in one call, which sorts them again by tokens; if one of them fails, all are tried again.
_TOGETHER = 256
# A model may fail on a single word: if it fails on one of these texts, the next, with other words, is tried.
_SAMPLES = ("A short text.", "Good", "1 2 3")
_ERROR_CHARACTERS = 500  # of an error that expnet did not raise, which may quote anything


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of a file.

    Attributes:
        table: All columns, to be kept.
        cells: The columns that are read, as the file has them: a text may be anything.
        problems: By row, why it could not be read.
    """

    table: pa.Table
    cells: Mapping[Hashable, Sequence[Any]]
    problems: Mapping[int, str]


def check_columns(names: Sequence[Hashable], settings: Settings, kind: OutputKind) -> None:
    """Refuse a table that lacks a column, or already has one of those to be added.

    Raises:
        InputError: With the nearest name, or what to do about it.
    """
    for name in settings.columns:
        if name not in names:
            hint = did_you_mean(name, names)
            raise InputError(f"There is no column {name!r}.{hint} Columns: {', '.join(map(str, names))}.")
    if taken := [
        field.name for field in added_fields(settings.prefix, kind, every=settings.every) if field.name in names
    ]:
        raise InputError(
            f"The input has columns that are to be added: {', '.join(taken)}. Choose a prefix for the added ones: "
            "--prefix expnet_ on the command line, prefix='expnet_' in Python."
        )


def explain_sample(explainer: Explainer, settings: Settings) -> Explanation:
    """Explain a short text, so that an error that every row would have is raised before the first.

    Raises:
        ModelError: If the model fails on every such text.
    """
    target = settings.target
    if settings.target_column is not None:  # each row names its own: any class that is not the other one
        other = None if settings.against is None else explainer.classifier.target_index(settings.against)
        target = 1 if other == 0 else 0
    failures: list[Exception] = []
    for text in _SAMPLES:
        try:
            return _explained(explainer, [explainer.classifier.example(text)], target, settings)[0][0]
        except Exception as error:
            if isinstance(error, ExpnetError) and not isinstance(error, NonFiniteError):
                raise
            failures.append(error)
    if isinstance(failures[0], ExpnetError):
        raise failures[0]
    raise ModelError(f"The model fails on any text, such as {_SAMPLES[0]!r}: {_reason(failures[0])}") from failures[0]


def explain_rows(explainer: Explainer, chunk: Chunk, settings: Settings) -> list[Outcome]:
    """Explain each row that can be explained; an error in one row does not affect the others.

    Texts of similar length and the same target are explained together, so that there is little padding.

    Raises:
        ModelError: If a row fails and a text that worked before fails, too: then the cause is not the row but, for
            example, a GPU that was lost.
    """
    outcomes: dict[int, Outcome] = {}
    requests: list[_ReadableRow] = []
    for row in range(chunk.table.num_rows):
        try:
            admitted = _admit(explainer, chunk, row, settings)
        except Exception as error:  # a value may be of any class, whose `str` may fail
            admitted = _failed(error)
        if isinstance(admitted, Outcome):
            outcomes[row] = admitted
        else:
            requests.append(admitted)
    requests.sort(key=lambda request: str(request.target))
    for _, same in groupby(requests, key=lambda request: request.target):
        group = list(same)
        for places in in_chunks([request.text for request in group], _TOGETHER):
            part = [group[place] for place in places]
            part_outcomes = _explain(explainer, part, settings)
            outcomes.update((request.row, outcome) for request, outcome in zip(part, part_outcomes, strict=True))
    if any(outcome.status == FAILED for outcome in outcomes.values()):
        explain_sample(explainer, settings)
    return [outcomes[row] for row in range(chunk.table.num_rows)]


def to_table(
    table: pa.Table, outcomes: Sequence[Outcome], prefix: str, kind: OutputKind, *, every: bool = False
) -> pa.Table:
    """Return the table with the columns that are added."""
    added = added_table(outcomes, prefix, kind, every=every)
    for field, column in zip(added.schema, added.columns, strict=True):
        table = table.append_column(field, column)
    return table


@dataclass(frozen=True, slots=True)
class _ReadableRow:
    row: int
    text: Text
    target: int | Literal["all"] | None


def _admit(explainer: Explainer, chunk: Chunk, row: int, settings: Settings) -> _ReadableRow | Outcome:
    if row in chunk.problems:
        return Outcome("unreadable", chunk.problems[row])
    text = chunk.cells[settings.text][row]
    pair = None if settings.pair is None else chunk.cells[settings.pair][row]
    target = settings.target if settings.target_column is None else chunk.cells[settings.target_column][row]
    if text is None:
        return Outcome("missing", f"The column {settings.text!r} is null.")
    for part in (text, "" if pair is None else pair):
        if not isinstance(part, str):
            return Outcome("invalid", f"Expected a string, got {type(part).__name__}: {str(part)[:60]!r}.")
    if (count := len(text) + len(pair or "")) > settings.max_characters:
        limit = f"max_characters, {settings.max_characters:,}"
        return Outcome("too long", f"{count:,} characters are more than {limit}: split the text, or raise the limit.")
    try:
        if settings.every:
            wanted: int | Literal["all"] | None = "all"
        else:
            wanted = explainer.classifier.output_index(None if target is None else as_target(target))
        asked_classes(explainer.classifier, wanted, against=settings.against, classes=settings.classes)
    except InputError as error:
        return Outcome("unknown target", str(error))
    try:
        return _ReadableRow(row, Text.of(text, pair), wanted)
    except InputError as error:
        return Outcome("invalid", str(error))


def _explain(explainer: Explainer, requests: Sequence[_ReadableRow], settings: Settings) -> list[Outcome]:
    """Explain rows together; on any error, bisect until it belongs to a single row."""

    def run(part: Sequence[_ReadableRow]) -> list[Outcome]:
        explained = _explained(explainer, [request.text for request in part], part[0].target, settings)
        return [Outcome(OK, explanation=ranked[0], classes=ranked) for ranked in explained]

    return bisect_on_error(run, requests, splits=lambda _: True, alone=lambda _, error: _failed(error))


def _explained(
    explainer: Explainer, texts: Sequence[Text], target: str | int | None, settings: Settings
) -> list[list[Explanation]]:
    """Return the explanations of each text: of one class, or of every class, the most probable first."""
    asked: dict[str, Any] = {name: getattr(settings, name) for name in ("method", "options", "seed", "truncate")}
    if settings.every:
        return explainer.explain(texts, target="all", classes=settings.classes, **asked)
    explanations = explainer.explain(texts, target=target, against=settings.against, **asked)
    return [[explanation] for explanation in explanations]


def _failed(error: Exception) -> Outcome:
    return Outcome(_status(error), _reason(error))


def _status(error: Exception) -> str:
    match error:
        case TextTooLongError():
            return "too long"
        case NonFiniteError():
            return "not finite"
        case InputError():
            return "invalid"
        case _:
            return "out of memory" if exhausted(error) else FAILED


def _reason(error: Exception) -> str:
    """Return an error's message as text that a file can hold, with the type of errors that expnet did not raise."""
    known = isinstance(error, ExpnetError)
    try:
        text = str(error) if known else f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS]
    except Exception:  # of any class, whose `str` may fail
        text = f"{type(error).__name__}, whose message cannot be read"
    return text.encode("utf-8", "backslashreplace").decode()
