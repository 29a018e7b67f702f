"""`expnet head-weights`: learn a weight for each head of a classifier, for the method `attribution_with_attention`."""

from pathlib import Path
from typing import Annotated

import typer

from expnet.cli import options
from expnet.cli.inputs import prompt_of, texts_of
from expnet.cli.outputs import check_folder_of


def head_weights(
    model: options.ModelArgument,
    texts: Annotated[
        Path, typer.Argument(help="A few hundred texts like those to explain: .txt, or any format of annotated files.")
    ],
    output: Annotated[Path, typer.Argument(help="File for the weights: one on each line, the first layer's first.")],
    masks: Annotated[int, typer.Option(min=2, help="Random removals of words of each text.")] = 32,
    offsets: options.OffsetsOption = options.OffsetsName.auto,
    text: options.TextFieldOption = None,
    seed: options.SeedOption = 0,
    prompt: options.PromptOption = None,
    label: options.LabelOption = None,
    zero_shot: options.ZeroShotOption = None,
    hypothesis: options.HypothesisOption = None,
    revision: options.RevisionOption = None,
    device: options.DeviceOption = None,
    dtype: options.DtypeOption = None,
) -> None:
    """Learn a weight for each head (AT2) from a classifier's answers to texts with random words removed."""
    from expnet.explainer import load_classifier
    from expnet.training.head_weights import learn_head_weights

    check_folder_of(output)
    classifier = load_classifier(
        model, revision=revision, device=device, dtype=dtype, prompt=prompt_of(prompt, label, zero_shot, hypothesis)
    )
    given = list(texts_of(texts, offsets=offsets.value, text=text))
    weights = learn_head_weights(classifier, given, masks=masks, seed=seed, progress=True)
    output.write_text("".join(f"{weight!r}\n" for weight in weights), encoding="utf-8")
    method = f"--method attribution_with_attention --option weights={output}"
    print(f"Wrote {len(weights)} weights to {output}. Explain with: expnet explain --model {model} {method} TEXT")
