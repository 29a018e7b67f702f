"""Records in a chain: each holds the hash of the one before, so that none can be left out or put in unnoticed."""

from collections.abc import Sequence

from expnet.audit.record import AuditRecord, seal
from expnet.audit.verifying import Difference
from expnet.errors import InputError
from expnet.files.parsing import parse_json


def hash_of(content: str) -> str:
    """Return the hash of a written record, which the next record of a chain holds as `DecisionContext.previous`.

    Args:
        content: The record's JSON.

    Raises:
        InputError: If it is not a record of a decision, or was edited after it was written.
    """
    if AuditRecord.from_json(content).changed:
        raise InputError("The record was edited after it was written: its hash no longer identifies it.")
    return seal(parse_json(content))


def check_chain(contents: Sequence[str]) -> list[Difference]:
    """Compare what each record but the first says of the one before with that record, as it is now.

    Args:
        contents: The JSON of the records, in their order. The first may continue a chain that is not given.

    Returns:
        What differs: records that were edited, and hashes of other records or of none; nothing if the chain holds.

    Raises:
        InputError: As `AuditRecord.from_json`.
    """
    records = [AuditRecord.from_json(content) for content in contents]
    hashes = [seal(parse_json(content)) for content in contents]
    differences = list[Difference]()
    for number, record in enumerate(records, start=1):
        if record.changed:
            differences.append(Difference(f"record {number}", "as it was written", "edited since"))
        before = hashes[number - 2] if number > 1 else record.context.previous
        if record.context.previous != before:
            stated = record.context.previous or "nothing"
            differences.append(Difference(f"previous of record {number}", stated, before))
    return differences
