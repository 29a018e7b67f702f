"""e-SNLI's tables: words between stars were highlighted (README of OanaMariaCamburu/e-SNLI)."""

from collections.abc import Iterator
from pathlib import Path

from expnet.rationales.fields import spelled, string
from expnet.rationales.files import csv_rows
from expnet.rationales.problems import Found, RowError, SourceRow, parsed
from expnet.rationales.records import Annotation, Record
from expnet.rationales.votes import Rule, agree
from expnet.text.texts import Text
from expnet.text.words import Span


def read_esnli(path: Path, rule: Rule) -> Iterator[Found]:
    """Read pairs with up to three annotators, called "1" to "3" as in the columns."""
    return parsed(str(path), csv_rows(path), lambda row: _record(row, rule))


def _record(row: SourceRow, rule: Rule) -> Record:
    text = Text.of(string(row.fields, "Sentence1"), string(row.fields, "Sentence2"))
    annotations = []
    for who in "123":
        marked = [row.fields.get(f"Sentence{part}_marked_{who}") or "" for part in "12"]
        if any(marked):  # the columns of a second and third annotator are empty in the training files
            spans = _starred(text.text, marked[0], 0) + _starred(text.pair or "", marked[1], 1)
            annotations.append(Annotation(who, spans))
    label = row.fields.get("gold_label") or None
    return Record(row.fields.get("pairID") or str(row.line), text, label, agree(annotations, rule), tuple(annotations))


def _starred(sentence: str, marked: str, segment: int) -> tuple[Span, ...]:
    """Return the words that stand between stars; a star may belong to the sentence itself."""
    words, given = sentence.split(), marked.split()
    if len(words) != len(given):
        raise RowError("tokens", f"{len(given)} words in the marked sentence, {len(words)} in the sentence")
    spans = []
    for word, star, span in zip(words, given, spelled(sentence, words).words, strict=True):
        if star == f"*{word}*":
            spans.append(span._replace(segment=segment))
        elif star != word:
            raise RowError("tokens", f"the marked sentence has {star!r} where the sentence has {word!r}")
    return tuple(spans)
