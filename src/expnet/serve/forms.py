"""What pages have in common: forms that browsers send, and templates in which nothing given is markup."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from expnet.errors import InputError
from expnet.render.colour import percent, shorten
from expnet.render.escape import printable

_FIELDS = 200  # of a form; there are fewer methods


def read_form(body: bytes) -> Mapping[str, list[str]]:
    """Read the fields of a form as a browser sends them.

    Raises:
        InputError: If it is none.
    """
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS, errors="strict")
    except ValueError as error:
        raise InputError("This is no form: expected fields as a browser sends them, in UTF-8.") from error
    # Browsers send every line break as CR LF; what was typed, and what was shown, had LF.
    return {name: [value.replace("\r\n", "\n") for value in values] for name, values in fields.items()}


def last(fields: Mapping[str, list[str]], name: str, otherwise: str) -> str:
    """Return the last value of a field."""
    return fields.get(name, [otherwise])[-1]


def environment(folder: Path) -> Environment:
    """Return templates that escape what they are given, and spell out what would change its surroundings."""
    templates = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"verbatim": _verbatim, "percent": percent, "shorten": shorten}
    return templates


def _verbatim(text: str) -> Markup:
    """Escape what goes back into a form field, and so must not be changed."""
    return escape(text)


def _shown(value: object) -> object:
    return value if isinstance(value, Markup) else printable(str(value))
