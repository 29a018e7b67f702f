"""The loss of an ExpNet: marks are rare, and only compare within a text."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def rationale_loss(
    logits: Float[Tensor, "batch tokens"],
    targets: Float[Tensor, "batch tokens"],
    *,
    positive_weight: float,
    ranking: float,
    entropy: float = 1.0,
) -> Float[Tensor, ""]:
    """Add cross-entropy, in which marks weigh more, and a ranking loss within each text.

    Args:
        logits: One per token.
        targets: 1 marked, 0 not, NaN where a token does not count.
        positive_weight: How much more a marked token weighs than another in the cross-entropy.
        ranking: Weight of the ranking loss, the mean over all pairs of a marked and an unmarked token of a text of
            `log(1 + exp(unmarked - marked))`, averaged over the texts that have such pairs.
        entropy: Weight of the cross-entropy.
    """
    counts = ~targets.isnan()
    crossed = F.binary_cross_entropy_with_logits(
        logits[counts], targets[counts], pos_weight=logits.new_tensor(positive_weight)
    )
    if not ranking:
        return entropy * crossed
    pairs = (targets == 1)[:, :, None] & (targets == 0)[:, None]
    losses = F.softplus(logits[:, None] - logits[:, :, None]).masked_fill(~pairs, 0).sum((1, 2))
    numbers = pairs.sum((1, 2))
    ranked = numbers > 0
    mean = (losses[ranked] / numbers[ranked]).mean() if ranked.any() else torch.zeros_like(crossed)
    return entropy * crossed + ranking * mean


def imitation_loss(logits: Float[Tensor, "batch tokens"], targets: Float[Tensor, "batch tokens"]) -> Float[Tensor, ""]:
    """Return the mean squared difference between logits, less their mean over each text, and targets.

    Args:
        logits: One per token.
        targets: What they should be, with mean 0 over each text; NaN where a token does not count.
    """
    counts = ~targets.isnan()
    mean = logits.masked_fill(~counts, 0).sum(1, keepdim=True) / counts.sum(1, keepdim=True).clamp(min=1)
    return (logits - mean - targets)[counts].square().mean()


def correlation(first: Float[Tensor, "*batch n"], second: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    """Return Pearson's correlation along the last dimension; about 0 where a side is constant."""
    a, b = (side - side.mean(-1, keepdim=True) for side in (first, second))
    return (a * b).mean(-1) / (a.square().mean(-1).sqrt() * b.square().mean(-1).sqrt() + 1e-8)
