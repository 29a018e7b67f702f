"""Fused attention that also returns the log-sum-exp of each query's scores."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# The CPU kernel behind scaled_dot_product_attention, which computes the log-sum-exp anyway and returns it.
_FLASH_CPU = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_CHUNK = 128


def fused_attention(
    query: Float[Tensor, "batch heads queries width"],
    key: Float[Tensor, "batch heads keys width"],
    value: Float[Tensor, "batch heads keys value_width"],
    *,
    bias: Float[Tensor, "#batch #heads #queries keys"] | None,
    scale: float,
    causal: bool = False,
) -> tuple[Float[Tensor, "batch heads queries value_width"], Float[Tensor, "batch heads queries"]]:
    """Attend without building the queries × keys matrix.

    Args:
        query: Queries, not yet scaled.
        key: Keys, already repeated where several query heads share one.
        value: Values.
        bias: Added to the scaled scores; a large negative number hides a key. Broadcast where an axis is 1.
        scale: Factor on the dot products.
        causal: Hide keys after the query's position; only without `bias`.

    Returns:
        The attended values, and the natural logarithm of each query's softmax denominator.
    """
    if _has_flash(query, value):
        output, lse = _FLASH_CPU(query, key, value, 0.0, causal, attn_mask=bias, scale=scale)
        return output, lse
    # Elsewhere one more pass over the scores, in blocks, so that memory stays linear in the length.
    output = F.scaled_dot_product_attention(query, key, value, bias, is_causal=causal, scale=scale)
    return output, _blockwise_logsumexp(query, key, bias, scale, causal=causal)


def log_mean_row(
    query: Float[Tensor, "batch heads tokens width"],
    key: Float[Tensor, "batch heads tokens width"],
    log_weights: Float[Tensor, "batch tokens"],
    lse: Float[Tensor, "batch heads tokens"],
    *,
    bias: Float[Tensor, "#batch #heads #queries tokens"] | None,
    scale: float,
) -> Float[Tensor, "batch heads tokens"]:
    """Return the logarithm of a weighted sum of attention rows, `log sum_i w_i a[i, j]`.

    It is the log-sum-exp of a second call in which queries and keys change roles:
    `logsumexp_i(k_j · q_i * scale + bias_ij + log w_i - lse_i)`.

    Args:
        query: Queries of the forward pass.
        key: Its keys.
        log_weights: Logarithm of each row's weight; minus infinity leaves a row out.
        lse: Log-sum-exp of each row, as `fused_attention` returns it.
        bias: The bias of the forward pass.
        scale: Its scale.
    """
    rows = (log_weights[:, None] - lse)[:, :, None].to(query.dtype)
    if bias is not None and bias.shape[2] > 1:  # differs by row: add it block by block, never as a whole
        return _blockwise_logsumexp(key, query, bias.transpose(2, 3), scale, extra=rows)
    if _has_flash(query, query):
        swapped: Tensor = _FLASH_CPU(key, query, query, 0.0, False, attn_mask=rows, scale=scale)[1]
    else:
        swapped = _blockwise_logsumexp(key, query, rows, scale)
    return swapped if bias is None else swapped + bias[:, :, 0]


def _has_flash(query: Tensor, value: Tensor) -> bool:
    return query.device.type == "cpu" and query.shape[-1] == value.shape[-1]


def _blockwise_logsumexp(
    query: Tensor,
    key: Tensor,
    bias: Tensor | None,
    scale: float,
    *,
    extra: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    blocks = []
    for start in range(0, query.shape[2], _CHUNK):
        scores = (query[:, :, start : start + _CHUNK] @ key.transpose(2, 3)).float() * scale
        if bias is not None:
            scores = scores + (bias[:, :, start : start + _CHUNK] if bias.shape[2] > 1 else bias)
        if causal:
            hidden = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(start + 1)
            scores = scores.masked_fill(hidden, -torch.inf)
        blocks.append((scores if extra is None else scores + extra).logsumexp(-1))
    return torch.cat(blocks, dim=2)
