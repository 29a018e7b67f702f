"""`expnet data`: which sets there are, what is wrong with them, how they are marked."""

import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expnet.errors import RationaleError
from expnet.explanation.escape import printable

if TYPE_CHECKING:
    from expnet.rationales import ReadFile
    from expnet.rationales.checking import Leak
    from expnet.rationales.description import Description


class OffsetsName(StrEnum):
    """What the offsets of marks count."""

    auto = "auto"
    characters = "characters"
    utf_16 = "utf-16"
    utf_8 = "utf-8"


app = typer.Typer(help="List, check and describe sets of marked texts.", no_args_is_help=True)

Paths = Annotated[list[Path], typer.Argument(help="Files or folders; each file counts as a split.")]
FormatName = Annotated[str, typer.Option("--format", help="Of the files; `expnet data list` names all.")]
Marks = Annotated[
    str | None, typer.Option(help="Field with the marks (shared format); else union or majority of the annotators.")
]
OffsetsOption = Annotated[
    OffsetsName,
    typer.Option("--offsets", help="What marks count; auto goes by the text that a file quotes beside them."),
]
TextField = Annotated[
    str | None, typer.Option("--text", help="Field that holds the text, of Label Studio, doccano or Prodigy.")
]
PairField = Annotated[str | None, typer.Option("--pair", help="Label Studio: field that holds the second text.")]
Choice = Annotated[str | None, typer.Option("--choice", help="Label Studio: control whose choice is the label.")]
Split = Annotated[str | None, typer.Option(help="HateXplain: only this split.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_sets(
    paths: Annotated[list[Path] | None, typer.Argument(help="Folders to look into; without any, the formats.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the formats that can be read, or the files of such a format under a folder."""
    from expnet.rationales import FORMATS

    if paths:
        rows = [{"file": str(path), "format": name} for path, name in _known(paths)]
    else:
        rows = [{"format": one.name, "suffix": one.suffix, "reads": one.reads} for one in FORMATS]
    if as_json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    elif rows:
        _print_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        print("No file of a known format.")


@app.command("check")
def check_sets(
    paths: Paths,
    format: FormatName = "auto",
    rationale: Marks = None,
    split: Split = None,
    label: Annotated[list[str] | None, typer.Option(help="A label there may be; repeat it.")] = None,
    offsets: OffsetsOption = OffsetsName.auto,
    text: TextField = None,
    pair: PairField = None,
    choice: Choice = None,
    as_json: AsJson = False,
) -> None:
    """Report every text that cannot be read, every missing label, and texts in two splits; exit with 1 if any."""
    from expnet.rationales import read
    from expnet.rationales.checking import check
    from expnet.rationales.problems import count_kinds

    readings = _read(
        paths,
        format,
        partial(
            read,
            format=format,
            rationale=rationale,
            split=split,
            labels=label or None,
            offsets=offsets.value,
            text=text,
            pair=pair,
            choice=choice,
            on_error="skip",
        ),
    )
    problems, texts = check(readings), sum(len(reading.records) for reading in readings.values())
    if as_json:
        found = [asdict(problem) for problem in problems]
        print(json.dumps({"texts": texts, "kinds": count_kinds(problems), "problems": found}, indent=1))
    else:
        for problem in problems:
            print(printable(str(problem)))
        kinds = ", ".join(f"{kind} {count}" for kind, count in count_kinds(problems).items()) or "none"
        print(f"{len(readings)} files, {texts} texts read; problems: {kinds}")
    raise typer.Exit(1 if problems else 0)


@app.command("describe")
def describe_sets(
    paths: Paths,
    format: FormatName = "auto",
    rationale: Marks = None,
    split: Split = None,
    offsets: OffsetsOption = OffsetsName.auto,
    text: TextField = None,
    pair: PairField = None,
    choice: Choice = None,
    as_json: AsJson = False,
) -> None:
    """Show texts, labels, marked share, F1 of marking all and at random, agreement, and leaks between the files."""
    from expnet.rationales import read
    from expnet.rationales.checking import leaks
    from expnet.rationales.description import describe

    readings = _read(
        paths,
        format,
        partial(
            read,
            format=format,
            rationale=rationale,
            split=split,
            offsets=offsets.value,
            text=text,
            pair=pair,
            choice=choice,
            on_error="skip",
        ),
    )
    described = {file: describe(reading.records) for file, reading in readings.items()}
    shared = leaks(readings)
    if as_json:
        sets = [
            {"file": file, "problems": len(readings[file].problems)} | _plain(found)
            for file, found in described.items()
        ]
        print(json.dumps({"sets": sets, "leaks": [asdict(leak) for leak in shared]}, indent=1))
    else:
        _print_described(described, readings, shared)


def _read(paths: Sequence[Path], format: str, read: "Callable[[Path], ReadFile]") -> "dict[str, ReadFile]":
    """Read the files, and those of a known format in the folders."""
    from expnet.runtime.progress import track

    files = [file for path in paths for file in _files(path, format)]
    return {str(file): read(file) for file in track(list(dict.fromkeys(files)), "reading", show=True)}


def _files(path: Path, format: str) -> list[Path]:
    if not path.is_dir() or format == "doccano":
        return [path]
    found = [file for file, name in _known([path]) if format in ("auto", name)]
    if not found:
        raise RationaleError(f"There is no file of a known format in the folder {path}; `expnet data list` names all.")
    return found


def _known(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """Return the files of a known format with its name; say which look like data but are of none."""
    from expnet.rationales.readers.table import recognise
    from expnet.runtime.progress import track

    if missing := [path for path in paths if not path.exists()]:
        raise RationaleError(f"There is no file or folder {missing[0]}.")
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    files = [file for file in files if not file.is_dir()]
    found = [(file, recognise(file)) for file in track(files, "looking", show=True)]
    for file, one in found:
        if one is None and Path(file.name.removesuffix(".gz")).suffix in (".json", ".jsonl", ".csv"):
            print(printable(f"expnet: {file} is of no known format and left out"), file=sys.stderr)
    return [(file, one.name) for file, one in found if one is not None]


def _plain(found: "Description") -> dict[str, Any]:
    """Return the figures as JSON has them: null for NaN, "" for the label of texts without one."""
    plain = {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in asdict(found).items()}
    return plain | {"labels": {label or "": count for label, count in found.labels.items()}}


def _print_described(
    described: "dict[str, Description]", readings: "dict[str, ReadFile]", shared: "Sequence[Leak]"
) -> None:
    short = _short(list(described))
    header = ["file", "texts", "with marks", "words", "marked", "all F1", "random F1", "people", "agree"]
    rows = [
        [short[file], str(d.texts), str(d.with_rationale), _number(d.words, 1), _number(100 * d.marked, 1, "%"),
         _number(d.mark_all, 3), _number(d.random, 3), _number(d.annotators, 1), _number(d.agreement, 3)]
        for file, d in described.items()
    ]  # fmt: skip
    _print_table(header, rows)
    for file, found in described.items():
        labels = ", ".join(f"{'no label' if label is None else label} {n}" for label, n in found.labels.items())
        print(printable(f"{short[file]}: {labels}"))
        if problems := len(readings[file].problems):
            print(printable(f"{short[file]}: {problems} problems, whose texts are left out; see expnet data check"))
    for leak in shared:
        print(printable(f"{leak.texts} texts of {short[leak.inside]} stand in {short[leak.of]}"))


def _short(files: list[str]) -> dict[str, str]:
    """Return each file without the folder that all share."""
    above = os.path.commonpath([str(Path(file).parent) for file in files])
    return {file: os.path.relpath(file, above) for file in files}


def _number(value: float, digits: int, unit: str = "") -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}{unit}"


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    for place, column in enumerate(header):
        table.add_column(column, overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console().print(table)
