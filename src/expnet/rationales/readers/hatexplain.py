"""HateXplain's own file: `dataset.json`, posts by id, beside `post_id_divisions.json`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from expnet.errors import RationaleError
from expnet.rationales.fields import items, marked_words, name, objects, words
from expnet.rationales.files import json_elements
from expnet.rationales.problems import Found, RowError, SourceRow, parsed
from expnet.rationales.records import Annotation, Record
from expnet.rationales.votes import Rule, agree, majority_label
from expnet.text.texts import Text


def read_hatexplain(path: Path, rule: Rule) -> Iterator[Found]:
    """Read posts; their label is that of the majority, None where all three annotators differ.

    Posts labelled normal have no rationale, as in the authors' code: annotators mark nothing in a normal post.
    Marks belong to the annotators who chose another label, in their order. Many posts hold fewer marks than that;
    their annotators are called "1", "2", without a label.
    """
    return parsed(str(path), json_elements(path), lambda row: _record(row, rule))


def hatexplain_splits(path: Path) -> Mapping[str, Sequence[str]]:
    """Return the ids of each split of the authors, which leave out posts without a majority.

    Raises:
        RationaleError: If `post_id_divisions.json` is not beside the file, or cannot be read.
    """
    divisions = path.with_name("post_id_divisions.json")
    try:
        posts_of = json.loads(divisions.read_text(encoding="utf-8-sig"))
        return {split: [str(post) for post in posts] for split, posts in posts_of.items()}
    except (OSError, ValueError, RecursionError, AttributeError, TypeError) as error:
        raise RationaleError(f"The splits of {path} are in {divisions}, which cannot be read: {error}") from error


def _record(row: SourceRow, rule: Rule) -> Record:
    text = Text.from_words(words(row.fields, "post_tokens"))
    people = [(name(person, "annotator_id"), name(person, "label")) for person in objects(row.fields, "annotators")]
    if not people or any(label is None for _, label in people):
        raise RowError("label", "expected 'annotators' to hold people with their labels")
    label = majority_label([Annotation("", (), label) for _, label in people])
    marks = [marked_words(text, 0, flags, "rationales") for flags in items(row.fields, "rationales", "lists") or []]
    givers = [person for person in people if person[1] != "normal"]
    if len(marks) != len(givers):  # whose marks these are the file does not say
        givers = [(str(place), None) for place in range(1, len(marks) + 1)]
    annotations = tuple(Annotation(who or "", m, chosen) for (who, chosen), m in zip(givers, marks, strict=True))
    rationale = None if label == "normal" else agree(annotations, rule)
    return Record(row.key or name(row.fields, "post_id") or str(row.line), text, label, rationale, annotations)
