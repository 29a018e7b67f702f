"""`expnet adapt`: distil an explainer for a classifier from texts without marks."""

from pathlib import Path
from typing import Annotated

import typer

from expnet.cli import options
from expnet.cli.inputs import prompt_of, texts_of
from expnet.cli.saving import hold_out, save_explainer


def adapt(
    model: options.ModelArgument,
    texts: Annotated[
        Path, typer.Argument(help="A few hundred texts like those to explain: .txt, or any format of annotated files.")
    ],
    output: options.ExpNetFolder,
    teacher: Annotated[
        str,
        typer.Option(
            help="ExpNet to distil: universal, the one that suits the tier; universal/attention, a folder or a hub id; "
            "or none."
        ),
    ] = "universal",
    removals: Annotated[
        int,
        typer.Option(
            min=0,
            help="Random removals of words of each text, from which it learns what the classifier depends on; 0 to "
            "learn from the teacher alone.",
        ),
    ] = 16,
    target_method: Annotated[
        str | None,
        typer.Option(help="Attribution method to distil, such as leave_one_out, in place of the random removals."),
    ] = None,
    method_weight: Annotated[
        float, typer.Option(help="Weight of removals or method if there is a teacher as well; between 0 and 1.")
    ] = 0.5,
    tier: options.TierOption = options.TierName.attention,
    offsets: options.OffsetsOption = options.OffsetsName.auto,
    text: options.TextFieldOption = None,
    check: options.CheckOption = True,
    seed: options.SeedOption = 0,
    prompt: options.PromptOption = None,
    label: options.LabelOption = None,
    zero_shot: options.ZeroShotOption = None,
    hypothesis: options.HypothesisOption = None,
    revision: options.RevisionOption = None,
    device: options.DeviceOption = None,
    dtype: options.DtypeOption = None,
) -> None:
    """Train an ExpNet on texts without marks: from another ExpNet, and from what the classifier depends on in them."""
    from expnet.explainer import load_classifier
    from expnet.network.universal import named, teacher_of
    from expnet.training.adapt import adapt as distil

    given = list(texts_of(texts, offsets=offsets.value, text=text))
    learn, held = hold_out(given) if check else (given, [])
    classifier = load_classifier(
        model, revision=revision, device=device, dtype=dtype, prompt=prompt_of(prompt, label, zero_shot, hypothesis)
    )
    network = distil(
        classifier,
        None if teacher == "none" else teacher_of(tier.value) if teacher == "universal" else named(teacher),
        learn,
        removals=removals,
        target_method=target_method,
        method_weight=method_weight,
        tier=tier.value,
        seed=seed,
        progress=True,
    )
    save_explainer(classifier, network, model, output, held, seed=seed)
