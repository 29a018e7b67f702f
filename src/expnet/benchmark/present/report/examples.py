"""Texts with the words that people marked and the scores of several methods, which a run writes beside its rows."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expnet.errors import BenchmarkError, InputError
from expnet.explanation.result import Explanation, Word
from expnet.files.lines import texts

PEOPLE = "people"


@dataclass(frozen=True, slots=True)
class ReportExample:
    """A text of a set as explanations side by side, those of people first; `why` it was chosen."""

    set: str
    why: str
    explanations: tuple[Explanation, ...]


def read_examples(path: str | Path) -> list[ReportExample]:
    """Read a JSON object a line: set, why, text, pair, label, words, marked, scores, average_precision.

    `words` stand in the text, then in the pair, in reading order, or all in the pair; `marked` and each list of
    `scores` has an entry for every word.

    Raises:
        BenchmarkError: If the file cannot be read, a key is missing, or lengths or words do not fit.
    """
    try:
        lines = list(texts(Path(path)))
    except InputError as error:
        raise BenchmarkError(f"The examples cannot be read: {error}") from error
    examples = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                examples.append(_example(json.loads(line)))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                what = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
                raise BenchmarkError(f"Line {number} of {path} is not an example: {what}") from error
    return examples


def _example(data: Mapping[str, Any]) -> ReportExample:
    words, spans = data["words"], _spans(data["words"], data["text"], data["pair"])
    marks = [float(mark) for mark in data["marked"]]
    explanations = [_explanation(data, PEOPLE, words, spans, marks, calibrated=True)]
    for method, scores in data["scores"].items():
        precision = data["average_precision"].get(method)
        # In front, as a long name is cut at its end.
        name = method if precision is None or math.isnan(precision) else f"{precision:.2f} {method}"
        explanations.append(_explanation(data, name, words, spans, scores, calibrated=False))
    return ReportExample(data["set"], data["why"], tuple(explanations))


def _explanation(
    data: Mapping[str, Any],
    method: str,
    words: Sequence[str],
    spans: Sequence[tuple[int, int, int]],
    scores: Sequence[float],
    *,
    calibrated: bool,
) -> Explanation:
    if len(scores) != len(words):
        raise ValueError(f"{method!r} has {len(scores)} scores for {len(words)} words")
    scored = tuple(
        Word(word, start, end, segment, float(score))
        for word, (segment, start, end), score in zip(words, spans, scores, strict=True)
    )
    return Explanation(
        text=data["text"],
        pair=data["pair"],
        words=scored,
        label=str(data["label"]),
        output=float("nan"),
        outputs={},
        method=method,
        signed=any(word.score < 0 for word in scored),
        calibrated=calibrated,
    )


def _spans(words: Sequence[str], text: str, pair: str | None) -> list[tuple[int, int, int]]:
    """Return segment, start and end of each word. Words of both parts never fit into the pair alone."""
    orders = [[(0, text)]] if pair is None else [[(1, pair)], [(0, text), (1, pair)]]
    for parts in orders:
        if (spans := _spans_within(words, parts)) is not None:
            return spans
    raise ValueError(f"its words, first {list(words[:5])}, do not stand in its text in this order")


def _spans_within(words: Sequence[str], parts: Sequence[tuple[int, str]]) -> list[tuple[int, int, int]] | None:
    spans, part, at = [], 0, 0
    for word in words:
        while part < len(parts) and (start := parts[part][1].find(word, at)) < 0:
            part, at = part + 1, 0
        if part == len(parts):
            return None
        at = start + len(word)
        spans.append((parts[part][0], start, at))
    return spans
