"""One record: a text, its label, the spans that people marked, and who marked what."""

from collections.abc import Sequence
from dataclasses import dataclass

from expnet.errors import RationaleError
from expnet.text.texts import Text
from expnet.text.words import Span


@dataclass(frozen=True, slots=True)
class Annotation:
    """What one person marked, empty if nothing, and the label that person chose, None if unknown."""

    annotator: str
    spans: tuple[Span, ...]
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A text with its label and its rationale.

    `rationale` holds the marked character spans; None means that nobody annotated the text, an empty tuple
    that somebody did and marked nothing. `annotations` holds what each annotator marked, as far as that is known.
    `part` is 0 or 1 where people marked words of the text, or of its pair, only: the other part says nothing then.
    """

    id: str
    text: Text
    label: str | None = None
    rationale: tuple[Span, ...] | None = None
    annotations: tuple[Annotation, ...] = ()
    part: int | None = None

    def __post_init__(self) -> None:
        for spans in (self.rationale or (), *(annotation.spans for annotation in self.annotations)):
            for span in spans:
                self._check(span)

    def word_marks(self, spans: Sequence[Span] | None = None) -> tuple[bool, ...]:
        """Return for each word whether at least half of its characters are marked.

        Args:
            spans: The marks, such as those of one annotation; by default the record's rationale.

        Raises:
            RationaleError: If there are no spans and the record has no rationale, or a span lies outside the text.
        """
        if spans is None:
            spans = self.rationale
            if spans is None:
                raise RationaleError(f"Record {self.id!r} has no rationale.")
        else:
            for span in spans:
                self._check(span)
        marked = [bytearray(len(self.text.part(segment))) for segment in (0, 1)]
        for start, end, segment in spans:
            marked[segment][start:end] = b"1" * (end - start)
        return tuple(
            marked[segment].count(b"1", start, end) * 2 >= end - start for start, end, segment in self.text.words
        )

    def judged_words(self) -> tuple[bool, ...]:
        """Return for each word whether it stands in a part that people marked words of."""
        return tuple(self.part in (None, word.segment) for word in self.text.words)

    def _check(self, span: Span) -> None:
        length = len(self.text.part(span.segment))
        if not (0 <= span.start < span.end <= length and span.segment in (0, 1)):
            raise RationaleError(
                f"Record {self.id!r}: the mark {span.start}:{span.end} lies outside "
                f"{'the pair' if span.segment else 'the text'} of {length} characters. "
                "Marks are character offsets into the text as given, end exclusive."
            )
