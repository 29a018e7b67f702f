"""The anchor: the tokens that a classifier pools before it decides, and what their attention is.

Only this module knows the poolings. A new one is an entry of `POOLINGS`, and its name in `Anchor`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from expnet.attention.borrow import declared_pad
from expnet.attention.fused_layer import FusedLayer, FusedScores, Together
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
        place: Of "one", from the same arguments to where it is, [batch].
    """

    words: str
    tokens: Callable[[Tensor, Tensor, int | None], Tensor]
    extent: Literal["one", "some", "all"] = "some"
    place: Callable[[Tensor, Tensor, int | None], Tensor] | None = None

    @classmethod
    def one(cls, words: str, place: Callable[[Tensor, Tensor, int | None], Tensor]) -> "Pooling":
        """Return the pooling of the one token at a place."""
        return cls(words, lambda ids, mask, pad: _positions(mask) == place(ids, mask, pad)[:, None], "one", place)


def _first(_ids: Tensor, mask: Tensor, _pad: int | None) -> Tensor:
    return mask.int().argmax(1)


def _last(ids: Tensor, mask: Tensor, pad: int | None) -> Tensor:
    # A text may end with the padding id, as where the end of a text also pads: like transformers' decoders, take the
    # last token that is another. If there is none, argmax gives the first.
    counted = mask if pad is None else mask & (ids != pad)
    return (_positions(mask) * counted).argmax(1)


def _positions(mask: Tensor) -> Tensor:
    return torch.arange(mask.shape[1], device=mask.device)


POOLINGS: Mapping[Anchor, Pooling] = {
    "first": Pooling.one("the first token", _first),
    "last": Pooling.one("the last token", _last),
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
    """What heads say of the anchor; the first two in natural logarithms, without meaning on padding.

    Attributes:
        log_row: What the anchor pays to each token.
        log_column: What each token pays to the anchor: to the pooled tokens on average.
        received: What the real tokens pay to each token on average, if it was asked for.
    """

    log_row: Float[Tensor, "batch *heads tokens"]
    log_column: Float[Tensor, "batch *heads tokens"]
    received: Float[Tensor, "batch *heads tokens"] | None


@dataclass(frozen=True, slots=True)
class PooledTokens:
    """The anchor in one batch.

    Attributes:
        real: True for the real ones.
        index: Position of the first pooled token.
        extent: See `Pooling`.
        find: Returns True for the pooled ones, [batch tokens].
    """

    real: Bool[Tensor, "batch tokens"]
    index: Int[Tensor, " batch"]
    extent: Literal["one", "some", "all"]
    find: Callable[[], Bool[Tensor, "batch tokens"]]
    # What not every pooling needs. In Python 3.11 a cached property holds a lock that a fork would leave locked.
    _made: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, model: PreTrainedModel, inputs: Mapping[str, Tensor], anchor: Anchor) -> "PooledTokens":
        """Find the anchor in a batch, given as the keyword arguments of the model."""
        pooling, ids, mask = POOLINGS[anchor], inputs["input_ids"], inputs["attention_mask"].bool()
        pad = declared_pad(model)

        def find() -> Tensor:
            return pooling.tokens(ids, mask, pad)

        index = find().int().argmax(1) if pooling.place is None else pooling.place(ids, mask, pad)
        return cls(mask, index, pooling.extent, find)

    @property
    def weights(self) -> Float[Tensor, "batch tokens"]:
        """Weights of the pooled tokens; see `anchor_weights`."""
        return self._once("weights", self.find)

    @property
    def shares(self) -> Float[Tensor, "batch tokens"]:
        """Equal shares of all real tokens."""
        return self._once("shares", lambda: self.real)

    def _once(self, name: str, tokens: Callable[[], Tensor]) -> Tensor:
        if name not in self._made:
            self._made[name] = _shares(tokens())
        return self._made[name]

    def attention(self, layer: FusedScores | Layer, *, received: bool) -> AnchorAttention:
        """Read the anchor's attention from a layer, each part in the cheapest way that the pooling allows.

        Args:
            layer: Which layer, or several as one.
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


class AnchorReading:
    """Reads the anchor's attention of one layer after the other, while a pass computes them."""

    def __init__(self, pooled: PooledTokens, *, received: bool) -> None:
        """Prepare for the layers of a pass; the arguments are those of `PooledTokens.attention`."""
        self.pooled, self._with_received = pooled, received
        self._rows, self._columns, self._received = list[Tensor](), list[Tensor](), list[Tensor]()
        self._together = Together(self._read)
        self.add = self._together.add

    def attention(self) -> AnchorAttention:
        """Return what the layers say, [batch layers heads tokens]."""
        self._together.done()
        received = torch.cat(self._received, 1) if self._received else None
        return AnchorAttention(_joined(self._rows), _joined(self._columns), received)

    def _read(self, layer: FusedScores | Layer, layers: Sequence[FusedLayer | Layer]) -> None:
        row, column, received = self.pooled.attention(layer, received=self._with_received)
        shape = (len(layers), -1)
        self._rows.append(row.unflatten(1, shape))
        self._columns.append(column.unflatten(1, shape))
        if received is not None:
            self._received.append(received.unflatten(1, shape))


def _joined(layers: Sequence[Tensor]) -> Tensor:
    return layers[0] if len(layers) == 1 else torch.cat(list(layers), 1)


def _shares(tokens: Bool[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens"]:
    return tokens / tokens.sum(1, keepdim=True)
