"""`expnet finetune`: fine-tune a classifier."""

from pathlib import Path
from typing import Annotated

import typer

from expnet.cli import options
from expnet.errors import InputError


def finetune(
    base: Annotated[str, typer.Argument(help="The pretrained model: a folder, a hub id, or demo/base.")],
    train: Annotated[Path, typer.Argument(help="Labelled texts: .jsonl or .jsonl.gz.")],
    dev: Annotated[Path, typer.Argument(help="Labelled texts on which the epoch is chosen and evaluated.")],
    output: Annotated[Path, typer.Option(help="Folder to write the classifier to.")],
    label: Annotated[
        list[str] | None, typer.Option(help="Name of a label value, such as 0=negative; repeat it for each value.")
    ] = None,
    epochs: Annotated[float, typer.Option(min=0, help="Passes over TRAIN.")] = 3.0,
    learning_rate: Annotated[float, typer.Option(min=0, help="Highest learning rate, after warm-up.")] = 5e-5,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts in a training batch.")] = 32,
    max_length: Annotated[int, typer.Option(min=8, help="Tokens to which longer texts are cut.")] = 128,
    lora_rank: Annotated[int, typer.Option(min=0, help="Rank of the LoRA adapter; 0 trains every weight.")] = 0,
    select_by: Annotated[
        str, typer.Option(help="Figure by which the best epoch is chosen: accuracy, macro_f1 or mcc.")
    ] = "accuracy",
    mask_robust: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the texts in TRAIN in which random words are masked."),
    ] = 0.0,
    bf16: Annotated[bool, typer.Option("--bf16", help="Compute in bfloat16.")] = False,
    seed: options.SeedOption = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the last checkpoint in OUTPUT.")] = False,
    revision: options.RevisionOption = None,
) -> None:
    """Fine-tune a classifier: every weight, or a LoRA adapter."""
    from expnet import finetuning
    from expnet.demo import base_model
    from expnet.rationales import read_records

    names = dict(item.split("=", 1) for item in label or () if "=" in item)
    if len(names) != len(label or ()):
        raise InputError(f"Expected labels as VALUE=NAME, each value once, got {label}.")
    figures = finetuning.finetune(
        base_model() if base == "demo/base" else base,
        read_records(train),
        read_records(dev),
        output,
        finetuning.FinetuneConfig(
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            max_length=max_length,
            lora_rank=lora_rank,
            select_by=select_by,
            bf16=bf16,
            mask_robust=mask_robust,
            seed=seed,
        ),
        label_names=names,
        resume=resume,
        revision=revision,
    )
    print("  ".join(f"{name} {value:.4f}" for name, value in figures.items()))
