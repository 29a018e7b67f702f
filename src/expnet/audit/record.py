"""The audit record of one decision: everything needed to understand it later and to compute it again."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from expnet.errors import InputError
from expnet.explainer import Explainer
from expnet.explanation.result import Explanation, Word
from expnet.files.parsing import (
    ANYTHING,
    FLAG,
    TEXT,
    Kind,
    check_fields,
    listed,
    number,
    optional,
    parse_json,
    table,
    whole,
)
from expnet.identity import models, sha256
from expnet.metrics.removal import Checked, check
from expnet.runtime.versions import versions
from expnet.text.labels import as_one_target, as_target
from expnet.text.texts import Text, as_text

KIND, SCHEMA = "expnet decision", 1
_LONGEST = 10_000_000  # characters of a text; a record without its text claims a length that nothing else limits
_TABLE = table(ANYTHING)
_FIELDS = {
    "created": TEXT,
    "text": _TABLE,
    "pair": optional(_TABLE),
    "asked": _TABLE,
    "explanation": _TABLE,
    "checks": listed(_TABLE),
    "unchecked": TEXT,
    "models": _TABLE,
    "trust": TEXT,
    "versions": table(TEXT),
}
_PART_FIELDS = {"sha256": TEXT, "characters": whole(0, _LONGEST), "content": optional(TEXT)}
_SEED = whole(-(2**63), 2**64 - 1)  # what a generator of torch takes
_CLASS = Kind("null, a class's name or its index", lambda value: optional(TEXT).fits(value) or _SEED.fits(value))
_ASKED_FIELDS = {
    "method": TEXT,
    "options": _TABLE,
    "seed": _SEED,
    "target": _CLASS,
    "truncate": FLAG,
    "count": whole(1, _LONGEST),
    "against": _CLASS,
}
_CHECKED_FIELDS = {"name": TEXT, "words": listed(TEXT), "full": number(), "without": number(), "alone": number()}
_BLANK = "\u00b7"  # stands for a character of a word that the record does not hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A text that went in: the hash of its UTF-8, its characters, and what it says unless that was left out."""

    sha256: str
    characters: int
    content: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How it was explained, as given to `Explainer.explain`; `count` top words were removed to check it."""

    method: str = "expnet"
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    target: str | int | None = None
    truncate: bool = False
    count: int = 3
    against: str | int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", as_one_target(self.target, holder="A record"))
        object.__setattr__(self, "against", None if self.against is None else as_target(self.against))


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One decision, its explanation, and the models and versions that made both.

    Attributes:
        created: When, in UTC, as ISO 8601.
        text: The text that was classified.
        pair: The second text of a pair.
        asked: How it was explained.
        explanation: Label, probabilities, words and scores. Without the texts each character of a word is a dot.
        checks: What happened without the top words, and with them alone; of random words last.
        unchecked: Why that was not checked, or "".
        models: Names and hashes of classifier, tokenizer and ExpNet, and where they ran.
        trust: How far the explainer is known to agree with people, in plain words.
        versions: Of the packages, Python and the platform.
        changed: Whether somebody edited the file after it was written.
    """

    created: str
    text: Part
    pair: Part | None
    asked: Asked
    explanation: Explanation
    checks: tuple[Checked, ...]
    unchecked: str
    models: Mapping[str, Any]
    trust: str
    versions: Mapping[str, str]
    changed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, as `decision.schema.json` beside this module describes them."""
        told = self.explanation.to_dict().items()
        explanation = {name: value for name, value in told if name not in ("text", "pair")}
        if self.text.content is None:
            explanation["words"] = [{**word, "text": None} for word in explanation["words"]]
        data = {"kind": KIND, "schema": SCHEMA, **asdict(self), "explanation": explanation}
        del data["changed"]
        if self.asked.against is None:  # as records from before there were contrasts, whose seal is of what they hold
            del data["asked"]["against"]
        data["checks"] = [asdict(check) | {"words": list(check.words)} for check in self.checks]
        return data | {"sha256": seal(data)}

    def to_json(self) -> str:
        """Return the record for a file; `from_json` gives an equal one back."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, content: str) -> "AuditRecord":
        """Read what `to_json` wrote; one that was edited since says so in `changed`.

        Raises:
            InputError: If it is not a record of a decision, has another schema, or a field is not valid.
        """
        try:
            data = parse_json(content)
        except ValueError as error:
            raise InputError(f"The record is not valid JSON: {error}.") from error
        header = (data.get("kind"), data.get("schema")) if isinstance(data, dict) else type(data).__name__
        if header != (KIND, SCHEMA):
            raise InputError(f"Expected a record of the kind {KIND!r}, schema {SCHEMA}; got {header}.")
        fields = {name: value for name, value in data.items() if name not in ("kind", "schema", "sha256")}
        changed = data.get("sha256") != seal(data)
        try:
            check_fields(fields, _FIELDS)
            record = cls(**{**fields, **_parsed(fields), "changed": changed})
            whole = json.loads(json.dumps(record.to_dict()))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise InputError(f"The record is damaged: {str(error).rstrip('.')}.") from error
        if not _covers(whole, data):  # fields that are not read could not be compared
            raise InputError("The record is damaged: it holds fields or values that records of this kind do not have.")
        return record


