"""Pages from templates: whatever goes into one is made printable and escaped."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from expnet.explanation.colour import amount, percent, shorten
from expnet.explanation.escape import printable


def environment(folder: Path) -> Environment:
    """Return the templates of a folder, and those that pages share.

    Only `Markup` goes in as it is; the filter `verbatim` escapes without changing what goes back into a form field.
    """
    templates = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent / "parts"]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"verbatim": _verbatim, "percent": percent, "amount": amount, "shorten": shorten}
    return templates


def _verbatim(text: str) -> Markup:
    return escape(text)


def _shown(value: object) -> object:
    return value if isinstance(value, Markup) else printable(str(value))
