"""`expnet methods`: the table of attribution methods."""

import json
from collections.abc import Sequence
from dataclasses import fields
from enum import StrEnum
from inspect import getdoc
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expnet.cli.outputs import print_table

if TYPE_CHECKING:
    from expnet.methods.method import Method


class ListFormat(StrEnum):
    """How the table is shown."""

    terminal = "terminal"
    json = "json"


def methods(
    name: Annotated[str | None, typer.Argument(help="Show only this method, with its options.")] = None,
    format: Annotated[
        ListFormat, typer.Option(help="json prints an array, or one object if a method is named.")
    ] = ListFormat.terminal,
    long: Annotated[
        bool, typer.Option("--long", help="Show every column, even where the terminal is too narrow for them.")
    ] = False,
) -> None:
    """List the attribution methods: what they promise, and what they cost."""
    from expnet.methods.registry import find_method, list_methods

    chosen = list_methods() if name is None else (find_method(name),)
    if format is ListFormat.json:
        plain = [_plain(method) for method in chosen]
        print(json.dumps(plain if name is None else plain[0], indent=1, ensure_ascii=False))
    elif name is None:
        _print_all(chosen, long=long)
    else:
        _print_one(chosen[0])


def _plain(method: "Method") -> dict[str, Any]:
    """Return a method's declaration as JSON has it, with the defaults of its options."""
    declared = {field.name: getattr(method, field.name) for field in fields(method) if field.name != "function"}
    return declared | {"options": {name: _default(parameter) for name, parameter in method.options.items()}}


def _default(parameter: Any) -> Any:
    return "required" if parameter.default is parameter.empty else parameter.default


def _print_all(methods: "Sequence[Method]", *, long: bool) -> None:
    header = ("method", "family", "signed", "target", "complete", "random", "passes", "paper")
    narrow = ("paper", "family", "complete", "random", "signed", "target")
    left_out = print_table(header, [_cells(method) for method in methods], optional=narrow, long=long)
    if left_out:
        print(
            f"\nNo room here for {', '.join(left_out)}.\n"
            "`expnet methods --long` shows every column, `expnet methods NAME` one method."
        )


def _cells(method: "Method") -> tuple[str, ...]:
    flags = (method.signed, method.uses_target, method.complete, not method.deterministic)
    return (method.name, method.family, *("yes" if flag else "" for flag in flags), method.told_cost, method.paper)


def _print_one(method: "Method") -> None:
    from expnet.methods.method import describe

    declared = _plain(method)
    options = declared.pop("options")
    lines = [f"{key:14}{value}" for key, value in declared.items() if value != ""]
    lines += ["", (getdoc(method.function) or "").split("\n\n")[0].replace("\n", " "), ""]
    for name, default in options.items():
        lines.append(f"--option {name}={default}    {describe(method.options[name].annotation)}")
    print("\n".join(lines).rstrip())
