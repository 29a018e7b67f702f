"""One layer of fused attention, and what is read of it, or of several layers as one, without a matrix of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expnet.attention.intercept import Layer, fitting
from expnet.attention.kernels import BLOCK, EVERYTHING, Scores, mixed_columns, mixed_rows

# Most numbers in the keys, or in a block of the scores, of layers that are read as one: of a short text those of all
# layers. To copy more takes longer than to read one layer after the other.
_TOGETHER = 2**17


@dataclass(slots=True)
class FusedScores:
    """What the attention matrices of heads follow from, and what is read of them."""

    scores: Scores
    lse: Float[Tensor, "batch heads tokens"]

    def log_row(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch heads tokens"]:
        """Return the logarithm of what one token of each text pays to each token."""
        return self._log(self.scores.query, self.scores.key, index, row=True)

    def log_column(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch heads tokens"]:
        """Return the logarithm of what each token pays to one token of its text."""
        return self._log(self.scores.key, self.scores.query, index, row=False)

    def log_own(self) -> Float[Tensor, "batch heads tokens"]:
        """Return the logarithm of what each token pays to itself."""
        scores = self.scores
        logs = scores.bent(torch.linalg.vecdot(scores.query.to(self.lse), scores.key.to(self.lse)))
        if scores.bias is not None:
            rows = scores.bias.shape[2] > 1
            bias = scores.bias.diagonal(dim1=-2, dim2=-1) if rows else scores.bias[:, :, 0]
            logs = _hide(logs, bias)
        return logs - self.lse

    def mixed(self, weights: Float[Tensor, "batch tokens"]) -> Float[Tensor, "batch heads tokens"]:
        """Return a weighted sum of rows: what the weighted tokens together pay to each token."""
        return mixed_rows(self.scores, self.lse, weights)

    def mixed_columns(self, weights: Float[Tensor, "batch tokens"]) -> Float[Tensor, "batch heads tokens"]:
        """Return a weighted sum of columns: what each token pays to the weighted tokens together."""
        return mixed_columns(self.scores, self.lse, weights)

    def _log(self, of_one: Tensor, all_: Tensor, index: Tensor, *, row: bool) -> Tensor:
        scores, less = self.scores, _at(self.lse, index) if row else self.lse
        states = all_.to(self.lse).flatten(0, 1)
        one = _at(of_one, index).to(self.lse).reshape(len(states), -1, 1)
        if scores.cap is None:  # one operation, in which no product of single numbers is held
            start = less.reshape(len(states), -1, 1)
            logs = torch.baddbmm(start, states, one, beta=-1, alpha=scores.scale).view(all_.shape[:3])
        else:
            logs = scores.bent(torch.bmm(states, one).view(all_.shape[:3])) - less
        if scores.bias is not None:
            bias = scores.bias.expand(len(index), -1, -1, -1)
            logs = _hide(logs, _slice(bias, index, row=row))
        if scores.band != EVERYTHING:
            positions = torch.arange(logs.shape[2], device=index.device)
            query, key = (index[:, None], positions) if row else (positions, index[:, None])
            logs = logs.masked_fill(scores.band.hides(query, key)[:, None], -torch.inf)
        return logs


@dataclass(slots=True)
class FusedLayer(FusedScores):
    """What one attention layer computed: what its matrix follows from, and the values.

    `projection` is the matrix that joins the heads again, if it was asked for and seen.
    """

    value: Float[Tensor, "batch heads tokens width"]
    projection: Float[Tensor, "hidden joined"] | None = None

    def output_projection(self) -> Float[Tensor, "hidden joined"]:
        """Return the projection.

        Raises:
            UnsupportedModelError: If none was seen that fits the heads.
        """
        return fitting(self.projection, self.value)


# Called with what is read of layers as one, whose heads follow each other, and with the layers.
Read = Callable[[FusedScores | Layer, Sequence[FusedLayer | Layer]], None]


@dataclass(slots=True)
class Together:
    """Has layers read while a pass gives one after the other: as one where they are small, a few operations for all.

    No states of other layers are held.
    """

    read: Read
    waiting: list[FusedLayer] = field(default_factory=list)

    def add(self, layer: FusedLayer | Layer) -> None:
        """Take the next layer."""
        if isinstance(layer, Layer):
            self.read(layer, [layer])
            return
        size = layer.lse.numel() * max(layer.scores.key.shape[3], min(layer.lse.shape[2], BLOCK))
        if self.waiting and (
            (len(self.waiting) + 1) * size > _TOGETHER or not _alike(layer.scores, self.waiting[0].scores)
        ):
            self.done()
        self.waiting.append(layer)
        if size > _TOGETHER:
            self.done()

    def done(self) -> None:
        """Have those read that still wait; call it after the last layer."""
        if self.waiting:
            layers, self.waiting = self.waiting, []
            self.read(_joined(layers), layers)


def _alike(mine: Scores, other: Scores) -> bool:
    """Whether scores are of the same shape and differ in nothing but queries and keys."""

    def settings(scores: Scores) -> tuple[object, ...]:
        return scores.scale, scores.band, scores.cap, scores.query.shape, scores.key.shape

    return mine.bias is other.bias and settings(mine) == settings(other)


def _joined(layers: Sequence[FusedLayer]) -> FusedScores:
    if len(layers) == 1:
        return layers[0]
    first = layers[0].scores
    query, key = (torch.cat([getattr(layer.scores, name) for layer in layers], 1) for name in ("query", "key"))
    bias = first.bias
    if bias is not None and bias.shape[1] > 1:
        bias = bias.repeat(1, len(layers), 1, 1)
    lse = torch.cat([layer.lse for layer in layers], 1)
    return FusedScores(Scores(query, key, first.scale, bias, first.band, first.cap), lse)


def _at(states: Float[Tensor, "batch heads tokens *width"], index: Int[Tensor, " batch"]) -> Tensor:
    """Return what belongs to one token of each text, [batch heads 1 *width]."""
    # Not on a GPU, which would have to be waited for to read the index.
    if index.device.type == "cpu" and len(places := set(index.tolist())) == 1:
        return states.narrow(2, places.pop(), 1)
    return states[torch.arange(len(index), device=index.device), :, index, None]


def _slice(bias: Tensor, index: Tensor, *, row: bool) -> Tensor:
    if not row:
        return bias[torch.arange(len(index), device=index.device), :, :, index]
    return _at(bias, index)[:, :, 0] if bias.shape[2] > 1 else bias[:, :, 0]


def _hide(scores: Tensor, bias: Tensor) -> Tensor:
    return (scores + bias).masked_fill(bias <= torch.finfo(bias.dtype).min / 2, -torch.inf)