def record_decision(
    explainer: Explainer, text: str | Text, *, asked: Asked | None = None, keep_text: bool = True
) -> AuditRecord:
    """Predict, explain and check one text, and record what was used for it.

    Args:
        explainer: As from `expnet.load`.
        text: The text, or a pair.
        asked: How to explain it.
        keep_text: If False, the record holds hashes of the texts and the positions of their words, but no character.
            The hash of a short text can be guessed by trying texts.

    Raises:
        ExpnetError: As `Explainer.explain`.
    """
    asked, item = asked or Asked(), as_text(text)
    explanation = explainer.explain(
        item,
        method=asked.method,
        options=asked.options,
        seed=asked.seed,
        target=asked.target,
        against=asked.against,
        truncate=asked.truncate,
    )
    checks, unchecked = _checks(explainer, item, explanation, asked.count)
    whole = AuditRecord(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        text=_part(item.text),
        pair=None if item.pair is None else _part(item.pair),
        asked=asked,
        explanation=explanation,
        checks=checks,
        unchecked=unchecked,
        models=models(explainer),
        trust=trust(explainer, explanation),
        versions={**versions(), "python": platform.python_version(), "platform": platform.platform()},
    )
    return whole if keep_text else _without_text(whole)


def trust(explainer: Explainer, explanation: Explanation) -> str:
    """Return a sentence on how far explanations by this method are known to agree with people."""
    if explanation.threshold is None or explainer.network is None:
        return (
            f"The method “{explanation.method}” was not learned from people: nothing is known here of how often people "
            "would mark the words it names."
        )
    return explainer.trust


def seal(data: Mapping[str, Any]) -> str:
    """Return the hash of a record's other fields. It reveals careless edits; it is not a signature."""
    others = {name: value for name, value in data.items() if name != "sha256"}
    return sha256(json.dumps(others, sort_keys=True, separators=(",", ":"), ensure_ascii=True))


def _covers(read: Any, given: Any) -> bool:
    """Return whether every field given was read; an older record may lack a field that has a default."""
    if isinstance(read, Mapping) and isinstance(given, Mapping):
        return all(name == "sha256" or (name in read and _covers(read[name], given[name])) for name in given)
    if isinstance(read, list) and isinstance(given, list):
        return len(read) == len(given) and all(map(_covers, read, given))
    return bool(read == given)


def _checks(explainer: Explainer, text: Text, explanation: Explanation, count: int) -> tuple[tuple[Checked, ...], str]:
    try:
        return check(explainer.classifier, text, [explanation], count=count), ""
    except InputError as error:
        return (), str(error)


def _part(content: str) -> Part:
    return Part(sha256=sha256(content), characters=len(content), content=content)


def _without_text(record: AuditRecord) -> AuditRecord:
    """Leave out the texts and whatever repeats parts of them: words, and options that are lists of strings."""
    options = {
        name: {"sha256": sha256(json.dumps(value))} if isinstance(value, list | tuple) else value
        for name, value in record.asked.options.items()
    }
    pair = record.pair and replace(record.pair, content=None)
    return replace(
        record,
        text=replace(record.text, content=None),
        pair=pair,
        asked=replace(record.asked, options=options),
        explanation=_blanked(record.explanation, record.text, pair),
        checks=tuple(replace(check, words=()) for check in record.checks),
    )


def _blanked(explanation: Explanation, text: Part, pair: Part | None) -> Explanation:
    """Put dots for the characters of words and blanks for all others."""
    first = _dotted([word for word in explanation.words if word.segment == 0], text.characters)
    rest = [word for word in explanation.words if word.segment == 1]
    second = _dotted(rest, 0 if pair is None else pair.characters)
    words = tuple(replace(word, text=f"characters {word.start + 1}–{word.end}") for word in explanation.words)
    kept = {name: value for name, value in explanation.provenance.items() if name in ("classifier", "explainer")}
    return replace(explanation, text=first, pair=None if pair is None else second, words=words, provenance=kept)


def _dotted(words: Sequence[Word], characters: int) -> str:
    dots = bytearray(b" ") * characters
    for word in words:  # an edited record may say that one ends anywhere
        start, end = min(word.start, characters), min(word.end, characters)
        dots[start:end] = _BLANK.encode("latin-1") * (end - start)
    return dots.decode("latin-1")


def _parsed(fields: Mapping[str, Any]) -> dict[str, Any]:
    text = _part_of(fields["text"])
    pair = None if fields["pair"] is None else _part_of(fields["pair"])
    told = dict(fields["explanation"])
    if text.content is None:
        told["words"] = [{**word, "text": ""} for word in told["words"]]
    explanation = Explanation.from_dict({**told, "text": _content(text), "pair": pair and _content(pair)})
    check_fields({"against": None, **fields["asked"]}, _ASKED_FIELDS)  # older records had no contrasts
    for checked in fields["checks"]:
        check_fields(checked, _CHECKED_FIELDS)
    return {
        "text": text,
        "pair": pair,
        "asked": Asked(**fields["asked"]),
        "explanation": explanation if text.content is not None else _blanked(explanation, text, pair),
        "checks": tuple(Checked(**checked | {"words": tuple(checked["words"])}) for checked in fields["checks"]),
    }


def _part_of(told: Mapping[str, Any]) -> Part:
    check_fields(told, _PART_FIELDS)
    return Part(**told)


def _content(part: Part) -> str:
    return " " * part.characters if part.content is None else part.content
