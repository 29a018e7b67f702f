"""ToxicSpans' tables: SemEval-2021 task 5 (`spans`, `text`), and the ACL 2022 release (`text_of_post`)."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from expnet.rationales.fields import string
from expnet.rationales.files import csv_rows
from expnet.rationales.offsets import Mark, Place, placed
from expnet.rationales.problems import Found, RowError, SourceRow, parsed
from expnet.rationales.readers.options import Options
from expnet.rationales.records import Record
from expnet.rationales.votes import Rule, runs
from expnet.text.texts import Text


def read_toxic_spans(path: Path, options: Options) -> Iterator[Found]:
    """Read posts, all of them labelled "toxic"; their ids are the lines where they start.

    The SemEval files hold marks that the organisers merged, so that there is no rule to apply. The later
    release gives each character the share of raters who marked it: any for "union", more than half for "majority".
    """

    def parse(place: Place) -> Iterator[Found]:
        return parsed(str(path), csv_rows(path), lambda row: _record(row, options.rule, place))

    return placed(parse, options.offsets, by_characters=True)


def _record(row: SourceRow, rule: Rule, place: Place) -> Record:
    if "text_of_post" in row.fields:
        text = Text.of(string(row.fields, "text_of_post"))
        shares = _literal(row, "position_probability")
        if not isinstance(shares, dict) or not all(isinstance(share, int | float) for share in shares.values()):
            raise RowError("marks", "expected 'position_probability' to hold a share for each marked character")
        offsets: Any = [at for at, share in shares.items() if share > (0 if rule == "union" else 0.5)]
    else:
        text = Text.of(string(row.fields, "text"))
        offsets = _literal(row, "spans")
    if not isinstance(offsets, list) or not all(type(at) is int for at in offsets):
        raise RowError("marks", f"expected a list of character offsets, got {str(offsets)[:40]!r}")
    spans = tuple(place(text, Mark(start, end)) for start, end, _ in runs(offsets))
    return Record(str(row.line), text, "toxic", spans)


def _literal(row: SourceRow, field: str) -> Any:
    written = string(row.fields, field)
    try:
        return ast.literal_eval(written)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise RowError("marks", f"{field!r} cannot be read: {written[:40]!r}") from error
