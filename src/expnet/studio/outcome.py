"""What a training brought, saved beside the marks: a page shows it after a restart, too."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from expnet.errors import InputError
from expnet.explanation.result import Explanation, Word
from expnet.files.atomic import write_atomic
from expnet.files.parsing import ANYTHING, TEXT, check_fields, listed, number, one_of, parse_json, table, whole
from expnet.metrics import Estimate
from expnet.studio.comparing import Agreement, MetricChange
from expnet.studio.together import SOURCES, Source

_SCHEMA = 1
_MOST = 2**31
_SHARE = number(0, 1)
_PLAIN = ("at", "annotator", "model", "output", "marked", "seconds", "source")
_FIELDS = {
    "schema": one_of(_SCHEMA),
    **dict.fromkeys(("at", "annotator", "model", "output"), TEXT),
    "labels": listed(TEXT),
    "marked": whole(0, _MOST),
    "seconds": number(0),
    "pairs": listed(table(ANYTHING)),
    "agreement": ANYTHING,
    "source": one_of(*SOURCES),
}
_AGREEMENT = {**dict.fromkeys(("texts", "better", "worse"), whole(0, _MOST)), "figures": listed(table(ANYTHING), 1)}
_FIGURE = {"name": TEXT, "before": _SHARE, "after": _SHARE, "difference": table(ANYTHING)}
_ESTIMATE = {"mean": number(-1, 1), "n": whole(0, _MOST), "low": number(-1, 1), "high": number(-1, 1)}


@dataclass(frozen=True, slots=True)
class WordChange:
    """The score of a word before and after."""

    word: str
    before: float
    after: float

    @property
    def change(self) -> float:
        """After less before, in [-1, 1]."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class BeforeAndAfter:
    """A text without marks as it was explained before and is now, for the same class."""

    before: Explanation
    after: Explanation

    @property
    def words(self) -> tuple[WordChange, ...]:
        """The change of each word; none if the scores are not on one scale."""
        if not (self.before.calibrated and self.after.calibrated):
            return ()
        both = zip(self.before.words, self.after.words, strict=True)
        return tuple(WordChange(old.text, old.score, new.score) for old, new in both)

    @property
    def change(self) -> Explanation | None:
        """An explanation whose signed scores are the changes; None if the scores are not on one scale."""
        if not self.words:
            return None
        scores: list[Word] = [
            replace(word, score=change.change) for word, change in zip(self.after.words, self.words, strict=True)
        ]
        return replace(self.after, words=tuple(scores), method="change", signed=True, calibrated=False, threshold=None)


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training brought.

    Attributes:
        at: When there was a new explainer, in UTC as in ISO 8601.
        annotator: Who saw the explanations in `pairs`; they are hidden from others, whom they would lead.
        model: Name of the classifier.
        output: Folder of the new explainer.
        labels: Of the classifier.
        marked: How many marked texts it learned from.
        seconds: That the training took.
        pairs: Texts without marks, before and after.
        agreement: With the marks, before and after; None if that was not evaluated.
        source: Whose marks it learned from.
    """

    at: str
    annotator: str
    model: str
    output: str
    labels: tuple[str, ...]
    marked: int
    seconds: float
    pairs: tuple[BeforeAndAfter, ...]
    agreement: Agreement | None = None
    source: Source = "own"

    def changed_most(self, k: int) -> list[WordChange]:
        """Return up to k words whose scores changed most, the largest change first."""
        words = [word for pair in self.pairs for word in pair.words if word.change]
        return sorted(words, key=lambda word: -abs(word.change))[:k]

    def save(self, path: Path) -> None:
        """Write it as JSON.

        Raises:
            InputError: If the file cannot be written.
        """
        fields = {
            **{name: getattr(self, name) for name in _PLAIN},
            "labels": list(self.labels),
            "pairs": [{"before": pair.before.to_dict(), "after": pair.after.to_dict()} for pair in self.pairs],
            "agreement": self.agreement and asdict(self.agreement),
        }
        content = json.dumps({"schema": _SCHEMA, **fields}, ensure_ascii=False, indent=1, allow_nan=False)
        try:
            write_atomic(path, content.encode())
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error


def read_outcome(path: Path) -> TrainingResult | None:
    """Read what `save` wrote; None if there is no such file.

    Raises:
        InputError: If it cannot be read, or is something else.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeError) as error:
        raise InputError(f"{path} cannot be read: {error}. Move it away; Fit writes a new one.") from error
    try:
        return _outcome(parse_json(content))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not what Fit wrote: {error}. Move it away; Fit writes a new one.") from error


def _outcome(fields: Any) -> TrainingResult:
    fields = {"source": "own"} | fields if isinstance(fields, dict) else fields  # of before there was a choice
    _check(fields, _FIELDS)
    pairs = [
        BeforeAndAfter(Explanation.from_dict(pair["before"]), Explanation.from_dict(pair["after"]))
        for pair in fields["pairs"]
    ]
    for pair in pairs:
        spans = [[(word.start, word.end, word.segment) for word in one.words] for one in (pair.before, pair.after)]
        if (pair.before.text, pair.before.pair, spans[0]) != (pair.after.text, pair.after.pair, spans[1]):
            raise ValueError("two explanations are not of the same text")
    agreement = None if fields["agreement"] is None else _agreement(fields["agreement"])
    given = {name: fields[name] for name in fields if name not in ("schema", "labels", "pairs", "agreement")}
    return TrainingResult(**given, labels=tuple(fields["labels"]), pairs=tuple(pairs), agreement=agreement)


def _agreement(fields: Any) -> Agreement:
    _check(fields, _AGREEMENT)
    figures = []
    for figure in fields["figures"]:
        _check(figure, _FIGURE)
        _check(figure["difference"], _ESTIMATE)
        figures.append(MetricChange(**{**figure, "difference": Estimate(**figure["difference"])}))
    return Agreement(**{**fields, "figures": tuple(figures)})


def _check(fields: Any, kinds: Mapping[str, Any]) -> None:
    if not isinstance(fields, dict):
        raise TypeError(f"expected an object, got {type(fields).__name__}")
    check_fields(fields, kinds)
