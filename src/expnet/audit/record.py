"""The audit record of one decision: everything needed to understand it later and to compute it again."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from expnet.audit.blanked import blanked
from expnet.audit.context import DecisionContext, Signature
from expnet.errors import InputError
from expnet.explanation.result import Explanation
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
from expnet.identity import sha256
from expnet.metrics.removal import Checked
from expnet.text.labels import as_one_target, as_target

KIND, SCHEMA = "expnet decision", 2
_FORMER = 1  # the schema before there were `context` and `signature`
_BESIDE = ("sha256", "signature")  # fields that the seal does not cover
_LONGEST = 10_000_000  # characters of a text; a record without its text claims a length that nothing else limits
_TABLE = table(ANYTHING)
_FORMER_FIELDS = {
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
_FIELDS = {
    _FORMER: _FORMER_FIELDS,
    SCHEMA: {**_FORMER_FIELDS, "context": _TABLE, "signature": optional(_TABLE)},
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
        context: What whoever wrote it states about the decision. Nothing of it is computed.
        signature: Of the record's `sha256`, made elsewhere; it may be added to a written record.
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
    context: DecisionContext = field(default_factory=DecisionContext)
    signature: Signature | None = None
    changed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, as `decision.schema.json` beside this module describes them."""
        told = self.explanation.to_dict().items()
        explanation = {name: value for name, value in told if name not in ("text", "pair")}
        if self.text.content is None:
            explanation["words"] = [{**word, "text": None} for word in explanation["words"]]
        data = {"kind": KIND, "schema": SCHEMA, **asdict(self), "explanation": explanation}
        del data["changed"], data["signature"], data["context"]
        if stated := self.context.to_dict():
            data["context"] = stated
        if self.asked.against is None:  # as records from before there were contrasts, whose seal is of what they hold
            del data["asked"]["against"]
        data["checks"] = [asdict(check) | {"words": list(check.words)} for check in self.checks]
        data["sha256"] = seal(data)
        return data if self.signature is None else data | {"signature": asdict(self.signature)}

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
        if header not in ((KIND, _FORMER), (KIND, SCHEMA)):
            raise InputError(f"Expected a record of the kind {KIND!r}, schema {_FORMER} or {SCHEMA}; got {header}.")
        fields = {name: value for name, value in data.items() if name not in ("kind", "schema", "sha256")}
        if data["schema"] == SCHEMA:
            fields = {"context": {}, "signature": None} | fields
        changed = data.get("sha256") != seal(data)
        try:
            check_fields(fields, _FIELDS[data["schema"]])
            record = cls(**{**fields, **_parsed(fields), "changed": changed})
            whole = json.loads(json.dumps(record.to_dict()))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise InputError(f"The record is damaged: {str(error).rstrip('.')}.") from error
        if not _covers({**whole, "schema": data["schema"]}, data):  # fields that are not read could not be compared
            raise InputError("The record is damaged: it holds fields or values that records of this kind do not have.")
        return record


def seal(data: Mapping[str, Any]) -> str:
    """Return the hash of a record's fields but itself and a signature of it. It reveals careless edits, no more."""
    others = {name: value for name, value in data.items() if name not in _BESIDE}
    return sha256(json.dumps(others, sort_keys=True, separators=(",", ":"), ensure_ascii=True))


def _covers(read: Any, given: Any) -> bool:
    """Return whether every field given was read; an older record may lack a field that has a default."""
    if isinstance(read, Mapping) and isinstance(given, Mapping):
        return all(name == "sha256" or (name in read and _covers(read[name], given[name])) for name in given)
    if isinstance(read, list) and isinstance(given, list):
        return len(read) == len(given) and all(map(_covers, read, given))
    return bool(read == given)


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
        "explanation": explanation if text.content is not None else blanked(explanation, _lengths(text, pair)),
        "checks": tuple(Checked(**checked | {"words": tuple(checked["words"])}) for checked in fields["checks"]),
        "context": DecisionContext.from_dict(fields.get("context", {})),
        "signature": _signature_of(fields.get("signature")),
    }


def _part_of(told: Mapping[str, Any]) -> Part:
    check_fields(told, _PART_FIELDS)
    return Part(**told)


def _signature_of(told: Mapping[str, Any] | None) -> Signature | None:
    if told is None:
        return None
    check_fields(told, dict.fromkeys(("algorithm", "key", "value"), TEXT))
    return Signature(**told)


def _lengths(text: Part, pair: Part | None) -> list[int]:
    return [part.characters for part in (text, pair) if part]


def _content(part: Part) -> str:
    return " " * part.characters if part.content is None else part.content
