"""`expnet audit`: the record of one decision or of a file of them, and whether a record still holds."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from expnet.errors import InputError, require_extra
from expnet.explanation.escape import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from expnet.audit import AuditRecord
    from expnet.audit.dataset import FileRecord
    from expnet.audit.verifying import Difference

_KINDS = (".json", ".html")


class _TextFirst(TyperGroup):
    """Lets `expnet audit TEXT` stand for `expnet audit decision TEXT`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = args and (args[0] in self.commands or args[0] == "--help")
        rest: list[str] = super().parse_args(ctx, args if known else ["decision", *args])
        return rest


app = typer.Typer(
    help="Write an audit record: what was decided, and why. `expnet audit TEXT` is short for "
    "`expnet audit decision TEXT`.",
    cls=_TextFirst,
)

Model = Annotated[str, typer.Option(help="A demo, a folder or a hub id, as for `expnet explain`.")]
ExplainerName = Annotated[str | None, typer.Option(help="Folder or hub id of an ExpNet; a demo has its own.")]
Device = Annotated[str | None, typer.Option(help="Such as cpu or cuda; by default the best there is.")]
Outputs = Annotated[
    list[Path] | None,
    typer.Option(help="Write to this .json or .html file; repeat it for both. Without, JSON goes to the screen."),
]
WithoutText = Annotated[bool, typer.Option("--without-text", help="Keep hashes and numbers, but no text.")]


@app.command("decision")
def decision(
    text: Annotated[str | None, typer.Argument(help="The text; without one, all of standard input.")] = None,
    model: Model = "demo/sentiment",
    explainer: ExplainerName = None,
    pair: Annotated[str | None, typer.Option(help="Second text of a pair.")] = None,
    method: Annotated[str, typer.Option(help="How to explain; `expnet methods` lists the names.")] = "expnet",
    option: Annotated[list[str] | None, typer.Option(help="Option of the method, as NAME=VALUE; repeat it.")] = None,
    seed: Annotated[int, typer.Option(help="For methods that draw random numbers.")] = 0,
    target: Annotated[
        str | None, typer.Option(help="Class to explain, by name or index; by default the predicted one.")
    ] = None,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Cut a long text instead of reading it in overlapping windows.")
    ] = False,
    count: Annotated[int, typer.Option(min=1, help="Top words to take away, to check the explanation.")] = 3,
    output: Outputs = None,
    without_text: WithoutText = False,
    device: Device = None,
) -> None:
    """Predict, explain and check one text, and write the record."""
    _check_outputs(output or [])
    given = text if text is not None else _standard_input()
    from expnet.audit import Asked, record_decision
    from expnet.audit.pages import decision_page
    from expnet.cli.methods import chosen_methods
    from expnet.explainer import load
    from expnet.text.texts import Text

    if method == "all":
        raise InputError("A record is of one method: write one for each.")
    ((name, options),) = chosen_methods([method], option or [])
    asked = Asked(method=name, options=options, seed=seed, target=target, truncate=truncate, count=count)
    loaded = load(model, explainer=explainer, device=device)
    record = record_decision(loaded, Text.of(given, pair), asked=asked, keep_text=not without_text)
    _write(record, decision_page, output or [])


@app.command("file")
def file(
    folder: Annotated[Path, typer.Argument(help="Folder that `expnet explain-file` wrote.")],
    against: Annotated[Path | None, typer.Option(help="Another such folder, to say how far the two are apart.")] = None,
    model: Annotated[
        str | None, typer.Option(help="The model that explained it, to check a sample of rows for faithfulness.")
    ] = None,
    explainer: ExplainerName = None,
    sample: Annotated[int, typer.Option(min=1, help="Rows to check.")] = 200,
    least_rows: Annotated[int, typer.Option(min=1, help="Rows of a class a word must be in to be named.")] = 10,
    seed: Annotated[int, typer.Option(help="Of samples, random words and intervals.")] = 0,
    output: Outputs = None,
    without_text: WithoutText = False,
    device: Device = None,
) -> None:
    """Describe a file of decisions: classes, words that drive them, doubtful rows, drift."""
    _check_outputs(output or [])
    require_extra("pyarrow", "batch")
    if explainer is not None and model is None:
        raise InputError("--explainer needs --model, which it belongs to.")
    from expnet.audit.dataset import record_file
    from expnet.audit.pages import file_page
    from expnet.explainer import load

    record = record_file(
        folder,
        against=against,
        explainer=None if model is None else load(model, explainer=explainer, device=device),
        sample=sample,
        least_rows=least_rows,
        seed=seed,
        keep_text=not without_text,
        progress=sys.stderr.isatty(),
    )
    _write(record, file_page, output or [])


@app.command("verify")
def verify(
    record: Annotated[Path, typer.Argument(help="JSON of one decision.")],
    model: Model = "demo/sentiment",
    explainer: ExplainerName = None,
    text: Annotated[str | None, typer.Option(help="The text, where the record does not hold it; - reads it.")] = None,
    pair: Annotated[str | None, typer.Option(help="Second text of a pair, likewise.")] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="By how much a score or probability may differ.")] = 1e-3,
    device: Device = None,
) -> None:
    """Compute a recorded decision again and name each field that differs; exit status 1 if one does that matters.

    Every field is compared but `created`, which nothing can show, and `asked`, which says how to compute the others.
    Names, devices, versions and `trust` are noted, and do not matter.
    """
    if pair is not None and text is None:
        raise InputError("--pair needs --text, too.")
    if not record.is_file():
        raise InputError(f"There is no file {record}.")
    from expnet.audit import AuditRecord
    from expnet.audit import verify as compare
    from expnet.explainer import load
    from expnet.text.texts import Text

    try:
        found = AuditRecord.from_json(record.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"{record} is no UTF-8: byte {error.start} cannot be read.") from error
    given = None if text is None else Text.of(_standard_input() if text == "-" else text, pair)
    loaded = load(model, explainer=explainer, device=device)
    differences = compare(found, loaded, text=given, tolerance=tolerance)
    print(_told(differences, tolerance))
    if any(each.matters for each in differences):
        raise typer.Exit(1)


def _told(differences: "list[Difference]", tolerance: float) -> str:
    words = {True: "DIFFERS", False: "note"}
    lines = [f"{words[each.matters]}  {each.what}: was {each.was!r}, is {each.now!r}" for each in differences]
    if not any(each.matters for each in differences):
        lines.append(f"The record holds: all that can be computed again is as recorded, figures within {tolerance:g}.")
    return printable("\n".join(lines))


def _check_outputs(outputs: list[Path]) -> None:
    for output in outputs:
        if output.suffix not in _KINDS:
            raise InputError(f"Expected an output that ends in {' or '.join(_KINDS)}, got {output}.")
        if not output.parent.is_dir():
            raise InputError(f"The folder {output.parent} does not exist; create it, or write elsewhere.")


def _standard_input() -> str:
    if sys.stdin.isatty():
        raise InputError('There is no text: give one, such as "A touching film.", or pipe it in.')
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"Standard input is not UTF-8: byte {error.start} cannot be read.") from error


def _write(record: "AuditRecord | FileRecord", page: "Callable[[Any], str]", outputs: list[Path]) -> None:
    for output in outputs:
        output.write_text(page(record) if output.suffix == ".html" else record.to_json(), encoding="utf-8")
    if not outputs:
        sys.stdout.write(record.to_json())
