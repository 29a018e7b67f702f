"""From what each annotator marked to one rationale, and from what each chose to one label."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from expnet.rationales.records import Annotation
from expnet.text.words import Span

Rule = Literal["union", "majority"]


def agree(annotations: Sequence[Annotation], rule: Rule) -> tuple[Span, ...] | None:
    """Return the characters that one annotator marked (union), or more than half of them did (majority).

    None where nobody annotated.
    """
    if not annotations:
        return None
    needed = 1 if rule == "union" else len(annotations) // 2 + 1
    spans: list[Span] = []
    for segment in (0, 1):
        votes: Counter[int] = Counter()
        for annotation in annotations:
            # A set, because an annotator's own marks may overlap.
            votes.update({at for s in annotation.spans if s.segment == segment for at in range(s.start, s.end)})
        spans += runs((at for at, count in votes.items() if count >= needed), segment)
    return tuple(spans)


def runs(offsets: Iterable[int], segment: int = 0) -> tuple[Span, ...]:
    """Join character offsets, in any order, into spans."""
    spans: list[Span] = []
    for at in sorted(set(offsets)):
        if spans and spans[-1].end == at:
            spans[-1] = Span(spans[-1].start, at + 1, segment)
        else:
            spans.append(Span(at, at + 1, segment))
    return tuple(spans)


def majority_label(annotations: Sequence[Annotation]) -> str | None:
    """Return the label that more than half of the annotators with a label chose, None where there is no such."""
    labels = Counter(annotation.label for annotation in annotations if annotation.label is not None)
    for label, count in labels.most_common(1):
        if count * 2 > labels.total():
            return label
    return None
