"""What `expnet audit` reads besides texts, and what it says of records that it verified."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from expnet.errors import InputError
from expnet.explanation.escape import printable

if TYPE_CHECKING:
    from expnet.audit import AuditRecord, DecisionContext
    from expnet.audit.verifying import Difference


def stated_context(file: Path | None, previous: Path | None) -> "DecisionContext":
    """Read what is stated about a decision.

    Args:
        file: A .toml or .json file of statements.
        previous: The record of the decision before.

    Raises:
        InputError: If a file cannot be read or used, or both name a record before.
    """
    from expnet.audit import DecisionContext, hash_of, read_context

    stated = DecisionContext() if file is None else read_context(file)
    if previous is None:
        return stated
    if stated.previous is not None:
        raise InputError(f"{file} names the record before, and so does --previous: leave one of them out.")
    try:
        return replace(stated, previous=hash_of(record_content(previous)))
    except InputError as error:
        raise InputError(f"{previous}: {error}") from error


def record_content(path: Path) -> str:
    """Return the content of a record's file.

    Raises:
        InputError: If there is no such file, or it is not UTF-8.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: byte {error.start} cannot be read.") from error


def read_record(path: Path, content: str) -> "AuditRecord":
    """Return the record in a file.

    Raises:
        InputError: As `AuditRecord.from_json`, with the name of the file.
    """
    from expnet.audit import AuditRecord

    try:
        return AuditRecord.from_json(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def verdict(differences: "Sequence[Difference]", holds: str) -> str:
    """Return a line for each difference, and then what holds if none of them matters."""
    lines = [
        f"{'DIFFERS' if difference.matters else 'note'}  {difference.what}: "
        f"was {difference.was!r}, is {difference.now!r}"
        for difference in differences
    ]
    if not any(difference.matters for difference in differences):
        lines.append(holds)
    return printable("\n".join(lines))


def chain_holds(records: "Sequence[AuditRecord]") -> str:
    """Return a sentence on records whose hashes are as they should be."""
    before = records[0].context.previous
    start = "names none before it" if before is None else f"continues {before}"
    signed = sum(record.signature is not None for record in records)
    notes = f" Signatures, which expnet does not check: {signed}." if signed else ""
    if len(records) == 1:
        return f"The hash holds: the record is as it was written, and {start}.{notes}"
    return f"The chain holds: {len(records)} records, each with the hash of the one before; the first {start}.{notes}"
