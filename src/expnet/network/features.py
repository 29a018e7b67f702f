"""Input of the network, first kind: a vector for each token, with every head of one classifier in its place."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from expnet.attention.capture import Trace, capture
from expnet.attention.differences import difference_signals
from expnet.attention.probe import Support
from expnet.attention.signals import Evidence, Signals, gradient_signals
from expnet.errors import InputError, MismatchError
from expnet.files.parsing import check_config, listed, one_of
from expnet.network.channels import FLOOR, PATTERNS, TIERS, Pattern, Tier

# What `with_tier` takes of each tier: a pattern that is not named here is seen only where a config asks for it.
ATTENTION: tuple[Pattern, ...] = ("rows", "columns", "received")
GRADIENT: tuple[Pattern, ...] = ("products", "grad_sam", "relevance", "saliency")
_OF_TIER: Mapping[Tier, tuple[Pattern, ...]] = {
    "attention": (),
    "gradient": GRADIENT,
    "difference": (*GRADIENT, "differences"),
}
_FIELDS = {
    "patterns": listed(one_of(*get_args(Pattern)), 1, len(get_args(Pattern))),
    "heads": one_of("each", "mean"),
    "normalise": one_of("text"),
    "floor": one_of(FLOOR),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConfig:
    """Which features a network sees; stored with it. See `expnet.network.inputs.NetworkInput` for its methods.

    Attributes:
        patterns: Attention from the anchor to the token (rows), from the token to the anchor (columns), and from all
            tokens to the token on average (received), which takes longer. With a backward pass, for one class: each
            head's attention times gradient in the anchor's row (products), and what of its positive part the token
            receives (grad_sam); for the token as a whole, generic relevance and the length of its gradient (saliency).
            With differences, what the token adds to the logit, and multipliers in place of those gradients.
        heads: "each" gives a feature per layer and head, "mean" one per layer: blunter, but it depends on no
            single head, and so transfers better to other classifiers.
        normalise: "text": each feature has mean 0 and standard deviation 1 over the text, so that texts compare. It and
            `floor` are constants; saved networks, and the hashes of networks, hold them.
        floor: 1e-4: attention, as a multiple of uniform attention, below which all is the same.
    """

    holds: ClassVar[type] = Tensor
    any_classifier: ClassVar[bool] = False

    patterns: tuple[Pattern, ...] = ("rows", "columns")
    heads: Literal["each", "mean"] = "each"
    normalise: Literal["text"] = "text"
    floor: float = FLOOR

    def __post_init__(self) -> None:
        check_config(self, _FIELDS)
        if len(set(self.patterns)) < len(self.patterns):
            raise MismatchError(f"Expected some of the patterns, each once, got {self.patterns}.")

    @property
    def uses_target(self) -> bool:
        """Whether the features are those of one class, and take a backward pass."""
        return self.tier != "attention"

    @property
    def tier(self) -> Tier:
        """What the features take: a forward pass, a backward pass as well, or passes of differences."""
        tiers = {PATTERNS[name].tier for name in self.patterns}
        return "difference" if "difference" in tiers else "gradient" if "gradient" in tiers else "attention"

    def width(self, layers: int, heads: int) -> int:
        """Return the number of features per token."""
        per_pattern = layers * (heads if self.heads == "each" else 1)
        return sum(per_pattern if PATTERNS[name].per_head else 1 for name in self.patterns)

    def with_tier(self, tier: Tier) -> "FeatureConfig":
        """Return the same with the usual patterns of another tier."""
        patterns = tuple(name for name in self.patterns if PATTERNS[name].tier == "attention") or ATTENTION
        return replace(self, patterns=(*patterns, *_OF_TIER[tier]))

    def describe(self, layers: int, heads: int) -> str:
        """Return what is read, as a part of a sentence."""
        return f"the attention patterns of a classifier with {layers} layers of {heads} heads"

    def told_apart(self, layers: int, heads: int) -> tuple[int, int]:
        """Return how many layers and heads it tells apart; see `NetworkInput.told_apart`."""
        if not any(PATTERNS[name].per_head for name in self.patterns):
            raise MismatchError(
                f"This ExpNet sees no heads, only patterns of whole tokens ({', '.join(self.patterns)}): train one "
                "with rows or columns to see which heads it listens to."
            )
        return layers, heads if self.heads == "each" else 1

    def without_heads(self, features: Tensor, heads: Sequence[int]) -> Tensor:
        """Return the features with those of some heads at 0, their mean over the text."""
        alone = sum(not PATTERNS[name].per_head for name in self.patterns)
        of_pattern = (features.shape[-1] - alone) // (len(self.patterns) - alone)
        columns, start = list[int](), 0
        for name in self.patterns:
            per_head = PATTERNS[name].per_head
            columns += [start + head for head in heads] if per_head else []
            start += of_pattern if per_head else 1
        return features.index_fill(-1, torch.tensor(columns, dtype=torch.long), 0.0)

    def new_gate(self, dropout: float) -> nn.Module:
        """Return a module that leaves vectors as they are."""
        return nn.Identity()

    def compute(
        self,
        model: PreTrainedModel,
        inputs: Mapping[str, Tensor],
        real: Bool[Tensor, "batch tokens"],
        *,
        support: Support,
        target: Int[Tensor, " batch"] | None = None,
        blank: Float[Tensor, " width"] | None = None,
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch tokens features"]]:
        """Run the passes over one batch and return logits and features; see `NetworkInput.compute`."""
        mask = inputs["attention_mask"].bool()
        if self.uses_target:
            signals = class_signals(self.tier, model, inputs, real, target, blank, support)
            return signals.logits, self.of_signals(signals, mask, real)
        received = "received" in self.patterns
        trace = capture(model, inputs, anchor=support.anchor, backend=support.backend, received=received)
        return trace.logits, attention_features(trace, mask, real, self).cpu()

    def of_signals(
        self, signals: Signals, mask: Bool[Tensor, "batch tokens"], real: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens features"]:
        """Return the features of a pass with gradients; see `NetworkInput.of_signals`."""
        trace = Trace(signals.logits, signals.rows, signals.columns, signals.received.exp())
        return attention_features(trace, mask, real, self, signals.evidence).cpu()

    def window(self, features: Tensor, row: int, length: int) -> Float[Tensor, "tokens features"]:
        """Return the first tokens of one window of a batch."""
        return features[row, :length]

    def collate(self, windows: Sequence[Tensor]) -> Float[Tensor, "batch tokens features"]:
        """Make a batch of windows, filled up with 0, in single precision."""
        return pad_sequence([window.float() for window in windows], batch_first=True)

    def pack(self, windows: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return windows as one tensor to store."""
        return {"features": torch.cat(list(windows))}

    def unpack(self, packed: Mapping[str, Tensor], lengths: Sequence[int]) -> list[Tensor]:
        """Return the windows, of these numbers of tokens, that `pack` packed."""
        return list(packed["features"].split(list(lengths)))

    def cached_by(self) -> dict[str, Any]:
        """Return the settings on which the features depend."""
        return asdict(self)


