"""The trained part of an ExpNet: from what is seen of the tokens to a number for each."""

import itertools

from jaxtyping import Float
from torch import Tensor, nn

from expnet.errors import MismatchError
from expnet.network.config import ExpNetConfig
from expnet.network.inputs import Features
from expnet.runtime.ambient import torch_defaults


class Scorer(nn.Module):
    """A gate, which makes a vector of each token, and a multilayer perceptron on it and its neighbours."""

    @torch_defaults()
    def __init__(self, config: ExpNetConfig) -> None:
        super().__init__()
        self.config = config
        self.gate = config.features.new_gate(config.dropout)
        self.feature_dropout = nn.Dropout1d(config.feature_dropout)
        self.first = nn.Conv1d(config.width, config.hidden[0], 2 * config.context + 1, padding=config.context)
        layers: list[nn.Module] = [nn.GELU(), nn.Dropout(config.dropout)]
        for before, after in itertools.pairwise(config.hidden):
            layers += [nn.Linear(before, after), nn.GELU(), nn.Dropout(config.dropout)]
        self.rest = nn.Sequential(*layers, nn.Linear(config.hidden[-1], 1))

    @property
    def uses_target(self) -> bool:
        """Whether its features, and so its scores, are those of one class, and take a backward pass."""
        return self.config.features.uses_target

    def forward(self, features: Features) -> Float[Tensor, "batch tokens"]:
        """Return a number per token. Features must be 0 on special tokens and padding, whose numbers mean nothing.

        Raises:
            MismatchError: If the features are not of the kind that the network sees.
        """
        if not isinstance(features, self.config.features.holds):
            raise MismatchError(
                f"This ExpNet was trained on features by {type(self.config.features).__name__}, got a "
                f"{type(features).__name__}: compute them by `read_features` with the network's configuration."
            )
        vectors: Tensor = self.gate(features).transpose(1, 2)
        hidden: Tensor = self.first(self.feature_dropout(vectors) if self.training else vectors).transpose(1, 2)
        for layer in self.rest:
            if self.training or not isinstance(layer, nn.Dropout):  # each costs a call, also where it does nothing
                hidden = layer(hidden)
        return hidden.squeeze(-1)
