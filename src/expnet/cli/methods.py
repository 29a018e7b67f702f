"""`expnet methods`: the table of attribution methods; and their options, as typed on a command line."""

import json
from collections.abc import Sequence
from dataclasses import fields
from enum import StrEnum
from inspect import getdoc
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from expnet.errors import InputError, OptionError, did_you_mean
from expnet.files.lines import texts

if TYPE_CHECKING:
    from expnet.methods.method import Method


_WIDE = 170  # characters of a terminal in which the whole table fits


class ListFormat(StrEnum):
    """How the table is shown."""

    terminal = "terminal"
    json = "json"


def methods(
    name: Annotated[str | None, typer.Argument(help="Show this method with its options.")] = None,
    format: Annotated[
        ListFormat, typer.Option(help="JSON is one array, or one object for one method.")
    ] = ListFormat.terminal,
) -> None:
    """List the attribution methods, with what they promise and cost."""
    from expnet.methods.registry import find_method, list_methods

    rows = list_methods() if name is None else (find_method(name),)
    if format is ListFormat.json:
        found = [_row(row) for row in rows]
        print(json.dumps(found if name is None else found[0], indent=1, ensure_ascii=False))
    elif name is None:
        _print_table(rows)
    else:
        _print_one(rows[0])


def chosen_methods(names: Sequence[str], given: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return each method named with those of the options that it has; "all" stands for the whole table.

    Raises:
        MethodError: If there is no such method.
        OptionError: If an option belongs to none of them, or its value cannot be read.
        InputError: If an option is not NAME=VALUE.
    """
    from expnet.methods.registry import find_method, list_methods

    chosen = list_methods() if list(names) == ["all"] else [find_method(name) for name in dict.fromkeys(names)]
    pairs = [item.partition("=") for item in given]
    if wrong := [item for item, (_, equals, _) in zip(given, pairs, strict=True) if not equals]:
        raise InputError(f"Expected options as NAME=VALUE, got {wrong[0]!r}.")
    known = {option for method in chosen for option in method.options}
    for option, _, _ in pairs:
        if option not in known:
            raise OptionError(
                f"No option {option!r} in {', '.join(method.name for method in chosen)}.{did_you_mean(option, known)} "
                f"Options: {', '.join(sorted(known)) or 'none'}."
            )
    return [
        (method.name, {option: _value(method, option, text) for option, _, text in pairs if option in method.options})
        for method in chosen
    ]


def _value(method: "Method", option: str, text: str) -> Any:
    """Read a value as the option's type wants it; a list of strings is the lines of a file."""
    kinds = get_args(annotation := method.options[option].annotation) or (annotation,)
    if str in kinds:  # Sequence[str]
        return _lines(option, Path(text))
    if text in kinds:  # Literal
        return text
    if NoneType in kinds and text.lower() == "none":
        return None
    if bool in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            if kind in kinds:
                return kind(text)
        except ValueError:
            continue
    return text  # Method.check says what was expected


def _lines(option: str, path: Path) -> list[str]:
    if not path.is_file():
        raise OptionError(f"{option} is read from a file, one text a line, but there is no file {str(path)!r}.")
    return [line for line in texts(path) if line.strip()]


def _row(method: "Method") -> dict[str, Any]:
    declared = {field.name: getattr(method, field.name) for field in fields(method) if field.name != "function"}
    return declared | {"options": {name: _default(parameter) for name, parameter in method.options.items()}}


def _default(parameter: Any) -> Any:
    return "required" if parameter.default is parameter.empty else parameter.default


def _print_table(rows: "Sequence[Method]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _WIDE)
    headers = ("method", "family", "signed", "target", "complete", "random", "passes", "paper")
    shown = None if console.width >= _WIDE else -1  # `expnet methods NAME` has the paper
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers[:shown]:
        table.add_column(header, no_wrap=header == "method", overflow="fold")
    for row in rows:
        flags = (row.signed, row.uses_target, row.complete, not row.deterministic)
        passes = row.forward if row.backward == "0" else f"{row.forward} + {row.backward} back"
        passes += "" if row.cost == "passes" else f", {row.cost}"
        cells = (row.name, row.family, *("yes" if flag else "" for flag in flags), passes, row.paper)
        table.add_row(*(Text(cell) for cell in cells[:shown]))
    console.print(table)


def _print_one(method: "Method") -> None:
    row = _row(method)
    options = row.pop("options")
    lines = [f"{key:14}{value}" for key, value in row.items() if value != ""]
    lines += ["", (getdoc(method.function) or "").split("\n\n")[0].replace("\n", " "), ""]
    from expnet.methods.method import describe

    for name, default in options.items():
        lines.append(f"--option {name}={default}    {describe(method.options[name].annotation)}")
    print("\n".join(lines).rstrip())
