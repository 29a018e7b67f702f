"""`expnet studio`: mark words on a page, and fit an explainer to them."""

from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expnet.cli import options
from expnet.cli.hosts import served_names
from expnet.cli.inputs import prompt_of
from expnet.cli.outputs import say
from expnet.errors import require_extra

if TYPE_CHECKING:
    from expnet.studio import Marks

_import = partial(typer.Option, rich_help_panel="Imports")


class TextOrder(StrEnum):
    """Which texts are offered first."""

    given = "given"
    uncertain = "uncertain"


def studio(
    model: options.ModelArgument,
    texts: Annotated[
        Path, typer.Argument(help="Texts: .txt, .jsonl, .csv, .parquet, or any format of annotated files.")
    ],
    marks: Annotated[
        Path, typer.Option(help="JSON lines to write the marks to. The file is created, or continued if it exists.")
    ],
    explainer: options.ExplainerOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the new ExpNet; by default next to the marks.")
    ] = None,
    annotator: Annotated[
        str, typer.Option(envvar=["EXPNET_ANNOTATOR", "USER"], help="Name of the annotator, stored with the marks.")
    ] = "1",
    others: Annotated[
        list[Path] | None,
        typer.Option(
            help="Marks file of another annotator, to show how far you agree and, if you choose so, to learn from; "
            "repeat it for several. Nothing is written to it."
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Column of the texts in a table; field with the text in a Label Studio export.")
    ] = None,
    pair: Annotated[str | None, typer.Option(help="The same for second texts.")] = None,
    order: Annotated[
        TextOrder,
        typer.Option(
            help="Which texts come first: as in the file, or those of which the model is least certain, which takes a "
            "pass over all of them."
        ),
    ] = TextOrder.given,
    import_: Annotated[
        list[Path] | None,
        _import("--import", help="First add the marks of this file to MARKS; repeat it for several."),
    ] = None,
    format: options.FormatOption = "auto",
    offsets: options.OffsetsOption = options.OffsetsName.auto,
    import_text: Annotated[
        str | None, _import(help="Label Studio, doccano, Prodigy, Argilla: field with the text.")
    ] = None,
    import_pair: Annotated[str | None, _import(help="Label Studio, Argilla: field with the second text.")] = None,
    import_choice: Annotated[
        str | None, _import(help="Label Studio: control whose choice is the label; Argilla: question whose answer is.")
    ] = None,
    tier: Annotated[
        options.TierName | None,
        typer.Option(help="What the new ExpNet reads; by default the same as the ExpNet to start from."),
    ] = None,
    host: options.HostOption = "127.0.0.1",
    port: options.PortOption = 8000,
    allow_host: options.AllowedHosts = None,
    threads: options.ThreadsOption = 0,
    prompt: options.PromptOption = None,
    label: options.LabelOption = None,
    zero_shot: options.ZeroShotOption = None,
    hypothesis: options.HypothesisOption = None,
    revision: options.RevisionOption = None,
    device: options.DeviceOption = None,
    dtype: options.DtypeOption = None,
) -> None:
    """Mark the words of texts on a page, and fit an explainer to them.

    Training starts from the ExpNet of `--explainer`. `--format` is the format of the files to import.
    """
    for package in ("fastapi", "filelock", "jinja2", "uvicorn"):
        require_extra(package, "serve")
    from expnet.explainer import load
    from expnet.studio import Desk, Marks, create_app, read_texts
    from expnet.studio.texts import uncertain_first
    from expnet.web.limits import Limits
    from expnet.web.running import run

    limits = Limits()
    file, theirs = Marks(marks), [Marks(path) for path in others or ()]
    records, notes = read_texts(texts, column=text, pair=pair, characters=limits.characters, offsets=offsets.value)
    fields = (import_text, import_pair, import_choice)
    notes += _imported(file, import_ or (), format=format, offsets=offsets, fields=fields)
    options.set_threads(threads)
    loaded = load(
        model,
        explainer=explainer,
        revision=revision,
        device=device,
        dtype=dtype,
        prompt=prompt_of(prompt, label, zero_shot, hypothesis),
    )
    desk = Desk(
        loaded,
        uncertain_first(loaded.classifier, records) if order is TextOrder.uncertain else records,
        file,
        annotator=annotator,
        output=output or marks.with_name(f"{marks.stem}-explainer"),
        tier=None if tier is None else tier.value,
        others=theirs,
    )
    app = create_app(desk, limits=limits, hosts=served_names(host, allow_host))
    for line in (*notes, f"{desk.progress().marked} of {len(desk.texts)} texts are marked. You mark as {annotator}."):
        say(line)
    say(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
    run(app, limits, host=host, port=port)


def _imported(
    file: "Marks",
    paths: Sequence[Path],
    *,
    format: str,
    offsets: options.OffsetsName,
    fields: tuple[str | None, str | None, str | None],
) -> list[str]:
    """Add the marks of files to a file of marks, and return sentences on what was left out.

    `fields` are those with the text, its pair and the choice.
    """
    from expnet.studio import bring

    text, pair, choice = fields
    notes: list[str] = []
    for path in paths:
        notes += bring(file, path, format=format, offsets=offsets.value, text=text, pair=pair, choice=choice)
    return notes
