"""`expnet fit`: train an explainer for a classifier on annotated texts."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from expnet.cli import options
from expnet.cli.inputs import prompt_of, texts_of
from expnet.cli.saving import CHECKED, save_explainer

if TYPE_CHECKING:
    from expnet.network.expnet import ExpNet


def fit(
    model: options.ModelArgument,
    train: Annotated[Path, typer.Argument(help="Annotated texts, in any format that `expnet data check` reads.")],
    output: options.ExpNetFolder,
    dev: Annotated[
        Path | None,
        typer.Option(
            help="Annotated texts for early stopping, calibration and evaluation; by default a tenth of TRAIN."
        ),
    ] = None,
    rationale: options.RationaleOption = None,
    format: options.FormatOption = "auto",
    offsets: options.OffsetsOption = options.OffsetsName.auto,
    text: options.TextFieldOption = None,
    pair: options.PairFieldOption = None,
    choice: options.ChoiceOption = None,
    start: Annotated[
        str, typer.Option(help="What to start from: universal, a folder or hub id of an ExpNet, or nothing (scratch).")
    ] = "universal",
    tier: options.TierOption = options.TierName.attention,
    unmarked: Annotated[
        Path | None,
        typer.Option(help="A hundred or more further texts, without marks: .txt, or any format that TRAIN may have."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Train for this many epochs. By default the number of texts decides.")
    ] = None,
    check: options.CheckOption = True,
    seed: options.SeedOption = 0,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for extracted features, from which an interrupted run resumes.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Train for this many steps. By default the number of texts decides.")
    ] = None,
    prompt: options.PromptOption = None,
    label: options.LabelOption = None,
    zero_shot: options.ZeroShotOption = None,
    hypothesis: options.HypothesisOption = None,
    revision: options.RevisionOption = None,
    device: options.DeviceOption = None,
    dtype: options.DtypeOption = None,
) -> None:
    """Train an ExpNet for a classifier on texts in which people marked words."""
    from expnet.explainer import load_classifier
    from expnet.network.universal import named
    from expnet.rationales import read
    from expnet.training.config import FitConfig, with_tier
    from expnet.training.fit import fit as train_network

    annotated = partial(
        read, format=format, rationale=rationale, offsets=offsets.value, text=text, pair=pair, choice=choice
    )
    initial: Literal["universal", "nothing"] | ExpNet  # the universal one is read only if it is needed
    initial = "universal" if start == "universal" else "nothing" if start == "nothing" else named(start)
    classifier = load_classifier(
        model, revision=revision, device=device, dtype=dtype, prompt=prompt_of(prompt, label, zero_shot, hypothesis)
    )
    held = [] if dev is None else annotated(dev).records
    further = [] if unmarked is None else list(texts_of(unmarked))
    network = train_network(
        classifier,
        annotated(train).records,
        dev=None if dev is None else held,
        start=initial,
        tier=tier.value,
        unmarked=further,
        config=None if epochs is None else with_tier(FitConfig(epochs=epochs, seed=seed), tier.value),
        steps=steps,
        seed=seed,
        cache=cache,
        progress=True,
        name="/".join(train.parts[-2:]),
    )
    for key, value in network.config.provenance.items():
        if key.startswith("dev"):
            print(f"{key}: {value}")
    unseen = held or further
    save_explainer(classifier, network, model, output, unseen[:CHECKED] if check else [], seed=seed)
