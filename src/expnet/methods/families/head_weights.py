"""Attention with a weight for each head, which one classifier's random removals of words have taught."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expnet.attention.capture import capture
from expnet.errors import OptionError
from expnet.methods.method import Method
from expnet.methods.passes import by_part
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding


def anchor_attention(classifier: Classifier, part: Encoding) -> Float[Tensor, "batch heads tokens"]:
    """Return the attention that the anchor pays to each token in every head, the heads of the first layer first."""
    support, model = classifier.support, classifier.model
    trace = capture(model, part.inputs(model.device), anchor=support.anchor, backend=support.backend)
    return trace.rows.flatten(1, 2).float().cpu()


@by_part()
def attribution_with_attention(
    classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"], *, weights: Sequence[float]
) -> Float[Tensor, "batch tokens"]:
    """Sum the anchor's attention to each token over all heads, each with its weight (AT2); signed.

    `expnet.learn_head_weights` learns the weights from a classifier's answers to texts with words removed. They belong
    to that classifier.

    Args:
        classifier: The classifier.
        part: Windows that fit one pass.
        target: Not used.
        weights: One for each head, the heads of the first layer first.

    Raises:
        OptionError: If there is not one finite weight for each head.
    """
    attention = anchor_attention(classifier, part)
    weight = torch.tensor(list(weights), dtype=torch.float32)
    if len(weight) != attention.shape[1] or not weight.isfinite().all():
        raise OptionError(
            f"weights has {len(weight)} numbers, expected a finite one for each of the {attention.shape[1]} heads of "
            "this classifier: learn_head_weights(classifier, texts) learns them."
        )
    return torch.einsum("bht,h->bt", attention, weight)


ATTRIBUTION_WITH_ATTENTION = Method(
    name="attribution_with_attention",
    family="attention",
    measures="How much the word matters to the output, estimated from the attention of each head by weights "
    "learned from removals",
    function=attribution_with_attention,
    paper="Cohen-Wang et al. 2025, arXiv:2504.13752",
    forward="1",
    signed=True,
    uses_target=False,
)
