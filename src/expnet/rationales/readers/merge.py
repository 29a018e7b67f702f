"""Rows that each hold one person's answer to a text, put together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from expnet.rationales.problems import Found, Problem
from expnet.rationales.records import Annotation, Record
from expnet.rationales.votes import Rule, agree, majority_label
from expnet.text.texts import Text
from expnet.text.words import Span


@dataclass(frozen=True, slots=True)
class Answer:
    """What one person said of a text; `spans` is None where that person was not asked for words."""

    annotator: str
    spans: tuple[Span, ...] | None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """A text with the answers of a row, and the label it came with; `part` as in `Record`."""

    id: str
    text: Text
    answers: tuple[Answer, ...] = ()
    label: str | None = None
    part: int | None = None


def merge(
    path: Path,
    items: Iterable[tuple[int, Answers] | Problem],
    rule: Rule,
    *,
    own_label: bool = False,
    told_by_marks: bool = False,
) -> Iterator[Found]:
    """Join rows with the same id and text into one record with all their annotations.

    Args:
        path: The file, for problems.
        items: Texts with the answers of one person, several, or none, with their lines; or problems.
        rule: How marks become one rationale.
        own_label: Count only annotators who chose the text's label; those of another marked reasons for that.
        told_by_marks: The file does not say what people were asked for: where nobody marked a word, nobody was asked.
    """
    groups: dict[str, list[tuple[int, Answers]]] = {}
    for item in items:
        if isinstance(item, Problem):
            yield item
            continue
        line, row = item
        group = groups.setdefault(row.id, [])
        if group and group[0][1].text != row.text:
            reason = f"the id {row.id!r} was used before, at line {group[0][0]}, for another text"
            yield Problem(str(path), line, reason, row.id, "id")
        else:
            group.append(item)
    asked = not told_by_marks or any(
        answer.spans for group in groups.values() for _, row in group for answer in row.answers
    )
    for group in groups.values():
        yield group[0][0], _joined([row for _, row in group], rule, own_label, asked)


def _joined(rows: Sequence[Answers], rule: Rule, own_label: bool, asked: bool) -> Record:
    answers = [answer for row in rows for answer in row.answers]
    annotations = named_apart(
        Annotation(answer.annotator, answer.spans, answer.label)
        for answer in answers
        if asked and answer.spans is not None
    )
    chosen = [Annotation(answer.annotator, (), answer.label) for answer in answers]
    label = next((row.label for row in rows if row.label is not None), None) or majority_label(chosen)
    counted = [a for a in annotations if a.label == label] if own_label else annotations
    return Record(rows[0].id, rows[0].text, label, agree(counted, rule), annotations, rows[0].part)


def named_apart(annotations: Iterable[Annotation]) -> tuple[Annotation, ...]:
    """Number the later answers of an annotator who annotated a text more than once."""
    apart: dict[str, Annotation] = {}
    for annotation in annotations:
        who, times = annotation.annotator, 1
        while who in apart:
            times += 1
            who = f"{annotation.annotator}#{times}"
        apart[who] = replace(annotation, annotator=who)
    return tuple(apart.values())
