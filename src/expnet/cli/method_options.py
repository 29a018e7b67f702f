"""Attribution methods and their options, as typed on a command line."""

from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_origin

from expnet.errors import InputError, OptionError, did_you_mean
from expnet.files.lines import texts

if TYPE_CHECKING:
    from expnet.methods.method import Method


def chosen_method(name: str, settings: Sequence[str] | None) -> tuple[str, dict[str, Any]]:
    """Return the one method that a command takes, with its options; see `chosen_methods`.

    Raises:
        InputError: If the name is "all"; also as `chosen_methods` does.
    """
    if name == "all":
        raise InputError("Expected one method, got 'all': run the command once for each, with an output of its own.")
    (method,) = chosen_methods([name], settings)
    return method


def chosen_methods(names: Sequence[str], settings: Sequence[str] | None) -> list[tuple[str, dict[str, Any]]]:
    """Return the methods named, each with those of the options that it has.

    Args:
        names: Names of methods; "all" alone stands for every method there is.
        settings: Options as NAME=VALUE.

    Raises:
        MethodError: If there is no such method.
        OptionError: If an option belongs to none of them, or its value cannot be read.
        InputError: If an option is not NAME=VALUE.
    """
    from expnet.methods.registry import find_method, list_methods

    methods = list_methods() if list(names) == ["all"] else [find_method(name) for name in dict.fromkeys(names)]
    pairs = [setting.partition("=") for setting in settings or ()]
    if wrong := ["".join(pair) for pair in pairs if not pair[1]]:
        raise InputError(f"Expected options as NAME=VALUE, got {wrong[0]!r}.")
    known = {option for method in methods for option in method.options}
    for option, _, _ in pairs:
        if option not in known:
            raise OptionError(
                f"No option {option!r} in {', '.join(method.name for method in methods)}."
                f"{did_you_mean(option, known)} Options: {', '.join(sorted(known)) or 'none'}."
            )
    return [
        (method.name, {option: _value(method, option, text) for option, _, text in pairs if option in method.options})
        for method in methods
    ]


def _value(method: "Method", option: str, text: str) -> Any:
    """Read a value as the option's type wants it; a list is the lines of a file."""
    types = get_args(annotation := method.options[option].annotation) or (annotation,)
    if str in types:  # Sequence[str]
        return _lines(option, Path(text))
    if get_origin(annotation) is Sequence:
        return _numbers(option, Path(text))
    if text in types:  # Literal
        return text
    if NoneType in types and text.lower() == "none":
        return None
    if bool in types and text.lower() in ("true", "false"):
        return text.lower() == "true"
    for number in (int, float):
        try:
            if number in types:
                return number(text)
        except ValueError:
            continue
    return text  # Method.check says what was expected


def _lines(option: str, path: Path) -> list[str]:
    if not path.is_file():
        raise OptionError(f"{option} is read from a file with one on each line, but there is no file {str(path)!r}.")
    return [line for line in texts(path) if line.strip()]


def _numbers(option: str, path: Path) -> list[float]:
    lines = _lines(option, path)
    try:
        return [float(line) for line in lines]
    except ValueError as error:
        raise OptionError(f"{option} is read from {path}, which must hold a number on each line: {error}.") from error
