"""What an ExpNet says of tokens when some heads see nothing in particular."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from expnet.network.inputs import Features
from expnet.network.scorer import Scorer
from expnet.runtime.ambient import torch_defaults

_AT_ONCE = 16  # copies of a window; of 144 heads and 512 tokens they take some 40 MB


@torch_defaults()
@torch.no_grad()
def logits_without_heads(
    scorer: Scorer, window: Features | Float[Tensor, "tokens features"], groups: Sequence[Sequence[int]]
) -> Float[Tensor, "{len(groups)} tokens"]:
    """Return the logit of each token without what each group of heads sees.

    This is occlusion: the network runs again, with the features of the heads set to 0, their mean over the text, in
    every token. So the difference to the logit with all heads is what happens, not an estimate of it. Differences do
    not add up, because the network is not linear, and heads may stand in for each other.

    Args:
        scorer: An ExpNet, or its second output, in evaluation mode.
        window: Features of one window, as `NetworkInput.window` returns them.
        groups: Heads that are left out together, counted through all layers; an empty group leaves out none.
    """
    config = scorer.config.features
    copies = (
        config.collate([config.without_heads(window, group) for group in groups[start : start + _AT_ONCE]])
        for start in range(0, len(groups), _AT_ONCE)
    )
    return torch.cat([scorer(some) for some in copies])
