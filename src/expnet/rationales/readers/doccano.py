"""doccano's JSONL exports."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from expnet.rationales.fields import items, main_text, name, objects, offsets_of, person
from expnet.rationales.files import json_lines
from expnet.rationales.offsets import Mark, Place, placed
from expnet.rationales.problems import Found, Problem, RowError, SourceRow, parsed
from expnet.rationales.readers.merge import Answer, Answers, merge
from expnet.rationales.readers.options import Options
from expnet.text.texts import Text
from expnet.text.words import Span

_FIELDS = ("label", "labels", "entities")


def read_doccano(path: Path, options: Options) -> Iterator[Found]:
    """Read an export, or a folder of them: doccano writes a file for each annotator, named after them.

    A single category is the text's label: in `cats`, or as a name where marks stand otherwise. Older exports that name
    users in `annotations` are read, too. Files are joined by `id`, or by the text where there is none.
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]

    def parse(place: Place) -> Iterator[tuple[int, Answers] | Problem]:
        return chain.from_iterable(_examples(file, place, options.text) for file in files)

    answers = placed(parse, options.offsets, by_characters=False)
    return merge(path, answers, options.rule, told_by_marks=True)


def _examples(file: Path, place: Place, key: str | None) -> Iterator[tuple[int, Answers] | Problem]:
    who = file.name.split(".")[0]
    return parsed(str(file), json_lines(file), lambda row: _example(row, place, who, key))


def _example(row: SourceRow, place: Place, who: str, key: str | None) -> Answers:
    fields = row.fields
    text = Text.of(main_text(fields, key or ("data" if "data" in fields and "text" not in fields else "text")))
    spans: dict[str, list[Span]] = {}
    named: dict[str, list[str]] = {}
    for annotator, mark in _given(fields, who):
        spans.setdefault(annotator, [])
        named.setdefault(annotator, [])
        if isinstance(mark, Mark):
            spans[annotator].append(place(text, mark))
        elif mark is not None:
            named[annotator].append(mark)
    cats = [str(cat) for cat in items(fields, "cats", "labels") or []]
    answers = tuple(
        # A category in the place of marks: this row was to be sorted, not marked.
        Answer(
            annotator,
            None if named[annotator] and not spans[annotator] else tuple(spans[annotator]),
            _only(cats + named[annotator]),
        )
        for annotator in spans
    )
    return Answers(name(fields, "id") or text.text, text, answers)


def _given(fields: dict[str, Any], who: str) -> Iterator[tuple[str, Mark | str | None]]:
    """Yield annotators with each of their marks or categories, None to name one who may have given nothing."""
    if "annotations" in fields:
        for item in objects(fields, "annotations"):
            yield person(item, "user") or who, _mark(item)
        return
    field = next((field for field in _FIELDS if field in fields), None)
    if field is None:
        raise RowError("field", f"expected 'label', 'labels' or 'entities', got the fields {sorted(fields)}")
    yield who, None
    for item in items(fields, field, "[start, end, label]") or []:
        yield who, _mark(item)


def _mark(item: Any) -> Mark | str:
    """Return a mark, or the category that stands in its place."""
    if isinstance(item, str | int):
        return str(item)
    if isinstance(item, dict) and ("start_offset" in item or "label" not in item):
        return offsets_of(item, "start_offset", "end_offset", quote=item.get("text"))
    if isinstance(item, dict):
        return str(item["label"])
    if not isinstance(item, list) or len(item) != 3:
        raise RowError("marks", f"expected a mark as [start, end, label], got {item!r}")
    return offsets_of({"start": item[0], "end": item[1]}, "start", "end")


def _only(labels: list[str]) -> str | None:
    return labels[0] if len(labels) == 1 else None
