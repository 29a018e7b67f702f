"""Tables that people write by hand, as TOML or JSON: read whole, within a limit."""

import tomllib
from pathlib import Path
from typing import Any

from expnet.errors import InputError
from expnet.files.parsing import parse_json

MOST_BYTES = 1_000_000
SUFFIXES = (".toml", ".json")


def read_content(path: Path, *, kind: str) -> str:
    """Return the content of a small UTF-8 file, without a byte order mark.

    Args:
        path: The file.
        kind: What it should be, with its article, for the errors: "a prompt".

    Raises:
        OSError: If it cannot be opened.
        InputError: If it has more than 1,000,000 bytes, or is not UTF-8.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise InputError(f"{path} has more than {MOST_BYTES:,} bytes; expected {kind}.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: byte {error.start} cannot be read.") from error


def parse_table(path: Path, content: str, *, kind: str) -> dict[str, Any]:
    """Parse the content of a .toml file, or of any other as JSON.

    Raises:
        InputError: If it is neither, or not a table.
    """
    try:
        data = tomllib.loads(content) if path.suffix == ".toml" else parse_json(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid {path.suffix[1:].upper()}: {error}.") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} is not {kind}: expected an object, got a {type(data).__name__}.")
    return data
