"""`expnet adapt`: an explainer from texts that nobody has marked."""

from pathlib import Path
from typing import Annotated

import typer

from expnet.cli.data import OffsetsName, OffsetsOption, TextField
from expnet.cli.train import TierName, texts_of


def adapt(
    model: Annotated[str, typer.Argument(help="The classifier: a demo, a folder or a hub id.")],
    texts: Annotated[Path, typer.Argument(help="Some hundred texts like those to explain: .txt or JSONL.")],
    output: Annotated[Path, typer.Option(help="Folder to write the ExpNet to.")],
    teacher: Annotated[
        str, typer.Option(help="Whom to learn from: universal, folder or hub id of an ExpNet, or none.")
    ] = "universal",
    toward: Annotated[
        str | None, typer.Option(help="A method to learn from, such as leave_one_out: faithful, in one pass.")
    ] = None,
    share: Annotated[float, typer.Option(help="Of the method, where there is a teacher as well.")] = 0.5,
    tier: Annotated[
        TierName, typer.Option(help="attention comes with the prediction; gradient takes a backward pass as well.")
    ] = TierName.attention,
    offsets: OffsetsOption = OffsetsName.auto,
    text: TextField = None,
    seed: Annotated[int, typer.Option()] = 0,
    revision: Annotated[str | None, typer.Option(help="Commit, tag or branch of MODEL on the hub.")] = None,
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda; by default the best there is.")] = None,
) -> None:
    """Train an ExpNet on texts without marks: it learns from another ExpNet, from a method, or both."""
    from expnet.explainer import load_classifier
    from expnet.network.universal import named
    from expnet.training.adapt import adapt as training

    network = training(
        load_classifier(model, revision=revision, device=device),
        None if teacher == "none" else named(teacher),
        texts_of(texts, offsets=offsets.value, text=text),
        toward=toward,
        share=share,
        tier=tier.value,
        seed=seed,
        progress=True,
    )
    network.save_pretrained(output)
    print(f"Saved to {output}. Explain with: expnet explain --model {model} --explainer {output} TEXT")
