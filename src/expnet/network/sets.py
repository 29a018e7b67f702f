"""Sets of attention heads as tensors: batches, single windows, and how they are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class HeadFeatures:
    """The features of a batch of windows, or of one window, without the first axis.

    Attributes:
        heads: What each head sees in each token, within [-5, 5]; 0 on special tokens, padding and absent heads.
        about: What kind of head it is in this text.
        tokens: Fixed rules, within [-5, 5]; 0 on special tokens and padding.
        present: False for heads that only fill up a batch of classifiers with different numbers of heads.
    """

    heads: Float[Tensor, "*batch tokens heads channels"]
    about: Float[Tensor, "*batch heads descriptors"]
    tokens: Float[Tensor, "*batch tokens scalars"]
    present: Bool[Tensor, "*batch heads"]

    def window(self, row: int, length: int) -> "HeadFeatures":
        """Return the first tokens of one window of a batch."""
        return HeadFeatures(self.heads[row, :length], self.about[row], self.tokens[row, :length], self.present[row])

    def half(self) -> "HeadFeatures":
        """Return the same in half precision, for keeping."""
        return HeadFeatures(self.heads.half(), self.about.half(), self.tokens.half(), self.present)


def stack(windows: Sequence[HeadFeatures]) -> HeadFeatures:
    """Make a batch of windows, of whatever classifiers, filling up tokens and heads with 0."""
    length = max(window.tokens.shape[0] for window in windows)
    most = max(window.present.shape[0] for window in windows)
    parts = []
    for window in windows:
        tokens, heads = length - window.tokens.shape[0], most - window.present.shape[0]
        parts.append(
            (
                F.pad(window.heads, (0, 0, 0, heads, 0, tokens)),
                F.pad(window.about, (0, 0, 0, heads)),
                F.pad(window.tokens, (0, 0, 0, tokens)),
                F.pad(window.present, (0, heads)),
            )
        )
    return HeadFeatures(*(torch.stack(tensors) for tensors in zip(*parts, strict=True)))


def pack_sets(windows: Sequence[HeadFeatures]) -> dict[str, Tensor]:
    """Return windows of one classifier as a few tensors to store."""
    return {
        "heads": torch.cat([window.heads for window in windows]),
        "about": torch.stack([window.about for window in windows]),
        "tokens": torch.cat([window.tokens for window in windows]),
    }


def unpack_sets(packed: Mapping[str, Tensor], lengths: Sequence[int]) -> list[HeadFeatures]:
    """Return the windows, of these numbers of tokens, that `pack_sets` packed."""
    parts = zip(packed["heads"].split(lengths), packed["about"], packed["tokens"].split(lengths), strict=True)
    return [
        HeadFeatures(heads, about, tokens, torch.ones(len(about), dtype=torch.bool)) for heads, about, tokens in parts
    ]
