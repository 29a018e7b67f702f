"""ExpNet as one method among the others: with attention alone, and with gradients."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from expnet.errors import OptionError
from expnet.explanation.meaning import MARKED
from expnet.methods.method import Method
from expnet.methods.shared_pass import PassNeeds, PassTrace
from expnet.methods.traced import reads
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.network.features import FeatureConfig, attention_features
from expnet.network.inputs import read_features
from expnet.text.encoding import Encoding


def _needs(given: Mapping[str, Any]) -> PassNeeds:
    """Return what a network reads of a pass."""
    config = given["network"].config.features
    if config.uses_target:
        return PassNeeds(matrices=True, embeddings=True, slopes=True)
    if isinstance(config, FeatureConfig):
        return PassNeeds(rows=True, received="received" in config.patterns)
    return PassNeeds(layers=True, projections=True)


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
        OptionError: If the network needs gradients.
    """
    return _score(classifier, encoding, target, network, trace, gradient=False)


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
        OptionError: If the network sees no gradients.
    """
    return _score(classifier, encoding, target, network, trace, gradient=True)


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


def method_of(network: ExpNet) -> Method:
    """Return the method that runs the passes a network needs."""
    return EXPNET_GRADIENT if network.uses_target else EXPNET


def check_tier(network: ExpNet, *, gradient: bool) -> None:
    """Raise an `OptionError` if a network is not for a method with gradients, or without them."""
    if network.uses_target != gradient:
        raise OptionError(
            f"This ExpNet was trained {'on attention alone' if gradient else 'with gradients'}: choose the method "
            f"{method_of(network).name!r}."
        )


def _score(
    classifier: Classifier,
    encoding: Encoding,
    target: Tensor,
    network: ExpNet,
    trace: PassTrace | None,
    *,
    gradient: bool,
) -> Float[Tensor, "batch tokens"]:
    check_tier(network, gradient=gradient)
    config = network.config.features
    if trace is None:
        features = read_features(classifier, encoding, config, target=target if gradient else None)[1]
    else:
        device = trace.logits.device
        mask, real = encoding.mask.to(device), encoding.real.to(device)
        if isinstance(config, FeatureConfig) and not gradient:
            features = attention_features(trace.anchor, mask, real, config).cpu()
        else:
            features = config.of_signals(trace.signals, mask, real)
    return network.score(features).masked_fill(~encoding.real, 0.0)
