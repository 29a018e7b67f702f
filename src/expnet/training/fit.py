"""Train an ExpNet for one classifier, from what the package knows of other tasks or from nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from expnet.errors import InputError, UnsupportedModelError
from expnet.model.classifier import Classifier
from expnet.network.channels import Tier
from expnet.network.expnet import ExpNet
from expnet.network.universal import teacher_of, universal
from expnet.rationales import Record
from expnet.runtime.ambient import torch_defaults
from expnet.text.texts import Text, as_texts
from expnet.training.adapt import adapt
from expnet.training.config import FEW_MARKS, FEW_MARKS_UNIVERSAL, STUDENT, FitConfig, for_warm_start, with_tier
from expnet.training.mixture import Source, fit_mixture

# Texts, marked or not, that are enough to learn a classifier's heads from the universal ExpNet.
ENOUGH_TO_ADAPT = 100
# Marked texts from which on training in epochs, judged on some held out, is better than a fixed number of steps.
_MANY_MARKS = 500


@torch_defaults()
def fit(
    classifier: Classifier,
    train: Sequence[Record],
    *,
    dev: Sequence[Record] | None = None,
    start: Literal["universal", "nothing"] | ExpNet = "universal",
    tier: Tier = "attention",
    unmarked: Iterable[str | Text] = (),
    config: FitConfig | None = None,
    steps: int | None = None,
    seed: int = 0,
    target: str | int | None = None,
    cache: Path | None = None,
    progress: bool = False,
    name: str = "",
) -> ExpNet:
    """Train an ExpNet for a classifier on texts whose words people marked; sixteen are a good beginning.

    From "universal", with 100 texts or more, marked or not, the package's ExpNet with gradients first teaches one that
    sees each head of this classifier by itself (`adapt`), and that one then learns from the marks; with fewer, the
    package's ExpNet itself learns on.

    Args:
        classifier: The classifier.
        train: Annotated texts; those without a rationale are left out.
        dev: As for `fit_mixture`.
        start: What it knows when it begins; or a network, whose features and shape are kept.
        tier: "attention" makes an explainer that comes with the prediction, "gradient" one that takes a backward pass
            as well, "difference" one that compares with an empty text, at twice that. Not used with `config`, or with a
            network to start from.
        unmarked: More texts of the task, without marks, for a start from "universal".
        config: How to train, instead of what suits the start and the number of texts.
        steps: Of the training on marks, instead of what suits the start and the number of texts.
        seed: Of training; not used with `config`, which has its own.
        target: Class that the marks are reasons for in texts without a label, by name or index; by default each text's
            predicted class. Only what sees gradients looks at it; a regression with several outputs needs one there.
        cache: As for `fit_mixture`.
        progress: Show progress bars.
        name: Of the texts, for the provenance.

    Raises:
        InputError: If `start` is neither of these, there is no step or no such class, or a regression with several
            outputs is given no target.
        MismatchError: If a network to start from does not fit the classifier.
        RationaleError: If there is nothing to learn from, or a label is unknown to the classifier.
    """
    if not isinstance(start, ExpNet) and start not in ("universal", "nothing"):
        raise InputError(f"Expected to start from 'universal', 'nothing' or an ExpNet, got {start!r}.")
    if steps is not None and steps < 1:
        raise InputError(f"steps is {steps}, expected 1 or more.")
    if target is not None:
        train, dev = _labelled(classifier, train, target), dev and _labelled(classifier, dev, target)
    marked = sum(record.rationale is not None for record in train)
    chosen = config or replace(with_tier(FEW_MARKS if marked < _MANY_MARKS else FitConfig(), tier), seed=seed)
    known = start if isinstance(start, ExpNet) else None
    if start == "universal" and marked:
        texts = [*(record.text for record in train), *as_texts(unmarked)]
        known = _known(classifier, texts, chosen, target, progress=progress)
    if config is None and known is not None:
        as_it_is = start == "universal" and known.config.features.any_classifier
        chosen = replace(FEW_MARKS_UNIVERSAL, seed=seed) if as_it_is else for_warm_start(chosen, marked)
    if steps is not None:
        chosen = replace(chosen, steps=steps)
    source = Source(classifier=classifier, train=train, dev=dev, name=name)
    return fit_mixture([source], config=chosen, warm_start=known, cache=cache, progress=progress)


def _labelled(classifier: Classifier, records: Sequence[Record], target: str | int) -> list[Record]:
    label = classifier.labels[classifier.target_index(target)]
    return [replace(record, label=label) if record.label is None else record for record in records]


def _known(
    classifier: Classifier, texts: Sequence[Text], config: FitConfig, target: str | int | None, *, progress: bool
) -> ExpNet:
    """Return what the package knows, as a network for this classifier's heads if there are texts enough."""
    tier = config.features.tier
    if len(texts) < ENOUGH_TO_ADAPT:
        return universal(tier)
    # Marks follow: what random removals teach beside them has not been measured.
    student = replace(STUDENT, features=config.features, context=config.context, hidden=config.hidden, seed=config.seed)
    adapted = partial(adapt, classifier, texts=texts, removals=0, config=student, target=target, progress=progress)
    try:
        return adapted(teacher=teacher_of(tier))
    except UnsupportedModelError:
        if tier != "attention":
            raise
        # Where gradients cannot be had, the teacher makes do with attention, too.
        return adapted(teacher=universal("attention"))
