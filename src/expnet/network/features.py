"""Attention patterns to a feature vector per token."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from expnet.attention.capture import Trace
from expnet.attention.signals import Evidence
from expnet.errors import InputError, MismatchError
from expnet.files.parsing import check_config, listed, number, one_of

Pattern = Literal["rows", "columns", "received", "products", "grad_sam", "relevance", "saliency"]
PATTERNS: tuple[Pattern, ...] = ("rows", "columns")
# What one forward pass gives, and what takes a backward pass from a class as well.
ATTENTION: tuple[Pattern, ...] = ("rows", "columns", "received")
GRADIENT: tuple[Pattern, ...] = ("products", "grad_sam", "relevance", "saliency")
_OF_TOKENS = ("relevance", "saliency")
_LEAST = 1e-9  # a gradient this short is none
_FIELDS = {
    "patterns": listed(one_of(*get_args(Pattern)), 1, len(get_args(Pattern))),
    "heads": one_of("each", "mean"),
    "normalise": one_of("text", "none"),
    "floor": number(1e-30, 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConfig:
    """Which features a network sees; stored with it.

    Attributes:
        patterns: Attention from the anchor to the token (rows), from the token to the anchor (columns), and from all
            tokens to the token on average (received), which takes longer. With a backward pass, for one class: each
            head's attention times gradient in the anchor's row (products), and what of its positive part the token
            receives (grad_sam); for the token as a whole, generic relevance and the length of its gradient (saliency).
        heads: "each" gives a feature per layer and head, "mean" one per layer: blunter, but it depends on no
            single head, and so transfers better to other classifiers.
        normalise: "text" subtracts each feature's mean over the text and divides by its standard deviation, so
            that texts compare; "none" leaves the logarithm.
        floor: Attention, as a multiple of uniform attention, below which all is the same.
    """

    patterns: tuple[Pattern, ...] = PATTERNS
    heads: Literal["each", "mean"] = "each"
    normalise: Literal["text", "none"] = "text"
    floor: float = 1e-4

    def __post_init__(self) -> None:
        check_config(self, _FIELDS)
        if len(set(self.patterns)) < len(self.patterns):
            raise MismatchError(f"Expected some of the patterns, each once, got {self.patterns}.")

    def width(self, layers: int, heads: int) -> int:
        """Return the number of features per token."""
        of_tokens = sum(pattern in _OF_TOKENS for pattern in self.patterns)
        return (len(self.patterns) - of_tokens) * layers * (heads if self.heads == "each" else 1) + of_tokens

    @property
    def uses_target(self) -> bool:
        """Whether the features are those of one class, and take a backward pass."""
        return bool(set(self.patterns) & set(GRADIENT))


def attention_features(
    trace: Trace,
    mask: Bool[Tensor, "batch tokens"],
    real: Bool[Tensor, "batch tokens"],
    config: FeatureConfig,
    evidence: Evidence | None = None,
) -> Float[Tensor, "batch tokens features"]:
    """Turn attention into features: its logarithm against uniform attention, normalised within the text.

    Features are ordered by pattern, layer, head. They are 0 on special tokens and padding, and all 0 where a text
    has one token only. Those with gradients are taken as they are, saliency as its logarithm.

    Args:
        trace: One forward pass.
        mask: True for tokens the model read.
        real: True for tokens that stand for text.
        config: Which features.
        evidence: The backward pass; needed for features with gradients.

    Raises:
        InputError: If the features need what the trace or the evidence does not hold.
    """
    if config.uses_target and evidence is None:
        raise InputError(f"The patterns {config.patterns} take a backward pass from a class: pass its evidence.")
    uniform, least = mask.sum(1)[:, None, None, None].log(), math.log(config.floor)
    stacked = []
    for pattern in config.patterns:
        if pattern in GRADIENT and evidence is not None:
            values = _slope(evidence, pattern)
        else:
            values = (getattr(trace, f"log_{pattern}") + uniform).clamp(min=least)
        stacked.append((values if config.heads == "each" else values.mean(2, keepdim=True)).flatten(1, 2))
    features = torch.cat(stacked, dim=1).transpose(1, 2)
    keep = real[..., None]
    features = features.masked_fill(~keep, 0.0)
    return normalise_within_text(features, real) if config.normalise == "text" else features


def _slope(evidence: Evidence, pattern: Pattern) -> Float[Tensor, "batch layers heads tokens"]:
    """Return a pattern with gradients; one of whole tokens as if there were one layer of one head."""
    if pattern == "products":
        return evidence.products
    if pattern == "grad_sam":
        return evidence.received
    whole = evidence.relevance if pattern == "relevance" else evidence.slopes.clamp(min=_LEAST).log()
    return whole[:, None, None]


def normalise_within_text(
    features: Float[Tensor, "batch tokens features"], real: Bool[Tensor, "batch tokens"]
) -> Float[Tensor, "batch tokens features"]:
    """Give each feature mean 0 and standard deviation 1 over the real tokens of each row; 0 elsewhere.

    A feature that is constant over a text becomes 0.
    """
    keep = real[..., None]
    count = keep.sum(1, keepdim=True).clamp(min=1)
    centred = features
    for _ in range(2):  # the first mean of numbers far from 0 is rounded; that of their distances to it is not
        centred = (centred - centred.masked_fill(~keep, 0).sum(1, keepdim=True) / count).masked_fill(~keep, 0)
    deviation = (centred.square().sum(1, keepdim=True) / count).sqrt()
    # Differences this small are rounding errors of the logarithm, not attention.
    return centred / deviation.clamp(min=1e-4)
