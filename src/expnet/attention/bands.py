"""Which band of the attention matrix a mask function of transformers lets through."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers.masking_utils import bidirectional_mask_function, causal_mask_function

from expnet.attention.kernels import CAUSAL, EVERYTHING, Band


def band_drawn_by(
    mask_function: Callable[..., Any], batch: int, tokens: int, options: Mapping[str, Any]
) -> Band | None:
    """Return the band that a mask function draws, or None if it draws something else.

    Args:
        mask_function: Says of texts, heads, queries and keys whether the query sees the key.
        batch: How many texts there are.
        tokens: How many tokens each has.
        options: What transformers passes besides, such as the size of a local window.
    """
    if mask_function is bidirectional_mask_function:
        return EVERYTHING
    if mask_function is causal_mask_function:
        return CAUSAL
    width = options.get("local_size")
    if width is None or options.get("use_vmap"):
        return None
    bands = (Band(width - 1, 0), Band(width, width))
    return next((band for band in bands if _draws(mask_function, band, batch, tokens)), None)


def _draws(mask_function: Callable[..., Any], band: Band, batch: int, tokens: int) -> bool:
    """Whether a mask function shows the diagonals within the edges of a band and hides those beyond."""
    texts = torch.arange(batch)[:, None]
    for offset in {-band.before - 1, -band.before, -1, 0, 1, band.after, band.after + 1}:
        if abs(offset) >= tokens:
            continue
        query = torch.arange(max(0, -offset), min(tokens, tokens - offset))[None]
        seen = mask_function(texts, torch.tensor(0), query, query + offset)
        if not torch.equal(seen.expand(batch, query.shape[1]), ~band.hides(query, query + offset).expand(batch, -1)):
            return False
    return True
