"""What commands read: texts from files and standard input, and lists of NAME=VALUE."""

import sys
from collections.abc import Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, cast

from expnet.errors import InputError
from expnet.files import lines

if TYPE_CHECKING:
    from expnet.rationales import Record
    from expnet.rationales.offsets import Offsets
    from expnet.text.prompts import Prompt
    from expnet.text.texts import Text
    from expnet.text.zero_shot import ZeroShot

_STDIN = "standard input"


def texts_of(path: Path, *, offsets: "Offsets" = "auto", text: str | None = None) -> "list[Text]":
    """Read texts as `records_of` does, and ignore their marks."""
    from expnet.rationales import Record

    items = records_of(path, offsets=offsets, text=text)
    return [item.text if isinstance(item, Record) else item for item in items]


def records_of(path: Path, *, offsets: "Offsets" = "auto", text: str | None = None) -> "list[Text | Record]":
    """Read texts from the lines of a .txt, or records from a file in any format of rationales.

    Args:
        path: The file. Blank lines of a .txt are skipped.
        offsets: What the offsets of marks count, as in `expnet.rationales.read`.
        text: The field with the text, as there.

    Raises:
        RationaleError: If the file or a text in it cannot be read.
    """
    from expnet.rationales import read
    from expnet.text.texts import Text

    if lines.is_text(path):
        return [Text.of(line) for line in lines.texts(path) if line.strip()]
    return list(read(path, offsets=offsets, text=text).records)


def standard_input_text() -> str:
    """Return all of standard input as one text, without a byte order mark.

    Raises:
        InputError: If it is a terminal, or not UTF-8.
    """
    _refuse_terminal()
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"Standard input is not UTF-8: byte {error.start} cannot be read.") from error


def standard_input_lines() -> list[str]:
    """Return the lines of standard input, blank ones too.

    Raises:
        InputError: If it is a terminal, empty, or not UTF-8.
    """
    _refuse_terminal()
    stream = cast(BufferedIOBase, sys.stdin.buffer)
    texts = [lines.decoded(line, _STDIN, number) for number, line in lines.split(stream, _STDIN)]
    if not texts:
        raise InputError("Standard input is empty; expected one text on each line.")
    return texts


def _refuse_terminal() -> None:
    if sys.stdin.isatty():
        raise InputError('There is no text: pass one, such as "A touching film.", or pipe it in.')


def by_name(values: Sequence[str], *, kind: str, names: Sequence[str]) -> dict[str, str]:
    """Read values given as NAME=VALUE.

    Args:
        values: As typed, such as "mine=folder".
        kind: What a value is, for the error: "explainer".
        names: The names there are.

    Raises:
        InputError: If one has no "=", or a name is repeated or not among `names`.
    """
    named = dict(value.split("=", 1) for value in values if "=" in value)
    if len(named) != len(values) or not named.keys() <= set(names):
        raise InputError(
            f"Expected {kind}s as NAME={kind.upper()}, each name once and one of {', '.join(names)}; "
            f"got {list(values)}."
        )
    return named


def lists_by_name(values: Sequence[str], *, kind: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Read values given as NAME=VALUE, several for a name; the arguments are those of `by_name`.

    Raises:
        InputError: If one has no "=", or a name is not among `names`.
    """
    lists: dict[str, list[str]] = {}
    for value in values:
        ((name, entry),) = by_name([value], kind=kind, names=names).items()
        lists.setdefault(name, []).append(entry)
    return lists


def prompt_of(
    path: Path | None,
    labels: Sequence[str] | None,
    zero_shot: Sequence[str] | None,
    hypothesis: str | None,
) -> "Prompt | ZeroShot | None":
    """Read the prompt of a language model, or the labels for one of natural language inference; None without either.

    Args:
        path: The prompt's file.
        labels: Words of labels as NAME=WORD, where the file lacks them.
        zero_shot: Labels.
        hypothesis: The template of their hypotheses.

    Raises:
        InputError: If a label has no "=" or comes twice, or as `as_prompt` and `zero_shot_of` do.
    """
    from expnet.text.prompts import as_prompt
    from expnet.text.zero_shot import zero_shot_of

    words = dict(label.split("=", 1) for label in labels or () if "=" in label)
    if len(words) != len(labels or ()):
        raise InputError(f"Expected labels as NAME=WORD, each name once; got {list(labels or ())}.")
    return as_prompt(path, words, zero_shot_of(zero_shot or None, hypothesis))
