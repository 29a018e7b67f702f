"""FairRationales' tables (SST, DynaSent, CoS-E): one person's answer a line."""

import re
from collections.abc import Iterator
from pathlib import Path

from expnet.rationales.fields import spelled, string
from expnet.rationales.files import csv_rows
from expnet.rationales.problems import Found, RowError, SourceRow, parsed
from expnet.rationales.readers.merge import Answer, Answers, merge
from expnet.rationales.votes import Rule

_NUMBER = re.compile(r" *(\d+)(?:\.0)? *")  # pandas wrote a single number as a fraction


def read_fair_rationales(path: Path, rule: Rule) -> Iterator[Found]:
    """Read answers and join those to the same text; annotators are called after their group, such as "BO".

    The label is the original set's. The rationale counts those who chose it too: others marked reasons for another.
    Words are split at white space, as the marks count them.
    """
    return merge(path, parsed(str(path), csv_rows(path), _answer), rule, own_label=True)


def _answer(row: SourceRow) -> Answers:
    sentence = string(row.fields, "sentence")
    text = spelled(sentence, sentence.split())
    label, original = string(row.fields, "label"), string(row.fields, "original_label")
    if re.fullmatch("[A-E]", original):  # CoS-E: the letter of an answer, but annotators' answers in words
        chosen = _numbers(row, "label_index")
        label = "ABCDE"[chosen[0] - 1] if len(chosen) == 1 and 1 <= chosen[0] <= 5 else label
    spans = tuple(text.words[place] for place in _places(row, len(text.words)))
    answer = Answer(row.fields.get("participant_id") or string(row.fields, "group_id"), spans, label)
    return Answers(string(row.fields, "text_id"), text, (answer,), original)


def _places(row: SourceRow, words: int) -> list[int]:
    """Return the marked words, counted from 0; raw files (without `rationale_binary`) count from 1."""
    places = _numbers(row, "rationale_index")
    if "rationale_binary" not in row.fields:
        places = [place - 1 for place in places]
    else:
        flags = _numbers(row, "rationale_binary")
        if len(flags) != words:
            raise RowError("marks", f"'rationale_binary' holds {len(flags)} marks for {words} words")
        if sorted(set(places)) != [place for place, flag in enumerate(flags) if flag]:
            raise RowError("marks", "'rationale_index' and 'rationale_binary' mark different words")
    if outside := [place for place in places if not 0 <= place < words]:
        raise RowError("marks", f"the mark on word {outside[0]} lies outside the text of {words} words")
    return places


def _numbers(row: SourceRow, field: str) -> list[int]:
    written = string(row.fields, field).strip(" []")
    matches = [_NUMBER.fullmatch(number) for number in written.split(",")] if written else []
    if not all(matches):
        raise RowError("marks", f"expected numbers in {field!r}, got {written[:40]!r}")
    return [int(number[1]) for number in matches if number]
