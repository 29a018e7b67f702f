"""The anchor: the tokens that a classifier pools before it decides, and what their attention is.

Only this module knows the poolings. A new one is an entry of `POOLINGS`, and its name in `Anchor`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from expnet.attention.borrow import declared_pad
from expnet.attention.fused_layer import FusedLayer, log_anchor
from expnet.attention.intercept import Layer

Anchor = Literal["first", "last", "mean"]
# Most numbers in the keys of layers that are read together: of a short text those of all layers. To copy more takes
# longer than to read one layer after the other.
_TOGETHER = 2**18


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
    """What the heads of all layers say of the anchor; the first two in natural logarithms, without meaning on padding.

    Attributes:
        log_rows: What the anchor pays to each token.
        log_columns: What each token pays to the anchor: to the pooled tokens on average.
        received: What the real tokens pay to each token on average, if it was asked for.
    """

    log_rows: Float[Tensor, "batch layers heads tokens"]
    log_columns: Float[Tensor, "batch layers heads tokens"]
    received: Float[Tensor, "batch layers heads tokens"] | None


@dataclass(frozen=True)
class PooledTokens:
    """The anchor in one batch.

    Attributes:
        tokens: True for the pooled ones.
        real: True for the real ones.
        index: Position of the first pooled token.
        extent: See `Pooling`.
    """

    tokens: Bool[Tensor, "batch tokens"]
    real: Bool[Tensor, "batch tokens"]
    index: Int[Tensor, " batch"]
    extent: Literal["one", "some", "all"]

    @classmethod
    def of(cls, model: PreTrainedModel, inputs: Mapping[str, Tensor], anchor: Anchor) -> "PooledTokens":
        """Find the anchor in a batch, given as the keyword arguments of the model."""
        mask = inputs["attention_mask"].bool()
        tokens = POOLINGS[anchor].tokens(inputs["input_ids"], mask, declared_pad(model))
        return cls(tokens, mask, tokens.int().argmax(1), POOLINGS[anchor].extent)

    @cached_property
    def weights(self) -> Float[Tensor, "batch tokens"]:
        """Weights of the pooled tokens; see `anchor_weights`."""
        return _shares(self.tokens)

    @cached_property
    def shares(self) -> Float[Tensor, "batch tokens"]:
        """Equal shares of all real tokens."""
        return _shares(self.real)


class AnchorReading:
    """Reads the anchor's attention of one layer after the other, each part in the cheapest way that the pooling allows.

    Layers whose states are small are read together, a few operations for all of them. No states of others are held.
    """

    def __init__(self, pooled: PooledTokens, *, received: bool) -> None:
        """Prepare for the layers of a pass.

        Args:
            pooled: The anchor.
            received: Also read what all tokens pay, which costs about as much as attending again.
        """
        self._pooled, self._received = pooled, received
        self._waiting: list[FusedLayer] = []
        self._rows: list[Tensor] = []
        self._columns: list[Tensor] = []
        self._averages: list[Tensor] = []

    def add(self, layer: FusedLayer | Layer) -> None:
        """Read the next layer."""
        pooled = self._pooled
        if self._received or pooled.extent == "all":
            self._averages.append(layer.mixed(pooled.shares).float())
        if pooled.extent == "one" and isinstance(layer, FusedLayer):
            if self._waiting and not layer.goes_with(self._waiting[0]):
                self._read()
            self._waiting.append(layer)
            if len(self._waiting) * layer.scores.key.numel() > _TOGETHER:
                self._read()
        elif pooled.extent == "one" and isinstance(layer, Layer):
            self._take(layer.log_row(pooled.index), layer.log_column(pooled.index))
        elif pooled.extent == "some":
            self._take(layer.mixed(pooled.weights).float().log(), layer.mixed_columns(pooled.weights).float().log())

    def attention(self) -> AnchorAttention:
        """Return what the layers say."""
        self._read()
        averages = torch.stack(self._averages, 1) if self._averages else None
        if averages is not None and self._pooled.extent == "all":
            # Every row sums to 1 over the real tokens, so each token pays their mean the same: 1 / n.
            columns = self._pooled.shares.amax(1).log()[:, None, None, None].expand(averages.shape)
            return AnchorAttention(averages.log(), columns, averages if self._received else None)
        return AnchorAttention(torch.cat(self._rows, 1), torch.cat(self._columns, 1), averages)

    def _read(self) -> None:
        if self._waiting:
            rows, columns = log_anchor(self._waiting, self._pooled.index)
            self._rows.append(rows.float())
            self._columns.append(columns.float())
            self._waiting = []

    def _take(self, log_row: Tensor, log_column: Tensor) -> None:
        self._rows.append(log_row.float()[:, None])
        self._columns.append(log_column.float()[:, None])


def _shares(tokens: Bool[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens"]:
    return tokens / tokens.sum(1, keepdim=True)
