"""Records of Argilla 2, as its SDK writes them to JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expnet.rationales.fields import main_text, name, objects, offsets_of, person, string
from expnet.rationales.files import json_elements
from expnet.rationales.offsets import Place, placed
from expnet.rationales.problems import Found, Problem, RowError, SourceRow, parsed
from expnet.rationales.readers.merge import Answer, Answers, merge
from expnet.rationales.readers.options import Options
from expnet.text.texts import Text


@dataclass(frozen=True, slots=True)
class _Questions:
    """The questions whose answers are spans, and the one whose answer is the text's label."""

    spans: frozenset[str]
    label: str | None


def read_argilla(path: Path, options: Options) -> Iterator[Found]:
    """Read what people answered: every span of every span question, and the answer to one question as the label.

    Annotators are told apart by `user_id`. Suggestions do not count: programs make them. The label is the answer to the
    only question that all answer with a string, or to the one that `options.choice` names. The export does not say
    which responses are drafts: leave these out as you export.
    """
    rows = list(json_elements(path))
    questions = _questions([row for row in rows if isinstance(row, SourceRow)], options)

    def parse(place: Place) -> Iterator[tuple[int, Answers] | Problem]:
        return parsed(str(path), rows, lambda row: _answers(row, questions, place, options))

    return merge(path, placed(parse, options.offsets, by_characters=False), options.rule)


def _questions(rows: Sequence[SourceRow], options: Options) -> _Questions:
    """Tell questions by their answers and suggestions in all rows: an empty list alone could be spans or labels."""
    answers: dict[str, list[Any]] = {}
    for row in rows:
        responses, suggestions = (row.fields.get(field) for field in ("responses", "suggestions"))
        for question, given in responses.items() if isinstance(responses, dict) else ():
            listed = given if isinstance(given, list) else []
            answers.setdefault(question, []).extend(item.get("value") for item in listed if isinstance(item, dict))
        for question, item in suggestions.items() if isinstance(suggestions, dict) else ():
            answers.setdefault(question, []).append(item.get("value") if isinstance(item, dict) else None)
    strings = [question for question, values in answers.items() if all(isinstance(value, str) for value in values)]
    return _Questions(
        spans=frozenset(question for question, values in answers.items() if any(map(_is_spans, values))),
        label=options.choice or (strings[0] if len(strings) == 1 else None),
    )


def _is_spans(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) and "start" in item for item in value)


def _answers(row: SourceRow, questions: _Questions, place: Place, options: Options) -> Answers:
    text = _text(_object(row, "fields"), options)
    people: dict[str, dict[str, Any]] = {}
    responses = _object(row, "responses")
    for question in responses:
        for item in objects(responses, question):
            people.setdefault(person(item, "user_id") or "1", {})[question] = item.get("value")
    answers = []
    for who, given in people.items():
        marked = [question for question in given if question in questions.spans]
        marks = [offsets_of(span, "start", "end") for question in marked for span in objects(given, question)]
        label = None if questions.label is None else name(given, questions.label)
        spans = tuple(place(text, mark) for mark in marks) if marked else None  # not asked, or nothing was answered
        answers.append(Answer(who, spans, label))
    part = None if text.pair is None else 0
    return Answers(name(row.fields, "id") or str(row.line), text, tuple(answers), part=part)


def _text(fields: dict[str, Any], options: Options) -> Text:
    strings = [field for field, value in fields.items() if isinstance(value, str)]
    only = strings[0] if len(strings) == 1 else "text"
    pair = None if options.pair is None else string(fields, options.pair)
    return Text.of(main_text(fields, options.text or only), pair)


def _object(row: SourceRow, field: str) -> dict[str, Any]:
    value = row.fields.get(field)
    if not isinstance(value, dict):
        raise RowError("field", f"expected {field!r} to be an object, got {type(value).__name__}")
    return value
