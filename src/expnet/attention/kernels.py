"""Fused attention that also returns the log-sum-exp of each query's scores, and scores in blocks where need be."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

# Queries in one block: enough to keep the processor busy, while memory stays linear in the length.
BLOCK = 128
# Farther than any text is long.
FAR = 1 << 30
# Takes query, key, value, bias, causal, scale; returns output and log-sum-exp.
Kernel = Callable[[Tensor, Tensor, Tensor, Tensor | None, bool, float], tuple[Tensor, Tensor]]


class Band(NamedTuple):
    """How many keys before and after its own position a query sees; a causal one sees none after."""

    before: int = FAR
    after: int = FAR

    def hides(self, query: Int[Tensor, "*shape"], key: Int[Tensor, "*other"]) -> Bool[Tensor, "..."]:
        """Whether the query at one position does not see the key at another."""
        return (key - query > self.after) | (query - key > self.before)

    def keys(self, first: int, last: int) -> slice:
        """Return the keys that some query from `first` to `last` sees."""
        return slice(max(0, first - self.before), last + self.after + 1)


EVERYTHING = Band()
CAUSAL = Band(after=0)


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of one layer, as what they are made of: `query · key * scale + bias`, minus infinity off the band.

    Keys are already repeated where several query heads share one. `bias` is broadcast where an axis is 1; a large
    negative number hides a key. `cap` bends the products before the bias is added, `tanh(x / cap) * cap`.
    """

    query: Float[Tensor, "batch heads queries width"]
    key: Float[Tensor, "batch heads keys width"]
    scale: float
    bias: Float[Tensor, "#batch #heads #queries keys"] | None = None
    band: Band = EVERYTHING
    cap: float | None = None

    def block(
        self, places: Int[Tensor, " block"], less: Float[Tensor, "batch heads queries"] | None = None
    ) -> tuple[slice, Float[Tensor, "batch heads block near"]]:
        """Return which keys the queries at these ascending places see, and their scores, in float32 at least.

        `less`: a number for each query, taken off its scores.
        """
        near = self.band.keys(int(places[0]), int(places[-1]))
        key = _wide(self.key[:, :, near]).transpose(2, 3)
        off = self.query.new_zeros(()) if less is None else less[:, :, places, None]
        if self.cap is None:  # the block is large: each pass over it counts
            query = _wide(self.query[:, :, places]) * self.scale
            start = off.to(query).expand(*query.shape[:3], 1).flatten(0, 1)
            flat = torch.baddbmm(start, query.flatten(0, 1), key.flatten(0, 1), beta=-1)
            scores = flat.view(*query.shape[:3], -1)
        else:
            scores = self.bent(_wide(self.query[:, :, places]) @ key) - off
        bias = self.hiding(places, near)
        return near, scores if bias is None else scores.add_(bias)

    def bent(self, products: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Scale dot products, and cap them where the model does."""
        scaled = products * self.scale
        return scaled if self.cap is None else (scaled / self.cap).tanh() * self.cap

    def hiding(self, places: Int[Tensor, " block"], near: slice) -> Float[Tensor, "#batch #heads #block near"] | None:
        """Return what is added to the scores of these queries: the bias, minus infinity off the band."""
        bias = self.bias
        if bias is not None:
            bias = (bias if bias.shape[2] == 1 else bias[:, :, places])[..., near]
        if self.band == EVERYTHING:
            return bias
        positions = torch.arange(self.key.shape[2], device=places.device)[near]
        hidden = self.band.hides(places[:, None], positions)
        if not hidden.any():
            return bias
        band = torch.zeros_like(hidden, dtype=self.query.dtype).masked_fill(hidden, -torch.inf)[None, None]
        return band if bias is None else bias + band


def fused_attention(
    scores: Scores, value: Float[Tensor, "batch heads keys value_width"]
) -> tuple[Float[Tensor, "batch heads queries value_width"], Float[Tensor, "batch heads queries"]]:
    """Attend without building the queries × keys matrix.

    By the device's own kernel where one returns the log-sum-exp; else, and where scores are capped, in blocks of
    queries. A band is attended to in blocks too, each with the keys near it, so that time is linear in its width.

    Returns:
        The attended values, and the natural logarithm of each query's softmax denominator, in float32 at least.
    """
    length = scores.key.shape[2]
    kernel = None if scores.cap is not None else _kernel_for(scores, value)
    causal = scores.band.after == 0
    if kernel is not None and scores.band.before >= length - 1 and (causal or scores.band.after >= length - 1):
        return kernel(scores.query, scores.key, value, scores.bias, causal, scores.scale)
    parts = []
    for places in torch.arange(scores.query.shape[2], device=value.device).split(BLOCK):
        if kernel is None:
            near, block = scores.block(places)
            # A kernel keeps its sums in float32, and so do we.
            parts.append(((block.softmax(-1) @ _wide(value[:, :, near])).to(value.dtype), block.logsumexp(-1)))
        else:
            near = scores.band.keys(int(places[0]), int(places[-1]))
            query, bias = scores.query[:, :, places], scores.hiding(places, near)
            parts.append(kernel(query, scores.key[:, :, near], value[:, :, near], bias, False, scores.scale))
    outputs, lses = zip(*parts, strict=True)
    return torch.cat(outputs, dim=2), torch.cat(lses, dim=2)


def mixed_rows(
    scores: Scores, lse: Float[Tensor, "batch heads queries"], weights: Float[Tensor, "batch queries"]
) -> Float[Tensor, "batch heads keys"]:
    """Return a weighted sum of rows of attention, `sum_i w_i a[i, j]`, from blocks of the rows that count.

    The log-sum-exp of a second fused call with the roles of queries and keys swapped gives the same,
    `logsumexp_i(k_j · q_i * scale + bias_ij + log w_i - lse_i)`, but has no place for caps and bands, and on a
    processor it takes about as long.

    Args:
        scores: The scores.
        lse: Their log-sum-exp, as `fused_attention` returns it.
        weights: Weight of each row.
    """
    # The rows that do not count may attend to anything, also infinitely.
    lse = lse.masked_fill((weights == 0)[:, None], torch.inf)
    scores = replace(scores, key=_wide(scores.key).contiguous())  # once, not once a block
    mixed = lse.new_zeros(scores.key.shape[:3])
    for places in weights.any(0).nonzero().flatten().split(BLOCK):
        near, block = scores.block(places, lse)
        some = weights[:, None, None, places].to(block).expand(-1, block.shape[1], -1, -1)
        mixed[:, :, near] += (some @ block.exp_())[:, :, 0]
    return mixed


def mixed_columns(
    scores: Scores, lse: Float[Tensor, "batch heads queries"], weights: Float[Tensor, "batch keys"]
) -> Float[Tensor, "batch heads queries"]:
    """Return a weighted sum of columns of attention, `sum_j w_j a[i, j]`, from blocks of rows.

    Args:
        scores: The scores.
        lse: Their log-sum-exp, as `fused_attention` returns it.
        weights: Weight of each column.
    """
    scores = replace(scores, key=_wide(scores.key).contiguous())  # once, not once a block
    parts = []
    for places in torch.arange(scores.query.shape[2], device=lse.device).split(BLOCK):
        near, block = scores.block(places, lse)
        parts.append((block.exp_() @ weights[:, None, near, None].to(block))[..., 0])
    return torch.cat(parts, dim=2)


def _wide(states: Tensor) -> Tensor:
    return states if states.dtype == torch.float64 else states.float()


def _kernel_for(scores: Scores, value: Tensor) -> Kernel | None:
    query = scores.query
    if query.device.type == "cpu":
        return _flash_cpu if query.shape[-1] == value.shape[-1] else None
    if query.device.type == "cuda":
        return _offered(query.device, query.dtype, query.shape[-1], value.shape[-1], scores.bias is not None)
    return None


def _flash_cpu(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, causal: bool, scale: float) -> Any:
    # The kernel behind scaled_dot_product_attention, which computes the log-sum-exp anyway and returns it.
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return flash(query, key, value, 0.0, causal, attn_mask=bias, scale=scale)


def _flash_cuda(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, causal: bool, scale: float) -> Any:
    if bias is not None:
        raise NotImplementedError("this kernel takes no bias")
    return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, 0.0, causal, scale=scale)[:2]


def _efficient_cuda(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, causal: bool, scale: float) -> Any:
    efficient = torch.ops.aten._scaled_dot_product_efficient_attention
    bias = _aligned(query, key, bias)
    output, lse = efficient(query, key, value, bias, True, 0.0, causal, scale=scale)[:2]
    return output, lse[:, :, : query.shape[2]]  # it is filled up to a multiple of 32


def _cudnn_cuda(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, causal: bool, scale: float) -> Any:
    cudnn = torch.ops.aten._scaled_dot_product_cudnn_attention
    bias = _aligned(query, key, bias)
    output, lse = cudnn(query, key, value, bias, True, 0.0, causal, False, scale=scale)[:2]
    return output, lse.reshape(query.shape[:3])


def _aligned(query: Tensor, key: Tensor, bias: Tensor | None) -> Tensor | None:
    """Give a bias the four axes and the alignment in memory that kernels want; broadcast axes stay views."""
    if bias is None:
        return None
    length = key.shape[2]
    return F.pad(bias, (0, -length % 16))[..., :length].expand(*query.shape[:3], length)


# From the quickest on, as PyTorch ranks them.
_CUDA: tuple[Kernel, ...] = (_flash_cuda, _efficient_cuda, _cudnn_cuda)


@cache
def _offered(device: torch.device, dtype: torch.dtype, width: int, value_width: int, biased: bool) -> Kernel | None:
    """Return the first kernel that runs on this device and gives there what the definition gives."""
    generator = torch.Generator().manual_seed(0)
    widths = (width, width, value_width)
    query, key, value = (torch.randn(2, 2, 37, size, generator=generator).to(device, dtype) for size in widths)
    bias = torch.randn(2, 1, 1, 37, generator=generator).to(device, dtype) if biased else None
    for kernel in _CUDA:
        if all(_agrees(kernel, Scores(query, key, 0.2, bias, band), value) for band in (EVERYTHING, CAUSAL)):
            return kernel
    return None


def _agrees(kernel: Kernel, scores: Scores, value: Tensor) -> bool:
    _, block = scores.block(torch.arange(scores.query.shape[2], device=value.device))
    expected = (block.softmax(-1) @ _wide(value), block.logsumexp(-1))
    try:
        outputs = kernel(scores.query, scores.key, value, scores.bias, scores.band == CAUSAL, scores.scale)
    except (RuntimeError, NotImplementedError):  # how torch says that a device lacks a kernel
        return False
    loose = 1e-4 if value.dtype == torch.float32 else 3e-2
    return all(torch.allclose(_wide(a), b, atol=loose, rtol=loose) for a, b in zip(outputs, expected, strict=True))
