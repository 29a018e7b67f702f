"""`expnet fit` and `expnet finetune`: the two trainings."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from expnet.cli.data import Choice, FormatName, OffsetsName, OffsetsOption, PairField, TextField
from expnet.errors import InputError
from expnet.files import lines

if TYPE_CHECKING:
    from expnet.network.expnet import ExpNet
    from expnet.rationales.offsets import Offsets
    from expnet.text.texts import Text


class TierName(StrEnum):
    """What an ExpNet sees."""

    attention = "attention"
    gradient = "gradient"


def fit(
    model: Annotated[str, typer.Argument(help="The classifier: a demo, a folder or a hub id.")],
    train: Annotated[Path, typer.Argument(help="Annotated texts, in any format that `expnet data check` reads.")],
    output: Annotated[Path, typer.Option(help="Folder to write the ExpNet to.")],
    dev: Annotated[
        Path | None, typer.Option(help="Annotated texts to stop, calibrate and judge on; else a tenth of TRAIN.")
    ] = None,
    rationale: Annotated[
        str | None, typer.Option(help="Field that holds the marks; of other formats than ours: union or majority.")
    ] = None,
    format: FormatName = "auto",
    offsets: OffsetsOption = OffsetsName.auto,
    text: TextField = None,
    pair: PairField = None,
    choice: Choice = None,
    start: Annotated[
        str, typer.Option(help="What it knows when it begins: universal, nothing, or folder or hub id of an ExpNet.")
    ] = "universal",
    tier: Annotated[
        TierName, typer.Option(help="attention comes with the prediction; gradient takes a backward pass as well.")
    ] = TierName.attention,
    unmarked: Annotated[
        Path | None,
        typer.Option(help="A hundred more texts or more, without marks: .txt, or as TRAIN."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Train in so many epochs, instead of as the number of texts suggests.")
    ] = None,
    seed: Annotated[int, typer.Option()] = 0,
    cache: Annotated[
        Path | None, typer.Option(help="Keep extracted features here; an interrupted run goes on from them.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Train in so many steps, instead of as the number of texts suggests.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Commit, tag or branch of MODEL on the hub.")] = None,
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda; by default the best there is.")] = None,
) -> None:
    """Train an ExpNet for a classifier on texts whose words people marked."""
    from expnet.explainer import load_classifier
    from expnet.network.universal import named
    from expnet.rationales import read
    from expnet.training import fit as training
    from expnet.training.config import FitConfig, with_tier

    marked = partial(
        read, format=format, rationale=rationale, offsets=offsets.value, text=text, pair=pair, choice=choice
    )
    begin: Literal["universal", "nothing"] | ExpNet  # the universal one is read only if it is needed
    begin = "universal" if start == "universal" else "nothing" if start == "nothing" else named(start)
    network = training.fit(
        load_classifier(model, revision=revision, device=device),
        marked(train).records,
        dev=None if dev is None else marked(dev).records,
        start=begin,
        tier=tier.value,
        unmarked=[] if unmarked is None else texts_of(unmarked),
        config=None if epochs is None else with_tier(FitConfig(epochs=epochs, seed=seed), tier.value),
        steps=steps,
        seed=seed,
        cache=cache,
        progress=True,
        name="/".join(train.parts[-2:]),
    )
    network.save_pretrained(output)
    for key, value in network.config.provenance.items():
        if key.startswith("dev"):
            print(f"{key}: {value}")
    print(f"Saved to {output}. Explain with: expnet explain --model {model} --explainer {output} TEXT")


def texts_of(path: Path, *, offsets: "Offsets" = "auto", text: str | None = None) -> "list[Text]":
    """Read texts from lines of a .txt, or from a file of any format for rationales, whose marks are not used."""
    from expnet.rationales import read
    from expnet.text.texts import Text

    if lines.is_text(path):
        return [Text.of(line) for line in lines.texts(path) if line.strip()]
    return [record.text for record in read(path, offsets=offsets, text=text).records]


def finetune(
    base: Annotated[str, typer.Argument(help="The pretrained model: a folder, a hub id, or demo/base.")],
    train: Annotated[Path, typer.Argument(help="Labelled texts: .jsonl or .jsonl.gz.")],
    dev: Annotated[Path, typer.Argument(help="Labelled texts that choose the epoch and give the figures.")],
    output: Annotated[Path, typer.Option(help="Folder to write the classifier to.")],
    label: Annotated[list[str] | None, typer.Option(help="Name of a label value, as 0=negative; repeat it.")] = None,
    drop_overlap: Annotated[
        str | None, typer.Option(help="Leave out training texts whose `overlap` names this set.")
    ] = None,
    epochs: Annotated[float, typer.Option(min=0)] = 3.0,
    learning_rate: Annotated[float, typer.Option(min=0)] = 5e-5,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    max_length: Annotated[int, typer.Option(min=8)] = 128,
    lora_rank: Annotated[int, typer.Option(min=0, help="0 trains every weight.")] = 0,
    select_by: Annotated[str, typer.Option(help="accuracy, macro_f1 or mcc.")] = "accuracy",
    bf16: Annotated[bool, typer.Option("--bf16", help="Compute in bfloat16.")] = False,
    seed: Annotated[int, typer.Option()] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
) -> None:
    """Fine-tune a classifier, all of it or a LoRA adapter."""
    from expnet import finetuning as training
    from expnet.demo import base_model
    from expnet.rationales import read_records

    names = dict(item.split("=", 1) for item in label or () if "=" in item)
    if len(names) != len(label or ()):
        raise InputError(f"Expected labels as VALUE=NAME, each value once, got {label}.")
    figures = training.finetune(
        base_model() if base == "demo/base" else base,
        read_records(train, drop_overlap=drop_overlap),
        read_records(dev),
        output,
        training.FinetuneConfig(
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            max_length=max_length,
            lora_rank=lora_rank,
            select_by=select_by,
            bf16=bf16,
            seed=seed,
        ),
        label_names=names,
        resume=resume,
    )
    print("  ".join(f"{name} {value:.4f}" for name, value in figures.items()))
