"""One layer of fused attention, and what is read of it or of all layers together, without a matrix of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expnet.attention.intercept import fitting
from expnet.attention.kernels import EVERYTHING, Band, Scores, bent, mixed_columns, mixed_rows


class Terms(NamedTuple):
    """What makes scores of dot products; see `Scores`. Most models have the same in every layer."""

    scale: float
    bias: Float[Tensor, "#batch #heads #tokens tokens"] | None
    band: Band
    cap: float | None


@dataclass(slots=True)
class FusedLayer:
    """What one attention layer computed: what its matrix follows from, and the values.

    `projection` is the matrix that joins the heads again, if it was asked for and seen.
    """

    scores: Scores
    lse: Float[Tensor, "batch heads tokens"]
    value: Float[Tensor, "batch heads tokens width"]
    projection: Float[Tensor, "hidden joined"] | None = None

    def output_projection(self) -> Float[Tensor, "hidden joined"]:
        """Return the projection.

        Raises:
            UnsupportedModelError: If none was seen that fits the heads.
        """
        return fitting(self.projection, self.value)

    @property
    def terms(self) -> Terms:
        """What makes scores of its dot products."""
        scores = self.scores
        return Terms(scores.scale, scores.bias, scores.band, scores.cap)

    def log_own(self) -> Float[Tensor, "batch heads tokens"]:
        """Return the logarithm of what each token pays to itself."""
        scale, bias, _, cap = self.terms
        scores = bent(_dots(self.scores.query, self.scores.key, self.lse), scale, cap)
        if bias is not None:
            scores = _hide(scores, bias.diagonal(dim1=-2, dim2=-1) if bias.shape[2] > 1 else bias[:, :, 0])
        return scores - self.lse

    def mixed(self, weights: Float[Tensor, "batch tokens"]) -> Float[Tensor, "batch heads tokens"]:
        """Return a weighted sum of rows: what the weighted tokens together pay to each token."""
        return mixed_rows(self.scores, self.lse, weights)

    def mixed_columns(self, weights: Float[Tensor, "batch tokens"]) -> Float[Tensor, "batch heads tokens"]:
        """Return a weighted sum of columns: what each token pays to the weighted tokens together."""
        return mixed_columns(self.scores, self.lse, weights)

    def goes_with(self, other: "FusedLayer") -> bool:
        """Whether both have the same shapes and terms, so that they can be read together."""
        mine, theirs = self.terms, other.terms
        alike = mine.bias is theirs.bias and mine._replace(bias=None) == theirs._replace(bias=None)
        return alike and self.scores.key.shape == other.scores.key.shape


def log_anchor(
    layers: Sequence[FusedLayer], index: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, "batch layers heads tokens"], Float[Tensor, "batch layers heads tokens"]]:
    """Return the logarithms of what one token of each text pays to each token, and of what each token pays to it.

    Args:
        layers: Those that go with each other.
        index: Position of this token in each text.
    """
    (scale, bias, band, cap), text = layers[0].terms, torch.arange(len(index), device=index.device)
    parts = [(layer.scores.query, layer.scores.key, layer.lse) for layer in layers]
    query, key, lse = (torch.stack(part, 1) for part in zip(*parts, strict=True))
    rows = bent(_dots(query[text, :, :, index, None], key, lse), scale, cap)
    columns = bent(_dots(key[text, :, :, index, None], query, lse), scale, cap)
    if bias is not None:
        bias = bias.expand(len(index), -1, -1, -1)
        of_rows = bias[text, :, index] if bias.shape[2] > 1 else bias[:, :, 0]
        rows, columns = _hide(rows, of_rows[:, None]), _hide(columns, bias[text, :, :, index][:, None])
    if band != EVERYTHING:
        one, all_ = index[:, None], torch.arange(rows.shape[3], device=index.device)
        rows = rows.masked_fill(band.hides(one, all_)[:, None, None], -torch.inf)
        columns = columns.masked_fill(band.hides(all_, one)[:, None, None], -torch.inf)
    return rows - lse[text, :, :, index, None], columns - lse


def _dots(one: Tensor, other: Tensor, like: Tensor) -> Tensor:
    # A product and a sum: a matrix product would first copy the states, whose batch and head axes do not merge.
    dots: Tensor = torch.linalg.vecdot(other.to(like), one.to(like))
    return dots


def _hide(scores: Tensor, bias: Tensor) -> Tensor:
    return (scores + bias).masked_fill(bias <= torch.finfo(bias.dtype).min / 2, -torch.inf)
