"""`expnet studio`: mark words on a page, and fit an explainer to them."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from expnet.cli.data import OffsetsName, OffsetsOption
from expnet.cli.serve import names
from expnet.cli.train import TierName
from expnet.errors import require_extra
from expnet.explanation.escape import printable


def studio(
    model: Annotated[str, typer.Argument(help="The classifier: a demo, a folder or a hub id.")],
    texts: Annotated[Path, typer.Argument(help="Texts: .txt, .jsonl, .csv, .parquet, or any format of rationales.")],
    marks: Annotated[Path, typer.Option(help="JSON lines to write the marks to; it is made, or gone on with.")],
    explainer: Annotated[
        str | None, typer.Option(help="Folder or hub id of the ExpNet to begin with; universal is the usual one.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the new ExpNet; by default beside the marks.")] = None,
    annotator: Annotated[
        str, typer.Option(envvar=["EXPNET_ANNOTATOR", "USER"], help="Who marks; it is written beside the marks.")
    ] = "1",
    text: Annotated[
        str | None, typer.Option(help="Column of the texts in a table, field of a Label Studio export.")
    ] = None,
    pair: Annotated[str | None, typer.Option(help="The same for second texts.")] = None,
    import_: Annotated[
        list[Path] | None, typer.Option("--import", help="Put the marks of this file into MARKS first; repeat it.")
    ] = None,
    format: Annotated[
        str, typer.Option(help="Of imports, such as label-studio, doccano, prodigy; `expnet data list` names all.")
    ] = "auto",
    offsets: OffsetsOption = OffsetsName.auto,
    import_text: Annotated[
        str | None, typer.Option(help="Of imports: field that holds the text, of Label Studio, doccano or Prodigy.")
    ] = None,
    import_pair: Annotated[
        str | None, typer.Option(help="Of imports from Label Studio: field that holds the second text.")
    ] = None,
    import_choice: Annotated[
        str | None, typer.Option(help="Of imports from Label Studio: control whose choice is the label.")
    ] = None,
    tier: Annotated[
        TierName | None, typer.Option(help="What the new ExpNet sees; by default as much as the one to begin with.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Name that browsers may use for this server, beside localhost and addresses; repeat it."),
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="Of the processor; 0 is all.")] = 0,
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda; by default the best there is.")] = None,
) -> None:
    """Mark the words of texts on a page, and fit an explainer to them."""
    for package in ("fastapi", "filelock", "jinja2", "uvicorn"):
        require_extra(package, "serve")
    import torch

    from expnet.explainer import load
    from expnet.studio import Desk, Marks, bring, create_app, read_texts
    from expnet.web.limits import Limits
    from expnet.web.running import run

    limits = Limits()
    file = Marks(marks)
    records, notes = read_texts(texts, column=text, pair=pair, characters=limits.characters, offsets=offsets.value)
    for path in import_ or ():
        notes += bring(
            file,
            path,
            format=format,
            offsets=offsets.value,
            text=import_text,
            pair=import_pair,
            choice=import_choice,
        )
    if threads:
        torch.set_num_threads(threads)
    desk = Desk(
        load(model, explainer=explainer, device=device),
        records,
        file,
        annotator=annotator,
        output=output or marks.with_name(f"{marks.stem}-explainer"),
        tier=None if tier is None else tier.value,
    )
    app = create_app(desk, limits=limits, hosts=names(host, allow_host))
    for line in (*notes, f"{desk.progress().marked} of {len(desk.texts)} texts are marked. You mark as {annotator}."):
        print(printable(line), file=sys.stderr)
    print(f"http://{f'[{host}]' if ':' in host else host}:{port}/", file=sys.stderr)
    run(app, limits, host=host, port=port)
