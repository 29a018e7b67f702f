"""`expnet data`: list, check and describe annotated files."""

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expnet.cli import options
from expnet.cli.outputs import print_table, say
from expnet.errors import RationaleError
from expnet.explanation.escape import printable

if TYPE_CHECKING:
    from expnet.rationales import ReadFile
    from expnet.rationales.checking import Leak
    from expnet.rationales.description import Description


app = typer.Typer(help="List, check and describe annotated files.", no_args_is_help=True)


@app.command("list")
def list_sets(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders to look into. Without one, the formats are listed.")
    ] = None,
    as_json: options.JsonOption = False,
) -> None:
    """List the formats that can be read, or the files in folders that have one of them."""
    from expnet.rationales import FORMATS

    if paths:
        rows = [{"file": str(path), "format": name} for path, name in _recognised(paths)]
    else:
        rows = [{"format": form.name, "suffix": form.suffix, "reads": form.reads} for form in FORMATS]
    if as_json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        print("No file in a supported format.")


@app.command("check")
def check_sets(
    paths: options.AnnotatedPaths,
    format: options.FormatOption = "auto",
    rationale: options.RationaleOption = None,
    split: options.SplitOption = None,
    label: Annotated[
        list[str] | None, typer.Option(help="An allowed label; repeat it for several. Any other label is a problem.")
    ] = None,
    offsets: options.OffsetsOption = options.OffsetsName.auto,
    text: options.TextFieldOption = None,
    pair: options.PairFieldOption = None,
    choice: options.ChoiceOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Report unreadable texts, missing labels, and texts in two splits. Exit status 1 if there is a problem."""
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
        plain = [asdict(problem) for problem in problems]
        print(json.dumps({"texts": texts, "kinds": count_kinds(problems), "problems": plain}, indent=1))
    else:
        for problem in problems:
            print(printable(str(problem)))
        kinds = ", ".join(f"{kind} {count}" for kind, count in count_kinds(problems).items()) or "none"
        print(f"{len(readings)} files, {texts} texts read; problems: {kinds}")
    raise typer.Exit(1 if problems else 0)


@app.command("describe")
def describe_sets(
    paths: options.AnnotatedPaths,
    format: options.FormatOption = "auto",
    rationale: options.RationaleOption = None,
    split: options.SplitOption = None,
    offsets: options.OffsetsOption = options.OffsetsName.auto,
    text: options.TextFieldOption = None,
    pair: options.PairFieldOption = None,
    choice: options.ChoiceOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Show texts, labels, share of marked words, F1 of marking all words and random ones, agreement, and leaks."""
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
            {"file": file, "problems": len(readings[file].problems)} | _plain(description)
            for file, description in described.items()
        ]
        print(json.dumps({"sets": sets, "leaks": [asdict(leak) for leak in shared]}, indent=1))
    else:
        _print_described(described, readings, shared)


def _read(paths: Sequence[Path], format: str, read: "Callable[[Path], ReadFile]") -> "dict[str, ReadFile]":
    """Read the files, and in folders those in the format."""
    from expnet.runtime.progress import track

    files = [file for path in paths for file in _files(path, format)]
    return {str(file): read(file) for file in track(list(dict.fromkeys(files)), "reading", show=True)}


def _files(path: Path, format: str) -> list[Path]:
    if not path.is_dir() or format == "doccano":
        return [path]
    files = [file for file, name in _recognised([path]) if format in ("auto", name)]
    if not files:
        wanted = "a supported format" if format == "auto" else f"the format {format!r}"
        raise RationaleError(f"No file in the folder {path} is in {wanted}; `expnet data list` lists the formats.")
    return files


def _recognised(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """Return the files that have a supported format, with its name; warn of others that look like data."""
    from expnet.rationales.readers.table import recognise
    from expnet.runtime.progress import track

    if missing := [path for path in paths if not path.exists()]:
        raise RationaleError(f"There is no file or folder {missing[0]}.")
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    files = [file for file in files if not file.is_dir()]
    formats = [(file, recognise(file)) for file in track(files, "looking", show=True)]
    for file, form in formats:
        if form is None and Path(file.name.removesuffix(".gz")).suffix in (".json", ".jsonl", ".csv"):
            say(f"expnet: {file} is left out: its format is not supported")
    return [(file, form.name) for file, form in formats if form is not None]


def _plain(description: "Description") -> dict[str, Any]:
    """Return the figures as JSON has them: null for NaN, "" for the label of texts without one."""
    plain = {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in asdict(description).items()}
    return plain | {"labels": {label or "": count for label, count in description.labels.items()}}


def _print_described(
    described: "dict[str, Description]", readings: "dict[str, ReadFile]", leaks: "Sequence[Leak]"
) -> None:
    short = _short(list(described))
    header = ["file", "texts", "with marks", "words", "marked", "all F1", "random F1", "people", "agree"]
    rows = [
        [short[file], str(d.texts), str(d.with_rationale), _number(d.words, 1), _number(100 * d.marked, 1, "%"),
         _number(d.mark_all, 3), _number(d.random, 3), _number(d.annotators, 1), _number(d.agreement, 3)]
        for file, d in described.items()
    ]  # fmt: skip
    print_table(header, rows)
    for file, description in described.items():
        labels = ", ".join(f"{'no label' if label is None else label} {n}" for label, n in description.labels.items())
        print(printable(f"{short[file]}: {labels}"))
        if problems := len(readings[file].problems):
            print(printable(f"{short[file]}: {problems} problems, whose texts are left out; see expnet data check"))
    for leak in leaks:
        print(printable(f"{leak.texts} texts of {short[leak.inside]} are also in {short[leak.of]}"))


def _short(files: list[str]) -> dict[str, str]:
    """Return the path of each file below the folder that all share."""
    above = os.path.commonpath([str(Path(file).parent) for file in files])
    return {file: os.path.relpath(file, above) for file in files}


def _number(value: float, digits: int, unit: str = "") -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}{unit}"
