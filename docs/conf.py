"""The documentation site: sphinx-build -W --keep-going -b html docs SITE."""

import json
import re
from pathlib import Path
from typing import Any

import typer.main
from sphinx.application import Sphinx
from typer.cli import get_docs_for_click

import expnet
from expnet.cli.app import app

project = "expnet"
author = "the expnet authors"
version = release = expnet.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

# Headings get the anchors that a code host gives them, so that links work in both places.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

# Single backquotes in docstrings are code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"expnet {release}"
html_static_path = ["static"]
html_css_files = ["tables.css"]
html_show_sphinx = False
html_copy_source = False


def list_commands(_app: Sphinx, page: str, source: list[str]) -> None:
    """Write what the command line says of itself into its page."""
    if page == "reference/commands":
        command = typer.main.get_command(app)
        with command.make_context("expnet", [], resilient_parsing=True) as context:
            # typer has two names for its contexts.
            source[0] = get_docs_for_click(obj=command, ctx=context, name="expnet", title="Commands")  # type: ignore[arg-type]


def show_notebook(_app: Sphinx, page: str, source: list[str]) -> None:
    """Write the cells of the notebook, and what it stores of their outputs, into its page."""
    if page == "tour":
        cells = json.loads((Path(__file__).parent / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
        source[0] += "\n" + "\n\n".join(part for cell in cells for part in _shown(cell))


def _shown(cell: dict[str, Any]) -> list[str]:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [text.partition("\n")[2] if text.startswith("# ") else text]  # the page has a title
    parts = [f"```python\n{text}\n```"]
    for output in cell["outputs"]:
        data = output.get("data", {"text/plain": output.get("text", "")})
        kind, fence = ("text/html", "{raw} html") if "text/html" in data else ("text/plain", "text")
        parts.append(f"````{fence}\n{''.join(data[kind])}\n````")
    return parts


# What the theme's pages lack for people who listen to them or have no mouse.
_ACCESSIBLE = {
    'role="heading"': 'role="heading" aria-level="2"',
    "<pre>": '<pre tabindex="0">',  # whatever scrolls must be reached by keyboard
    '<div class="table-wrapper': '<div tabindex="0" class="table-wrapper',
    '<th class="head"><p></p></th>': "<td></td>",  # a column of names without a name of its own
    "<th></th>": "<td></td>",  # likewise, in a table of pandas
}
# A long signature is a list of definitions without anything that is defined: lines are all it is.
_SIGNATURE = re.compile(r"<dl>\s*((?:<dd>(?:(?!</?d[ld]>).)*</dd>\s*)+)</dl>", re.DOTALL)


def _as_lines(signature: re.Match[str]) -> str:
    lines = signature[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
    return f'<span class="sig-lines">{lines}</span>'


def make_accessible(_app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: object) -> None:
    """Complete the theme's navigation and the page."""
    for part in ("furo_navigation_tree", "body"):
        for found, better in _ACCESSIBLE.items():
            if part in context:
                context[part] = context[part].replace(found, better)
    if "body" in context:
        context["body"] = _SIGNATURE.sub(_as_lines, context["body"])


def setup(sphinx: Sphinx) -> None:
    sphinx.connect("source-read", list_commands)
    sphinx.connect("source-read", show_notebook)
    sphinx.connect("html-page-context", make_accessible, priority=900)  # after the theme
