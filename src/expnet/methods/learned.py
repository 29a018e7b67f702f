"""ExpNet as one method among the others: with attention alone, and with gradients."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from expnet.attention.signals import GradientPass
from expnet.errors import OptionError
from expnet.explanation.meaning import MARKED
from expnet.methods.method import Method
from expnet.model.capacity import batches
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.network.inputs import read_features
from expnet.runtime.ambient import torch_defaults
from expnet.text.encoding import Encoding


def expnet(
    classifier: Classifier, encoding: Encoding, target: Int[Tensor, " batch"], *, network: ExpNet
) -> Float[Tensor, "batch tokens"]:
    """Score each token, in [0, 1], by how likely people would mark it, learned from rationales.

    Args:
        classifier: The classifier.
        encoding: Windows.
        target: Not used.
        network: Trained for classifiers of this kind, in evaluation mode, on attention alone.

    Raises:
        OptionError: If the network needs gradients.
    """
    return _score(classifier, encoding, target, network, gradient=False)


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


def expnet_gradient(
    classifier: Classifier, encoding: Encoding, target: Int[Tensor, " batch"], *, network: ExpNet
) -> Float[Tensor, "batch tokens"]:
    """Score each token, in [0, 1], by how likely people would mark it as a reason for the target.

    Args:
        classifier: The classifier.
        encoding: Windows.
        target: A class for each window.
        network: Trained on attention and gradients, in evaluation mode.

    Raises:
        OptionError: If the network sees no gradients.
    """
    return _score(classifier, encoding, target, network, gradient=True)


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


@torch_defaults()
def score_classes(
    classifier: Classifier, encoding: Encoding, choose: Callable[[Encoding, Tensor], Tensor], *, network: ExpNet
) -> tuple[Float[Tensor, "batch classes"], Int[Tensor, "targets batch"], Float[Tensor, "targets batch tokens"]]:
    """Score each token for several targets, by one forward pass and a backward pass from each of them.

    Args:
        classifier: The classifier.
        encoding: Windows.
        choose: Takes windows and their logits, and returns the targets, [targets, batch]; called for one part of the
            windows after the other, each time for the same number of targets.
        network: Trained on attention and gradients, in evaluation mode.

    Returns:
        Logits, targets, and the scores of each target.
    """
    check_tier(network, gradient=True)
    parts = [_score_part(classifier, part, choose, network) for part in batches(encoding)]
    logits, targets, scores = zip(*parts, strict=True)
    width = encoding.ids.shape[1]
    padded = [F.pad(of_part, (0, width - of_part.shape[2])) for of_part in scores]
    return torch.cat(logits), torch.cat(targets, 1), torch.cat(padded, 1)


def _score_part(
    classifier: Classifier, part: Encoding, choose: Callable[[Encoding, Tensor], Tensor], network: ExpNet
) -> tuple[Tensor, Tensor, Tensor]:
    model = classifier.model
    inputs, real = part.inputs(model.device), part.real.to(model.device)
    done, mask = GradientPass(model, inputs, anchor=classifier.support.anchor), inputs["attention_mask"].bool()
    targets, scores = choose(part, done.logits.cpu()), []
    # Scored as they come, because the features of all targets together could take a hundred times the memory.
    for signals in done.of_each(targets.to(model.device)):
        features = network.config.features.of_signals(signals, mask, real)
        with torch.inference_mode():
            scores.append(network.score(features).masked_fill(~part.real, 0.0))
    return done.logits.cpu(), targets, torch.stack(scores)


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
    classifier: Classifier, encoding: Encoding, target: Tensor, network: ExpNet, *, gradient: bool
) -> Float[Tensor, "batch tokens"]:
    check_tier(network, gradient=gradient)
    _, features = read_features(classifier, encoding, network.config.features, target=target if gradient else None)
    return network.score(features).masked_fill(~encoding.real, 0.0)
