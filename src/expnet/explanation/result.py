"""The frozen result: a text, its words with their scores, and what made them."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from expnet.errors import InputError, NonFiniteError
from expnet.explanation import html, latex, markdown, svg, terminal
from expnet.files.parsing import (
    ANYTHING,
    FLAG,
    TEXT,
    check_fields,
    listed,
    number,
    one_of,
    optional,
    parse_json,
    table,
    whole,
)
from expnet.text.labels import OutputKind, target_note
from expnet.text.texts import Text

SCHEMA = 1
_LONGEST = 2**31 - 1  # characters; the columns of files are 32 bits wide
_FIELDS = {
    "words": listed(ANYTHING),
    "text": TEXT,
    "pair": optional(TEXT),
    "label": TEXT,
    "method": TEXT,
    "signed": FLAG,
    "calibrated": FLAG,
    "windows": whole(0, _LONGEST),
    "threshold": optional(number()),
    "provenance": table(TEXT),
    "uses_target": FLAG,
    "against": optional(TEXT),
    "meaning": TEXT,
    "checked": TEXT,
}
_WORD_FIELDS = {
    "text": TEXT,
    "start": whole(0, _LONGEST),
    "end": whole(0, _LONGEST),
    "segment": one_of(0, 1),
    "score": number(),
    "seen": FLAG,
}
_DEFAULTS: Mapping[str, Any] = {
    "signed": False,
    "calibrated": False,
    "windows": 1,
    "threshold": None,
    "provenance": {},
    "uses_target": True,
    "against": None,
    "meaning": "",
    "checked": "",
}
# Left out of JSON where they are empty, as in files from before there were such fields.
_OPTIONAL = ("against", "meaning", "checked")
# The keys for `output` and `outputs` in JSON, so that a value cannot be mistaken for a probability.
_KEYS: dict[OutputKind, tuple[str, str]] = {
    "probability": ("probability", "probabilities"),
    "value": ("value", "values"),
}


@dataclass(frozen=True, slots=True)
class Word:
    """A word on the text and its attribution score.

    `start` and `end` are characters of the text (`segment` 0) or of its pair (1). `seen` is False where the
    model never read the word, because truncation was asked for; its score is then 0.
    """

    text: str
    start: int
    end: int
    segment: int
    score: float
    seen: bool = True


def scored(text: Text, scores: Sequence[float], read: tuple[int, int], *, method: str) -> tuple[Word, ...]:
    """Return the words of a text with their scores; every score that leaves an explainer passes here.

    Args:
        text: The text.
        scores: One for each of its words.
        read: How many characters of the text and of its pair the model read.
        method: What made the scores, for the error.

    Raises:
        NonFiniteError: If a score is NaN or infinite.
    """
    if infinite := sum(not math.isfinite(score) for score in scores):
        raise NonFiniteError(
            f"The method {method!r} returned NaN or infinity for {infinite} of {len(scores)} words. The weights of the "
            "model or of its explainer are damaged or too large, or their precision is too low."
        )
    return tuple(
        Word(text.word(span), span.start, span.end, span.segment, score, span.start < read[span.segment])
        for span, score in zip(text.words, scores, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Explanation:
    """Which words of one text made a classifier decide.

    Attributes:
        text: The text as given.
        pair: The second text of a pair, or None.
        words: Words in reading order, the text's before the pair's; none if the text is blank.
        label: Name of the class explained: the predicted one unless another target was asked for. Of a regression, the
            name of the output explained.
        output: The model's output for it: the probability of the class, in [0, 1], or the value of a regression, in
            its own units. `kind` says which.
        outputs: Every class name with its probability, which sum to 1 unless the classifier is multi-label; or every
            output of a regression with its value.
        method: Name of the attribution method.
        signed: Whether scores may be negative, that is, speak against `label`. If not, they only tell how much a
            word matters.
        calibrated: Whether scores lie in [0, 1] on one scale for every text; if not, only their proportions within
            the text mean something.
        windows: How many overlapping windows the text was read in; 1 if it fits the model.
        threshold: Score from which on a word counts as part of the rationale, or None if the method has none.
        provenance: Model, explainer, versions: everything needed to compute the same explanation again.
        kind: What the outputs are, "probability" or "value".
        uses_target: Whether the scores are those of `label`. If not, the method does not look at the class, and the
            scores are the same whichever class is asked for.
        against: The class against which `label` is explained (why the one rather than the other), or None.
        meaning: A sentence for readers: what a score measures, whether it has a sign, and whether it depends on the
            class; "" if the method does not say. Every rendering shows it.
        checked: The verdict of the explainer's check on this classifier, or that there is none; "" for other methods.
    """

    text: str
    pair: str | None
    words: tuple[Word, ...]
    label: str
    output: float
    outputs: Mapping[str, float]
    method: str
    signed: bool = False
    calibrated: bool = False
    windows: int = 1
    threshold: float | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    kind: OutputKind = "probability"
    uses_target: bool = True
    against: str | None = None
    meaning: str = ""
    checked: str = ""

    @property
    def question(self) -> str:
        """What is explained: the label, or the label rather than another."""
        return self.label if self.against is None else f"{self.label} rather than {self.against}"

    @property
    def probability(self) -> float:
        """The probability of the class explained, in [0, 1].

        Raises:
            InputError: If the model is a regression, which gives none.
        """
        self._check_kind()
        return self.output

    @property
    def probabilities(self) -> Mapping[str, float]:
        """Every class name with its probability.

        Raises:
            InputError: If the model is a regression, which gives none.
        """
        self._check_kind()
        return self.outputs

    def _check_kind(self) -> None:
        if self.kind == "value":
            raise InputError(
                f"The model is a regression: it gives {self.label!r} the value {self.output:.4g}, and no probability. "
                "Read `output` and `outputs`."
            )

    @property
    def target_note(self) -> str:
        """A sentence that says that the words do not depend on the class, or "" where they do or there is only one."""
        free = not self.uses_target and len(self.outputs) > 1
        return target_note([self.method], self.kind) if free else ""

    @property
    def truncated(self) -> bool:
        """Whether the model did not read all words."""
        return not all(word.seen for word in self.words)

    def top(self, k: int) -> tuple[Word, ...]:
        """Return the k words with the largest scores, largest first; of equals the first in the text."""
        return tuple(sorted(self.words, key=lambda word: -word.score)[:k])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; `from_dict` gives an equal explanation back.

        What the model says is under `probability` and `probabilities`, or, of a regression, `value` and `values`.
        """
        fields = {name: value for name, value in asdict(self).items() if value or name not in _OPTIONAL}
        keys = dict(zip(("output", "outputs"), _KEYS[fields.pop("kind")], strict=True))
        return {"schema": SCHEMA, **{keys.get(name, name): value for name, value in fields.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Explanation":
        """Read what `to_dict` wrote.

        Raises:
            InputError: If a field is missing, unknown or of another type, a figure is not finite,
                or the schema is another one.
        """
        given = dict(data)
        if (schema := given.pop("schema", None)) != SCHEMA:
            raise InputError(f"Expected an explanation of schema {SCHEMA}, got schema {schema!r}.")
        try:
            kind: OutputKind = "value" if "value" in given else "probability"
            one, every = _KEYS[kind]
            check_fields({**_DEFAULTS, **given}, {**_FIELDS, one: number(), every: table(number())})
            for word in given["words"]:
                check_fields({"seen": True, **word}, _WORD_FIELDS)
            given["words"] = tuple(Word(**word) for word in given["words"])
            return cls(kind=kind, output=given.pop(one), outputs=given.pop(every), **given)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"Not a valid explanation: {error}.") from error

    def to_json(self, *, indent: int | None = None) -> str:
        """Return one JSON object; without `indent` on one line."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Explanation":
        """Read what `to_json` wrote."""
        try:
            data = parse_json(text)
        except ValueError as error:
            raise InputError(f"Not valid JSON: {error}.") from error
        if not isinstance(data, dict):
            raise InputError(f"Expected a JSON object, got {type(data).__name__}.")
        return cls.from_dict(data)

    def to_html(self) -> str:
        """Return a fragment of HTML with inline styles, no script, everything escaped."""
        return html.fragment(self)

    def save_html(self, path: str | Path) -> None:
        """Write a complete page that opens offline."""
        Path(path).write_text(html.page([self]), encoding="utf-8")

    def to_svg(self) -> str:
        """Return a picture: an SVG document of plain shapes and text on white, its lines wrapped."""
        return svg.picture([self])

    def to_latex(self) -> str:
        r"""Return a piece of LaTeX in ASCII that needs `\usepackage{xcolor}` and nothing else."""
        return latex.fragment(self)

    def to_markdown(self) -> str:
        """Return a piece of Markdown: words shaded where styles are shown, and bold with their scores everywhere."""
        return markdown.fragment(self)

    def _repr_html_(self) -> str:
        return self.to_html()

    def __str__(self) -> str:
        return terminal.plain_or_coloured(self)
