"""Attention with a weight for each head, which one classifier's random removals of words have taught."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expnet.attention.capture import Trace, capture
from expnet.errors import OptionError
from expnet.methods.method import Method
from expnet.methods.shared_pass import PassNeeds, PassTrace
from expnet.methods.traced import by_trace
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding


def anchor_attention(classifier: Classifier, part: Encoding) -> Float[Tensor, "batch heads tokens"]:
    """Return the attention that the anchor pays to each token in every head, the heads of the first layer first."""
    support, model = classifier.support, classifier.model
    return _by_head(capture(model, part.inputs(model.device), anchor=support.anchor, backend=support.backend))


@by_trace(lambda _: PassNeeds(rows=True))
def attribution_with_attention(
    classifier: Classifier,
    part: Encoding,
    target: Int[Tensor, " batch"],
    *,
    trace: PassTrace,
    weights: Sequence[float],
) -> Float[Tensor, "batch tokens"]:
    """Sum the anchor's attention to each token over all heads, each with its weight (AT2); signed.

    `expnet.learn_head_weights` learns the weights from a classifier's answers to texts with words removed. They belong
    to that classifier.

    Args:
        classifier: The classifier.
        part: Windows that fit one pass.
        target: Not used.
        trace: The pass.
        weights: One for each head, the heads of the first layer first.

    Raises:
        OptionError: If there is not one finite weight for each head.
    """
    attention = _by_head(trace.anchor)
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


def _by_head(anchor: Trace) -> Float[Tensor, "batch heads tokens"]:
    return anchor.rows.flatten(1, 2).float().cpu()
