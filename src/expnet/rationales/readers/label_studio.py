"""Label Studio's JSON and JSON-MIN exports."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from expnet.rationales.fields import items, name, objects, offsets_of, person
from expnet.rationales.files import json_elements
from expnet.rationales.offsets import Place, placed
from expnet.rationales.problems import Found, Problem, SourceRow, parsed
from expnet.rationales.readers.layout import LabelStudioResult, LabelStudioTask, Layout, find_layout
from expnet.rationales.readers.merge import Answer, Answers, merge
from expnet.rationales.readers.options import Options
from expnet.text.texts import Text
from expnet.text.words import Span

_MIN_FIELDS = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time")


def read_label_studio(path: Path, options: Options) -> Iterator[Found]:
    """Read an export: every span, whatever its own label; a single choice about the text is its label.

    Annotators are told apart by `completed_by`. Cancelled annotations and predictions of models do not count. Which
    field holds the text, or text and pair, the marks tell by what they quote and `to_name` by its name; see `Layout`.

    In JSON-MIN a choice is a string like any other. It is told by its place: Label Studio writes the fields of the
    task, `id`, what was annotated, `annotator`. Where fields are in another order nothing is read as a choice.
    """
    rows = list(json_elements(path))
    tasks = parsed(str(path), rows, lambda row: _task(row, options))
    layout = find_layout([item[1] for item in tasks if not isinstance(item, Problem)], options)

    def parse(place: Place) -> Iterator[tuple[int, Answers] | Problem]:
        return parsed(str(path), rows, lambda row: _answers(row, layout, place))

    answers = placed(parse, options.offsets, by_characters=False)
    return merge(path, answers, options.rule, told_by_marks=True)


def _answers(row: SourceRow, layout: Layout, place: Place) -> Answers:
    task = _task(row, layout.options)
    text = Text.of(*(task.data[field] for field in layout.of(task)))
    answers = []
    for who, results in task.people:
        spans: list[Span] = []
        labels: list[str] = []
        for result in results:
            if result.mark is not None and (segment := layout.segment(result.on, task)) is not None:
                spans.append(place(text, result.mark._replace(segment=segment)))
            elif result.choices and layout.is_label(result, task):
                labels += result.choices
        answers.append(Answer(who, tuple(spans), labels[0] if len(labels) == 1 else None))
    return Answers(
        name(row.fields, "id") or str(row.line),
        text,
        tuple(answers),
        part=layout.part if text.pair is not None else None,
    )


def _task(row: SourceRow, options: Options) -> LabelStudioTask:
    fields = row.fields
    done_in = next((name for name in ("annotations", "completions") if name in fields), None)  # before 1.0 the latter
    if done_in is None:
        return _min_task(fields, options)
    data = fields["data"] if isinstance(fields.get("data"), dict) else fields
    done = [item for item in objects(fields, done_in) if not item.get("was_cancelled")]
    return LabelStudioTask(
        _strings(data),
        [(person(item, "completed_by") or str(number), _results(item)) for number, item in enumerate(done, start=1)],
    )


def _results(item: dict[str, Any]) -> list[LabelStudioResult]:
    return [
        _result(result["value"], name(result, "to_name"), name(result, "from_name"))
        for result in objects(item, "result")
        if isinstance(result.get("value"), dict)  # others are relations between spans
    ]


def _min_task(fields: dict[str, Any], options: Options) -> LabelStudioTask:
    """Read a task of JSON-MIN: results by the name of their control, one annotation a row."""
    results = [
        _result(value, None, control)
        for control, answer in fields.items()
        for value in (answer if isinstance(answer, list) else [answer])
        if isinstance(value, dict) and (value is not answer or "choices" in value)
    ]
    places = {field: place for place, field in enumerate(fields)}
    start, end = places.get("id", len(places)), places.get("annotator", -1)
    strings = {field: value for field, value in _strings(fields).items() if field not in _MIN_FIELDS}
    choices = {field: value for field, value in strings.items() if start < places[field] < end}
    if len(choices) == len(strings) or choices.keys() & {"text", options.text}:  # the fields stand in another order
        choices = {}
    if options.choice in strings:
        choices[options.choice] = strings[options.choice]
    data = {field: value for field, value in strings.items() if field not in choices}
    results += [LabelStudioResult(None, control, None, (choice,)) for control, choice in choices.items()]
    return LabelStudioTask(data, [(person(fields, "annotator") or "1", results)])


def _result(value: dict[str, Any], about: str | None, control: str | None) -> LabelStudioResult:
    if "start" in value:  # choices made for a span say nothing of the text
        return LabelStudioResult(about, control, offsets_of(value, "start", "end", quote=value.get("text")), ())
    return LabelStudioResult(
        about, control, None, tuple(str(choice) for choice in items(value, "choices", "labels") or ())
    )


def _strings(data: dict[str, Any]) -> dict[str, str]:
    return {field: value for field, value in data.items() if isinstance(value, str)}
