"""From a set of heads to a vector for each token."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expnet.network.sets import HeadFeatures

# A mean over heads that disagree is small; about the root of their number brings it back to the scale of one.
_GAIN = 8.0


class HeadGate(nn.Module):
    """Sums over heads, weighted by what the description of a head says; their number and order mean nothing.

    Returns, per token, the sums and the features that belong to no head.

    Args:
        channels: Numbers per head and token.
        descriptors: Numbers that describe a head.
        hidden: Hidden width of the network that weighs a head by its description.
        summed: Sums over the heads that each token gets, of all channels together.
        dropout: Share of hidden units dropped in training.
        head_dropout: Share of the heads left out at each step of training.
    """

    def __init__(
        self, *, channels: int, descriptors: int, hidden: int, summed: int, dropout: float, head_dropout: float
    ) -> None:
        super().__init__()
        self.summed, self.head_dropout = summed, head_dropout
        self.weigh = nn.Sequential(
            nn.Linear(descriptors, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, channels * summed)
        )

    def forward(self, features: HeadFeatures) -> Float[Tensor, "batch tokens width"]:
        seen, about, present = features.heads.float(), features.about.float(), features.present
        if self.training and self.head_dropout:
            heads = seen.shape[2]
            chosen = torch.randperm(heads)[: max(1, round(heads * (1 - self.head_dropout)))]
            seen, about, present = seen[:, :, chosen], about[:, chosen], present[:, chosen]
        weights = self.weigh(about).masked_fill(~present[..., None], 0).unflatten(-1, (-1, self.summed))
        sums = torch.einsum("bthc,bhcs->bts", seen, weights) / present.sum(1).clamp(min=1)[:, None, None]
        return torch.cat([_GAIN * sums, features.tokens.float()], -1)
