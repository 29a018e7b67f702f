"""`expnet audit`: write the record of a decision or of a file of decisions, and verify one."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from expnet.cli import options
from expnet.cli.inputs import prompt_of, standard_input_text
from expnet.cli.outputs import check_folder_of, say_written
from expnet.cli.records import chain_holds, read_record, record_content, stated_context, verdict
from expnet.errors import InputError, require_extra
from expnet.explanation.escape import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from expnet.audit import AuditRecord
    from expnet.audit.file_record import FileRecord
    from expnet.audit.verifying import Difference

_SUFFIXES = (".json", ".html")


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


@app.command("decision")
def decision(
    text: Annotated[str | None, typer.Argument(help="The text; by default all of standard input.")] = None,
    model: options.ModelOption = "demo/sentiment",
    explainer: options.ExplainerOption = None,
    pair: options.SecondTextOption = None,
    method: options.MethodOption = "expnet",
    option: options.MethodSettingsOption = None,
    seed: options.SeedOption = 0,
    target: options.TargetOption = None,
    against: options.AgainstOption = None,
    truncate: options.TruncateOption = False,
    count: Annotated[
        int, typer.Option(min=1, help="To check the explanation, predict again without this many top words.")
    ] = 3,
    context: options.ContextOption = None,
    previous: options.PreviousOption = None,
    output: options.RecordOutputs = None,
    without_text: options.WithoutTextOption = False,
    prompt: options.PromptOption = None,
    label: options.LabelOption = None,
    zero_shot: options.ZeroShotOption = None,
    hypothesis: options.HypothesisOption = None,
    revision: options.RevisionOption = None,
    device: options.DeviceOption = None,
    dtype: options.DtypeOption = None,
) -> None:
    """Predict, explain and check one text, and write the record."""
    _check_outputs(output or [])
    stated = stated_context(context, previous)
    content = text if text is not None else standard_input_text()
    from expnet.audit import Asked, record_decision
    from expnet.audit.pages import decision_page
    from expnet.cli.method_options import chosen_method
    from expnet.explainer import load
    from expnet.text.texts import Text

    name, settings = chosen_method(method, option)
    asked = Asked(
        method=name, options=settings, seed=seed, target=target, against=against, truncate=truncate, count=count
    )
    loaded = load(
        model,
        explainer=explainer,
        revision=revision,
        device=device,
        dtype=dtype,
        prompt=prompt_of(prompt, label, zero_shot, hypothesis),
    )
    record = record_decision(loaded, Text.of(content, pair), asked=asked, keep_text=not without_text, context=stated)
    _write(record, decision_page, output or [])


@app.command("file")
def file(
    folder: Annotated[Path, typer.Argument(help="Folder that `expnet explain-file` wrote.")],
    against: Annotated[
        Path | None, typer.Option(help="Another such folder, to measure how far the two differ (drift).")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The model that explained the file, to check a sample of rows for faithfulness.")
    ] = None,
    explainer: options.ExplainerOption = None,
    sample: Annotated[int, typer.Option(min=1, help="Rows to check for faithfulness.")] = 200,
    least_rows: Annotated[
        int, typer.Option(min=1, help="Rows of a class in which a word must occur to be listed.")
    ] = 10,
    rows: Annotated[
        int, typer.Option(min=0, max=1000, help="Rows to list, to filter and search them; 0 lists none.")
    ] = 500,
    seed: options.SeedOption = 0,
    output: options.RecordOutputs = None,
    without_text: options.WithoutTextOption = False,
    prompt: options.PromptOption = None,
    label: options.LabelOption = None,
    zero_shot: options.ZeroShotOption = None,
    hypothesis: options.HypothesisOption = None,
    revision: options.RevisionOption = None,
    device: options.DeviceOption = None,
    dtype: options.DtypeOption = None,
) -> None:
    """Describe a file of decisions: classes, words that drive them, doubtful rows, drift."""
    _check_outputs(output or [])
    require_extra("pyarrow", "batch")
    if explainer is not None and model is None:
        raise InputError("--explainer needs --model: it explains that classifier.")
    from expnet.audit.dataset import record_file
    from expnet.audit.pages import file_page
    from expnet.explainer import load

    loaded = (
        None
        if model is None
        else load(
            model,
            explainer=explainer,
            revision=revision,
            device=device,
            dtype=dtype,
            prompt=prompt_of(prompt, label, zero_shot, hypothesis),
        )
    )
    record = record_file(
        folder,
        against=against,
        explainer=loaded,
        sample=sample,
        least_rows=least_rows,
        most_listed=rows,
        seed=seed,
        keep_text=not without_text,
        progress=sys.stderr.isatty(),
    )
    _write(record, file_page, output or [])


@app.command("verify")
def verify(
    records: Annotated[
        list[Path],
        typer.Argument(help="Audit record of one decision, as JSON; several are checked as a chain as well."),
    ],
    model: options.ModelOption = "demo/sentiment",
    explainer: options.ExplainerOption = None,
    text: Annotated[
        str | None, typer.Option(help="The text, if the record does not hold it; - reads standard input.")
    ] = None,
    pair: options.SecondTextOption = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Largest difference of scores and probabilities that is accepted.")
    ] = 1e-3,
    hashes_only: Annotated[
        bool, typer.Option("--hashes-only", help="Check hashes and the chain; compute nothing again, load no model.")
    ] = False,
    prompt: options.PromptOption = None,
    label: options.LabelOption = None,
    zero_shot: options.ZeroShotOption = None,
    hypothesis: options.HypothesisOption = None,
    revision: options.RevisionOption = None,
    device: options.DeviceOption = None,
    dtype: options.DtypeOption = None,
) -> None:
    """Compute recorded decisions again and name every field that differs. Exit status 1 if one of them matters.

    What cannot be computed is not compared: `created`, `asked`, which says how to compute the others, and what is
    stated in `context`. Differences in names, devices, versions and sentences (`trust`, on scores) are printed as
    notes and do not matter. Several records are a chain, in the order given: each must hold the hash of the one before.
    """
    if pair is not None and text is None:
        raise InputError("--pair needs --text as well.")
    if text is not None and len(records) > 1:
        raise InputError(f"--text is the text of one record, and {len(records)} are given: verify them one by one.")
    contents = [record_content(path) for path in records]
    recorded = [read_record(path, content) for path, content in zip(records, contents, strict=True)]
    from expnet.audit import check_chain
    from expnet.audit import verify as compare

    told: list[list[Difference]] = []
    if not hashes_only:
        from expnet.explainer import load
        from expnet.text.texts import Text

        given = None if text is None else Text.of(standard_input_text() if text == "-" else text, pair)
        asked = prompt_of(prompt, label, zero_shot, hypothesis)
        loaded = load(model, explainer=explainer, revision=revision, device=device, dtype=dtype, prompt=asked)
        for path, record in zip(records, recorded, strict=True):
            if len(records) > 1:
                print(printable(f"{path}:"))
            told.append(compare(record, loaded, text=given, tolerance=tolerance))
            print(
                verdict(
                    told[-1],
                    f"The record holds: what can be computed again is as recorded, numbers within {tolerance:g}.",
                )
            )
    if hashes_only or len(records) > 1:
        told.append(check_chain(contents))
        print(verdict(told[-1], chain_holds(recorded)))
    if any(difference.matters for differences in told for difference in differences):
        raise typer.Exit(1)


def _check_outputs(outputs: list[Path]) -> None:
    for output in outputs:
        if output.suffix not in _SUFFIXES:
            raise InputError(f"Expected an output that ends in {' or '.join(_SUFFIXES)}, got {output}.")
        check_folder_of(output)


def _write(record: "AuditRecord | FileRecord", page: "Callable[[Any], str]", outputs: list[Path]) -> None:
    for output in outputs:
        output.write_text(page(record) if output.suffix == ".html" else record.to_json(), encoding="utf-8")
    say_written(outputs)
    if not outputs:
        sys.stdout.write(record.to_json())
