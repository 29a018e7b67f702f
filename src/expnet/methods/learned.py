"""ExpNet as some methods among the others: by its tier, and by what the classifier uses."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from expnet.attention.differences import DifferencePass
from expnet.errors import OptionError
from expnet.explanation.meaning import MARKED, USED
from expnet.methods.method import Method
from expnet.methods.shared_pass import PassNeeds, PassTrace
from expnet.methods.traced import reads
from expnet.model.classifier import Classifier
from expnet.network.channels import TIERS, Tier
from expnet.network.expnet import ExpNet
from expnet.network.features import FeatureConfig, attention_features, normalise_within_text
from expnet.network.inputs import Features, blank_of, read_features
from expnet.text.encoding import Encoding


def _needs(given: Mapping[str, Any]) -> PassNeeds:
    """Return what a network reads of a pass."""
    config = given["network"].config.features
    if TIERS[config.tier].uses_differences:
        return PassNeeds(own=_differences, copies=2)
    if config.uses_target:
        return PassNeeds(matrices=True, embeddings=True, slopes=True)
    if isinstance(config, FeatureConfig):
        return PassNeeds(rows=True, received="received" in config.patterns)
    return PassNeeds(layers=True, projections=True)


def _differences(classifier: Classifier, part: Encoding) -> tuple[Tensor, DifferencePass]:
    """Run the pass that a network over differences reads: all that do share it."""
    model = classifier.model
    done = DifferencePass(model, part.inputs(model.device), part.real, blank_of(classifier), matrices=True)
    return done.logits, done


@reads(_needs)
def expnet(
    classifier: Classifier,
    encoding: Encoding,
    target: Int[Tensor, " batch"],
    *,
    network: ExpNet,
    trace: PassTrace | None = None,
) -> Float[Tensor, "batch tokens"]:
    """Score each token, in [0, 1], by how likely people would mark it, learned from rationales.

    Args:
        classifier: The classifier.
        encoding: Windows.
        target: Not used.
        network: Trained for classifiers of this kind, in evaluation mode, on attention alone.
        trace: The pass; without, it runs its own.

    Raises:
        OptionError: If the network needs more than attention.
    """
    return _score(classifier, encoding, target, network, trace, EXPNET)


EXPNET = Method(
    name="expnet",
    family="learned",
    measures=MARKED,
    function=expnet,
    paper="Mihaila 2026, arXiv:2601.14112",
    forward="1",
    signed=False,
    uses_target=False,
)


@reads(_needs)
def expnet_gradient(
    classifier: Classifier,
    encoding: Encoding,
    target: Int[Tensor, " batch"],
    *,
    network: ExpNet,
    trace: PassTrace | None = None,
) -> Float[Tensor, "batch tokens"]:
    """Score each token, in [0, 1], by how likely people would mark it as a reason for the target.

    Args:
        classifier: The classifier.
        encoding: Windows.
        target: A class for each window.
        network: Trained on attention and gradients, in evaluation mode.
        trace: The pass; without, it runs its own.

    Raises:
        OptionError: If the network is of another tier.
    """
    return _score(classifier, encoding, target, network, trace, EXPNET_GRADIENT)


EXPNET_GRADIENT = Method(
    name="expnet_gradient",
    family="learned",
    measures=MARKED,
    function=expnet_gradient,
    paper="Mihaila 2026, arXiv:2601.14112",
    forward="1",
    backward="1",
    signed=False,
    uses_target=True,
    shares_forward=True,
)


@reads(_needs)
def expnet_difference(
    classifier: Classifier,
    encoding: Encoding,
    target: Int[Tensor, " batch"],
    *,
    network: ExpNet,
    trace: PassTrace | None = None,
) -> Float[Tensor, "batch tokens"]:
    """Score each token, in [0, 1], by how likely people would mark it, from attention and what DeepLIFT sees.

    A baseline without the words runs first, then the text, forward and backward; multipliers stand where
    `expnet_gradient` reads gradients, and what each token adds to the logit stands beside them.

    Args:
        classifier: The classifier.
        encoding: Windows.
        target: A class for each window.
        network: Trained on differences, in evaluation mode.
        trace: The pass; without, it runs its own.

    Raises:
        OptionError: If the network is of another tier.
        UnsupportedModelError: If the classifier computes something that DeepLIFT has no rule for.
    """
    return _score(classifier, encoding, target, network, trace, EXPNET_DIFFERENCE)


EXPNET_DIFFERENCE = Method(
    name="expnet_difference",
    family="learned",
    measures=MARKED,
    function=expnet_difference,
    paper="Mihaila 2026, arXiv:2601.14112, and Shrikumar et al. 2017, arXiv:1704.02685",
    forward="2",
    backward="1",
    signed=False,
    uses_target=True,
    shares_forward=True,
)


@reads(_needs)
def expnet_used(
    classifier: Classifier,
    encoding: Encoding,
    target: Int[Tensor, " batch"],
    *,
    network: ExpNet,
    trace: PassTrace | None = None,
) -> Float[Tensor, "batch tokens"]:
    """Score each token by how much the target's logit depends on it, in its units: the ExpNet's second output.

    It was learned from what classifiers say of texts with words removed at random: the scores of the words that stay
    add up to the logit, up to a constant of the text and to the error that docs/research.md measures.

    Args:
        classifier: The classifier.
        encoding: Windows.
        target: A class for each window.
        network: Trained with gradients or differences, with a second output, in evaluation mode.
        trace: The pass; without, it runs its own.

    Raises:
        OptionError: If the network has no second output.
    """
    check_serves(network, EXPNET_USED)
    return output_of(network, EXPNET_USED, _features(classifier, encoding, target, network, trace), encoding.real)


EXPNET_USED = Method(
    name="expnet_used",
    family="learned",
    measures=USED,
    function=expnet_used,
    paper="Mihaila 2026, arXiv:2601.14112, and Cohen-Wang et al. 2025, arXiv:2504.13752",
    forward="1",
    backward="1",
    signed=True,
    uses_target=True,
    shares_forward=True,
)


@reads(_needs)
def expnet_both(
    classifier: Classifier,
    encoding: Encoding,
    target: Int[Tensor, " batch"],
    *,
    network: ExpNet,
    trace: PassTrace | None = None,
) -> Float[Tensor, "batch tokens"]:
    """Rank each token by both outputs of an ExpNet, in (0, 1): what people would mark and what the classifier uses.

    The score is a sigmoid of the mean of the two, each standardised within the window: 0.5 where the token is as high
    as the window's mean.

    Args:
        classifier: The classifier.
        encoding: Windows.
        target: A class for each window.
        network: As for `expnet_used`.
        trace: The pass; without, it runs its own.

    Raises:
        OptionError: If the network has no second output.
    """
    check_serves(network, EXPNET_BOTH)
    return output_of(network, EXPNET_BOTH, _features(classifier, encoding, target, network, trace), encoding.real)


EXPNET_BOTH = Method(
    name="expnet_both",
    family="learned",
    measures=f"{MARKED}, and how much the classifier depends on it, in equal parts",
    function=expnet_both,
    paper="Mihaila 2026, arXiv:2601.14112, and Cohen-Wang et al. 2025, arXiv:2504.13752",
    forward="1",
    backward="1",
    signed=False,
    uses_target=True,
    shares_forward=True,
)


SECOND_OUTPUT = (EXPNET_USED, EXPNET_BOTH)
_OF_TIER: Mapping[Tier, Method] = {
    "attention": EXPNET,
    "gradient": EXPNET_GRADIENT,
    "difference": EXPNET_DIFFERENCE,
}
_LEARNED_ON: Mapping[Tier, str] = {
    "attention": "on attention alone",
    "gradient": "with gradients",
    "difference": "with differences",
}


def method_of(network: ExpNet) -> Method:
    """Return the method that runs the passes a network needs."""
    return _OF_TIER[network.config.features.tier]


def check_serves(network: ExpNet, method: Method) -> None:
    """Raise an `OptionError` if a network is not of the tier of a method, or lacks the output that it asks for."""
    own = method_of(network)
    if own is not method and not (method in SECOND_OUTPUT and network.uses_target):
        raise OptionError(
            f"This ExpNet was trained {_LEARNED_ON[network.config.features.tier]}: choose the method {own.name!r}."
        )
    if method in SECOND_OUTPUT and not network.config.used:
        raise OptionError(
            f"This ExpNet says what people would mark, and has no output for what the classifier uses, which "
            f"{method.name} needs: choose the explainer universal/gradient, or run `expnet adapt --tier gradient`."
        )


@torch.no_grad()
def output_of(
    network: ExpNet, method: Method, features: Features, real: Bool[Tensor, "batch tokens"]
) -> Float[Tensor, "batch tokens"]:
    """Return the scores that a method of an ExpNet makes of features that are read already; 0 on what is not real."""
    if method is EXPNET_USED:
        scores = network.effects(features)
    elif method is EXPNET_BOTH:
        outputs = torch.stack([network(features), network.effects(features)], -1)
        scores = normalise_within_text(outputs, real).mean(-1).sigmoid()
    else:
        scores = network.score(features)
    return scores.masked_fill(~real, 0.0)


def _score(
    classifier: Classifier,
    encoding: Encoding,
    target: Tensor,
    network: ExpNet,
    trace: PassTrace | None,
    method: Method,
) -> Float[Tensor, "batch tokens"]:
    check_serves(network, method)
    return output_of(network, method, _features(classifier, encoding, target, network, trace), encoding.real)


def _features(
    classifier: Classifier, encoding: Encoding, target: Tensor, network: ExpNet, trace: PassTrace | None
) -> Features:
    config = network.config.features
    if trace is None:
        return read_features(classifier, encoding, config, target=target if config.uses_target else None)[1]
    device = trace.logits.device
    mask, real = encoding.mask.to(device), encoding.real.to(device)
    if isinstance(config, FeatureConfig) and not config.uses_target:
        return attention_features(trace.anchor, mask, real, config).cpu()
    differences = trace.own if isinstance(trace.own, DifferencePass) else None
    anchor = classifier.support.anchor
    signals = trace.signals if differences is None else differences.signals(target, anchor, keep=trace.keep)
    features: Features = config.of_signals(signals, mask, real)
    return features