def class_signals(
    tier: Tier,
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    real: Bool[Tensor, "batch tokens"],
    target: Int[Tensor, " batch"] | None,
    blank: Float[Tensor, " width"] | None,
    support: Support,
) -> Signals:
    """Run the passes of a tier that looks at a class; the arguments are those of `NetworkInput.compute`."""
    if not TIERS[tier].uses_differences:
        return gradient_signals(model, inputs, target, anchor=support.anchor)
    assert blank is not None
    return difference_signals(model, inputs, target, anchor=support.anchor, real=real, blank=blank)


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
    uniform, stacked = mask.sum(1).view(-1, 1, 1, 1).log(), list[Tensor]()
    for tier, names in groupby(config.patterns, lambda name: PATTERNS[name].tier):
        parts = [PATTERNS[name].values(trace, evidence) for name in names]
        if tier == "attention":  # patterns of heads, as if they were layers of one
            parts = [(torch.cat(parts, 1) + uniform).clamp(min=math.log(FLOOR))]
        for part in parts:
            values = part if part.ndim == 4 else part[:, None, None]  # of whole tokens: one layer of one head
            stacked.append((values if config.heads == "each" else values.mean(2, keepdim=True)).flatten(1, 2))
    features = (stacked[0] if len(stacked) == 1 else torch.cat(stacked, dim=1)).transpose(1, 2)
    return normalise_within_text(features, real)


def normalise_within_text(
    features: Float[Tensor, "batch tokens features"], real: Bool[Tensor, "batch tokens"]
) -> Float[Tensor, "batch tokens features"]:
    """Give each feature mean 0 and standard deviation 1 over the real tokens of each row; 0 elsewhere.

    A feature that is constant over a text becomes 0.
    """
    count, hidden = real.sum(1).clamp(min=1).view(-1, 1, 1), ~real[..., None]
    centred = features.masked_fill(hidden, 0)
    for _ in range(2):  # the first mean of numbers far from 0 is rounded; that of their distances to it is not
        centred = (centred - centred.sum(1, keepdim=True) / count).masked_fill(hidden, 0)
    deviation = (centred.square().sum(1, keepdim=True) / count).sqrt()
    # Differences this small are rounding errors of the logarithm, not attention.
    return centred / deviation.clamp(min=1e-4)
