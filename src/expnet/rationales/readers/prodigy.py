"""Prodigy's JSONL export."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from expnet.rationales.fields import items, main_text, name, objects, offsets_of, spelled, string
from expnet.rationales.files import json_lines
from expnet.rationales.offsets import Place, placed
from expnet.rationales.problems import Found, Problem, SourceRow, parsed
from expnet.rationales.readers.merge import Answer, Answers, merge
from expnet.rationales.readers.options import Options
from expnet.text.texts import Text
from expnet.text.words import Span

_MARKING = ("ner_manual", "spans_manual")  # views in which people mark words; a row without marks may have no `spans`
_CHOOSING = ("classification", "choice", "text", "html", "text_input")  # their spans are highlights of the program


def read_prodigy(path: Path, options: Options) -> Iterator[Found]:
    """Read the answers and join those to the same input; only accepted ones hold marks.

    Annotators are told apart by `_annotator_id`, else `_session_id`; the text's label is `label` or a single
    chosen option. A text that all rejected or ignored keeps its place, without a rationale. So does one whose people
    chose a label only: rows without `spans`, or of a view that shows spans and does not ask for them.
    """

    def parse(place: Place) -> Iterator[tuple[int, Answers] | Problem]:
        return parsed(str(path), json_lines(path), lambda row: _row(row, place, options.text or "text"))

    return merge(path, placed(parse, options.offsets, by_characters=True), options.rule)


def _row(row: SourceRow, place: Place, key: str) -> Answers:
    fields = row.fields
    text = Text.of(main_text(fields, key))
    tokens = objects(fields, "tokens")
    if tokens:
        text = spelled(text.text, [string(token, "text") for token in tokens])
    who = name(fields, "_annotator_id") or name(fields, "_session_id") or "1"
    answers: tuple[Answer, ...] = ()
    if fields.get("answer", "accept") == "accept":
        options = items(fields, "accept", "options") or []
        label = name(fields, "label") or (str(options[0]) if len(options) == 1 else None)
        answers = (Answer(who, _marks(fields, text, place, bool(tokens)), label),)
    return Answers(name(fields, "_input_hash") or text.text, text, answers)


def _marks(fields: Mapping[str, Any], text: Text, place: Place, tokenized: bool) -> tuple[Span, ...] | None:
    view = fields.get("_view_id")
    if view in _CHOOSING or (fields.get("spans") is None and view not in _MARKING):
        return None
    return tuple(
        place(text, offsets_of(span, "start", "end", quote=_quote(span, text, tokenized)))
        for span in objects(fields, "spans")
    )


def _quote(span: Mapping[str, Any], text: Text, tokenized: bool) -> str | None:
    """Return the text that the span is of, as the row quotes it or its tokens tell."""
    if isinstance(span.get("text"), str):
        return str(span["text"])
    first, last = span.get("token_start"), span.get("token_end")
    if tokenized and type(first) is int and type(last) is int and 0 <= first <= last < len(text.words):
        return text.text[text.words[first].start : text.words[last].end]
    return None
