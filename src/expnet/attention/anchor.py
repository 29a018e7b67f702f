"""The anchor: the tokens that a classifier pools before it decides, and what their attention is.

Only this module knows the poolings. A new one is an entry of `POOLINGS`, and its name in `Anchor`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from expnet.attention.borrow import declared_pad
from expnet.attention.fused import FusedLayer
from expnet.attention.intercept import Layer

Anchor = Literal["first", "last", "mean"]


@dataclass(frozen=True, slots=True)
class Pooling:
    """One way to pool tokens.

    Attributes:
        words: The pooled tokens, as a message names them.
        tokens: Takes ids, mask and the padding id (see `declared_pad`), the first two [batch tokens]; returns True for
            the pooled tokens of each text, at least one. They are pooled in equal shares.
        extent: How many they are: "one" token, whose row and column are cheap; "all" real tokens, whose column is the
            same for every token; or "some".
    """

    words: str
    tokens: Callable[[Tensor, Tensor, int | None], Tensor]
    extent: Literal["one", "some", "all"] = "some"


def _first(_ids: Tensor, mask: Tensor, _pad: int | None) -> Tensor:
    return _positions(mask) == mask.int().argmax(1, keepdim=True)


def _last(ids: Tensor, mask: Tensor, pad: int | None) -> Tensor:
    # A text may end with the padding id, as where the end of a text also pads: like transformers' decoders, take the
    # last token that is another. If there is none, argmax gives the first.
    counted = mask if pad is None else mask & (ids != pad)
    return _positions(mask) == (_positions(mask) * counted).argmax(1, keepdim=True)


def _positions(mask: Tensor) -> Tensor:
    return torch.arange(mask.shape[1], device=mask.device)


POOLINGS: Mapping[Anchor, Pooling] = {
    "first": Pooling("the first token", _first, "one"),
    "last": Pooling("the last token", _last, "one"),
    "mean": Pooling("every real token", lambda _ids, mask, _pad: mask, "all"),
}


def anchor_weights(
    ids: Int[Tensor, "batch tokens"], mask: Bool[Tensor, "batch tokens"], anchor: Anchor, pad: int | None
) -> Float[Tensor, "batch tokens"]:
    """Return the weights with which the classifier pools tokens: one 1, or equal shares; each row sums to 1.

    Args:
        ids: Tokens.
        mask: True for real ones.
        anchor: Which tokens are pooled.
        pad: As `declared_pad` gives it.
    """
    return _shares(POOLINGS[anchor].tokens(ids, mask, pad))


class AnchorAttention(NamedTuple):
    """What one layer's heads say of the anchor; the first two in natural logarithms, without meaning on padding.

    Attributes:
        log_row: What the anchor pays to each token.
        log_column: What each token pays to the anchor: to the pooled tokens on average.
        received: What the real tokens pay to each token on average, if it was asked for.
    """

    log_row: Float[Tensor, "batch heads tokens"]
    log_column: Float[Tensor, "batch heads tokens"]
    received: Float[Tensor, "batch heads tokens"] | None


@dataclass(frozen=True, slots=True)
class PooledTokens:
    """The anchor in one batch.

    Attributes:
        weights: Of the pooled tokens; see `anchor_weights`.
        index: Position of the first pooled token.
        shares: Equal shares of all real tokens.
        extent: See `Pooling`.
    """

    weights: Float[Tensor, "batch tokens"]
    index: Int[Tensor, " batch"]
    shares: Float[Tensor, "batch tokens"]
    extent: Literal["one", "some", "all"]

    @classmethod
    def of(cls, model: PreTrainedModel, inputs: Mapping[str, Tensor], anchor: Anchor) -> "PooledTokens":
        """Find the anchor in a batch, given as the keyword arguments of the model."""
        mask = inputs["attention_mask"].bool()
        tokens = POOLINGS[anchor].tokens(inputs["input_ids"], mask, declared_pad(model))
        return cls(_shares(tokens), tokens.int().argmax(1), _shares(mask), POOLINGS[anchor].extent)

    def attention(self, layer: FusedLayer | Layer, *, received: bool) -> AnchorAttention:
        """Read the anchor's attention from a layer, each part in the cheapest way that the pooling allows.

        Args:
            layer: Which layer.
            received: Also return what all tokens pay, which costs about as much as attending again.
        """
        average = layer.mixed(self.shares).float() if received or self.extent == "all" else None
        if self.extent == "one":
            row, column = layer.log_row(self.index).float(), layer.log_column(self.index).float()
        elif average is not None and self.extent == "all":
            row = average.log()
            # Every row sums to 1 over the real tokens, so each token pays their mean the same: 1 / n.
            column = self.shares.amax(1).log()[:, None, None].expand(row.shape)
        else:
            row, column = layer.mixed(self.weights).float().log(), layer.mixed_columns(self.weights).float().log()
        return AnchorAttention(row, column, average if received else None)


def _shares(tokens: Bool[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens"]:
    return tokens / tokens.sum(1, keepdim=True)
