"""What a record may say of a decision beyond what the model did: stated by whoever writes it, not computed."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from expnet.errors import InputError, did_you_mean
from expnet.files.parsing import Kind, check_fields, number, one_of, optional
from expnet.files.tables import SUFFIXES, parse_table, read_content

Automation = Literal["automatic", "confirmed", "advisory"]
_MOST = 10_000  # characters of a statement


def _written(described: str, pattern: str) -> Kind:
    return Kind(described, lambda value: isinstance(value, str) and bool(re.fullmatch(pattern, value)))


_STATEMENT = Kind(
    f"a string of 1 to {_MOST:,} characters", lambda value: isinstance(value, str) and 0 < len(value) <= _MOST
)
_HASH = _written("a SHA-256 in 64 digits 0-9a-f", "[0-9a-f]{64}")
_KINDS = {
    "previous": _HASH,
    "automation": one_of("automatic", "confirmed", "advisory"),
    "threshold": number(),
    "model_card_sha256": _HASH,
    "language": _written("a language tag such as 'en' or 'pt-BR'", "[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,8}"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionContext:
    """Statements about a decision; each may be left out.

    Attributes:
        id: Your name of the decision, such as a number in your own files.
        external_id: The name by which others know it: the person concerned, a court, another system.
        previous: The hash of the record before this one, which makes records a chain; see `check_chain`.
        automation: "automatic" if it took effect before a person looked at it, "confirmed" if a person had to confirm
            it, "advisory" if a person decided and the model's output was one input.
        threshold: From which probability, or value of a regression, on the action is taken.
        action: What was done.
        reviewer: The person or role who looked at it.
        override: What the reviewer decided instead, and why.
        purpose: What the model is used for here.
        model_card_sha256: Of the model's card or instructions for use, as they were.
        language: Of the text, as a language tag (BCP 47).
        legal_ground: The law or rule that the decision rests on.
        recourse: What the person concerned can do about it: where to complain, until when.
        retention: How long the record is kept: a date or a rule.

    Raises:
        InputError: If a value is of another type or range.
    """

    id: str | None = None
    external_id: str | None = None
    previous: str | None = None
    automation: Automation | None = None
    threshold: int | float | None = None
    action: str | None = None
    reviewer: str | None = None
    override: str | None = None
    purpose: str | None = None
    model_card_sha256: str | None = None
    language: str | None = None
    legal_ground: str | None = None
    recourse: str | None = None
    retention: str | None = None

    def __post_init__(self) -> None:
        _check({declared.name: getattr(self, declared.name) for declared in fields(self)})

    def to_dict(self) -> dict[str, Any]:
        """Return what is stated, as plain JSON types; what was left out is absent."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "DecisionContext":
        """Read what `to_dict` gave, or what somebody wrote.

        Raises:
            InputError: If a key is unknown, with the nearest one; or a value is of another type or range.
        """
        known = [declared.name for declared in fields(cls)]
        for name in data:
            if name not in known:
                hint = did_you_mean(name, known)
                raise InputError(f"Not a valid context: there is no key {name!r}.{hint} Keys: {', '.join(known)}.")
        _check(data)
        return cls(**data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A signature of a record's `sha256`, made and checked by other programs; expnet only keeps it.

    Attributes:
        algorithm: Such as "ed25519".
        key: Which key made it: a fingerprint or an address, never the secret key itself.
        value: The signature, as text.

    Raises:
        InputError: If one is empty or no string.
    """

    algorithm: str
    key: str
    value: str

    def __post_init__(self) -> None:
        try:
            check_fields(asdict(self), dict.fromkeys(("algorithm", "key", "value"), _STATEMENT))
        except ValueError as error:
            raise InputError(f"Not a valid signature: {error}.") from error


def read_context(path: Path) -> DecisionContext:
    """Read statements from a .toml or .json file.

    Raises:
        InputError: If it cannot be read, or as `DecisionContext.from_dict`.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"Expected a context that ends in {' or '.join(SUFFIXES)}, got {path}.")
    try:
        data = parse_table(path, read_content(path, kind="a context"), kind="a context")
    except OSError as error:
        raise InputError(f"The context {path} cannot be read: {error.strerror or error}.") from error
    try:
        return DecisionContext.from_dict(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _check(stated: Mapping[str, Any]) -> None:
    try:
        check_fields(stated, {name: optional(_KINDS.get(name, _STATEMENT)) for name in stated})
    except ValueError as error:
        raise InputError(f"Not a valid context: {error}.") from error
