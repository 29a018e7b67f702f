"""What the network sees, declared: each number is an entry of a list here, and widths follow from the lists.

A vector for each token (`FeatureConfig`) chooses from `PATTERNS`, a set of heads (`HeadSetConfig`) from `TIERS`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from expnet.attention.capture import Trace
from expnet.attention.signals import Evidence, Signals
from expnet.errors import InputError

Tier = Literal["attention", "gradient", "difference"]
Pattern = Literal["rows", "columns", "received", "products", "grad_sam", "relevance", "saliency", "differences"]
FLOOR = 1e-4  # attention, as a multiple of uniform attention, below which all is the same
_LEAST = 1e-9  # attention or a gradient this small is none


@dataclass(frozen=True, slots=True)
class PatternInput:
    """A pattern that a vector for each token may hold.

    Attributes:
        tier: "attention" for logarithms of attention, which are put in relation to uniform attention; for values from a
            backward pass, which are taken as they are, "gradient", or "difference" where it must be one of differences.
        values: From a trace, and from the evidence in the gradient tier.
        per_head: Whether the values are [batch layers heads tokens], or else [batch tokens].
    """

    tier: Tier
    values: Callable[[Trace, Any], Tensor]
    per_head: bool = True


PATTERNS: Mapping[Pattern, PatternInput] = {
    "rows": PatternInput("attention", lambda trace, _: trace.log_rows),
    "columns": PatternInput("attention", lambda trace, _: trace.log_columns),
    "received": PatternInput("attention", lambda trace, _: trace.log_received),
    "products": PatternInput("gradient", lambda _, evidence: evidence.products),
    "grad_sam": PatternInput("gradient", lambda _, evidence: evidence.received),
    "relevance": PatternInput("gradient", lambda _, evidence: evidence.relevance, per_head=False),
    "saliency": PatternInput("gradient", lambda _, evidence: _log(evidence.slopes, _LEAST), per_head=False),
    "differences": PatternInput("difference", lambda _, evidence: _differences(evidence), per_head=False),
}


@dataclass(frozen=True, slots=True)
class RelativeSignals:
    """Signals of a batch in relation to uniform attention, so that texts of different lengths compare.

    Attributes:
        rows, columns, received, own: See `Signals`; logarithms of multiples of uniform attention.
        norms: See `Signals`.
        by_layer: Rows, columns, what is carried, and received attention, of all heads of a layer together.
        length: Tokens of each text.
        evidence: The backward pass, if there was one.
    """

    rows: Float[Tensor, "batch layers heads tokens"]
    columns: Float[Tensor, "batch layers heads tokens"]
    received: Float[Tensor, "batch layers heads tokens"]
    own: Float[Tensor, "batch layers heads tokens"]
    norms: Float[Tensor, "batch layers heads tokens"]
    by_layer: Float[Tensor, "batch 4 layers tokens"]
    length: Int[Tensor, " batch"]
    evidence: Evidence | None

    @classmethod
    def of(cls, signals: Signals, length: Int[Tensor, " batch"]) -> "RelativeSignals":
        """Put signals in relation to the lengths of their texts."""
        uniform, least = length.view(-1, 1, 1, 1).log(), math.log(_LEAST)
        logs = torch.stack([signals.rows, signals.columns, signals.received, signals.own])
        logs = (logs + uniform).clamp(min=least)
        # The mean of the heads' attention, then the logarithm: a mean of logarithms hangs on heads that look away.
        of_rows, of_columns, of_received = _log_mean(logs[:3], 3)
        by_layer = torch.stack([of_rows, of_columns, signals.carried.clamp(min=least), of_received], 1)
        rows, columns, received, own = logs
        norms = signals.norms.clamp(min=least)
        return cls(rows, columns, received, own, norms, by_layer, length, signals.evidence)

    @property
    def gradient(self) -> Evidence:
        """The backward pass.

        Raises:
            InputError: If there was none.
        """
        if self.evidence is None:
            raise InputError("These signals are of a forward pass only: take them by `gradient_signals`.")
        return self.evidence

    @property
    def received_gradient(self) -> Float[Tensor, "batch tokens"]:
        """What each token receives of attention times gradient, as a multiple of its uniform share."""
        return self.gradient.received.mean((1, 2)) * self.length[:, None]


@dataclass(frozen=True, slots=True)
class HeadDescription:
    """Numbers that describe a head by one channel: from its values [batch tokens heads] and the mask of real tokens.

    `compares` says whether they depend on the other heads, so that each channel is described by itself.
    """

    width: int
    values: Callable[[Tensor, Tensor], Tensor]
    compares: bool = False


@dataclass(frozen=True, slots=True)
class Channel:
    """One number of each head and token: its values [batch layers heads tokens], and how it describes the head."""

    name: str
    about: HeadDescription
    values: Callable[[RelativeSignals], Tensor]


@dataclass(frozen=True, slots=True)
class TokenRule:
    """Numbers of each token that belong to no head, [batch tokens width]."""

    name: str
    width: int
    values: Callable[[RelativeSignals], Tensor]


def token_mean(
    values: Float[Tensor, "batch tokens heads"], real: Bool[Tensor, "batch tokens"]
) -> Float[Tensor, "batch heads"]:
    """Return the mean over the real tokens; 0 where there is none."""
    return values.masked_fill(~real[..., None], 0).sum(1) / real.sum(1, keepdim=True).clamp(min=1)


def _level(channel: Tensor, real: Tensor) -> Tensor:
    """Describe heads by mean and deviation of the logarithm of their attention."""
    mean = token_mean(channel, real)
    deviation = token_mean((channel - mean[:, None]).square(), real).sqrt()
    return torch.stack([mean / 3, deviation], -1)


def _strength(channel: Tensor, real: Tensor) -> Tensor:
    """Describe heads by how much the logit depends on them, in comparison with the other heads of the text."""
    size = _size(channel, real).log()
    return ((size - size.mean(1, keepdim=True)).clamp(-4, 4) / 2)[..., None]


def _direction(channel: Tensor, real: Tensor) -> Tensor:
    """Describe heads by strength, and by whether their gradients speak for the target (1) or against it (-1)."""
    balance = token_mean(channel, real) / _size(channel, real)
    return torch.cat([_strength(channel, real), balance[..., None]], -1)


def _size(channel: Tensor, real: Tensor) -> Tensor:
    return token_mean(channel.abs(), real).clamp(min=_LEAST)


def _differences(evidence: Evidence) -> Tensor:
    if evidence.differences is None:
        raise InputError("These signals are of gradients: take them by `difference_signals`.")
    return evidence.differences


def _log(values: Tensor, least: float) -> Tensor:
    return values.clamp(min=least).log()


def _log_mean(logs: Tensor, dim: int) -> Tensor:
    return logs.logsumexp(dim) - math.log(logs.shape[dim])


def _floored(logs: Tensor) -> Tensor:
    return logs.clamp(min=math.log(FLOOR))


def _thirds(signals: RelativeSignals) -> Tensor:
    logs = signals.by_layer.transpose(2, 3)
    thirds: Tensor = F.adaptive_avg_pool1d(logs.flatten(1, 2), 3)
    by_kind: Tensor = thirds.unflatten(1, logs.shape[1:3]).transpose(1, 2).flatten(2)
    return by_kind


LEVEL = HeadDescription(2, _level)
STRENGTH, DIRECTION = HeadDescription(1, _strength, compares=True), HeadDescription(2, _direction, compares=True)

_ATTENTION = (
    Channel("row", LEVEL, lambda signals: _floored(signals.rows)),
    Channel("column", LEVEL, lambda signals: _floored(signals.columns)),
    Channel("received", LEVEL, lambda signals: _floored(signals.received)),
    Channel("row times value norm", LEVEL, lambda signals: signals.rows + signals.norms),
    Channel("own", LEVEL, lambda signals: _floored(signals.own)),
)
_GRADIENT = (
    Channel("product", DIRECTION, lambda signals: signals.gradient.products),
    Channel("received product", STRENGTH, lambda s: s.gradient.received * s.length[:, None, None, None]),
    Channel("gradient", DIRECTION, lambda signals: signals.gradient.gradients),
)
_THIRDS = TokenRule("mean of each third of the layers", 12, _thirds)
_LAST = TokenRule("last layer", 4, lambda signals: signals.by_layer[:, :, -1].transpose(1, 2))
_WHOLE = TokenRule("all layers", 4, lambda signals: _log_mean(signals.by_layer, 2).transpose(1, 2))
_SALIENCY = TokenRule("saliency", 1, lambda signals: _log(signals.gradient.slopes, _LEAST)[..., None])
_LOG_RELEVANCE = TokenRule("log relevance", 1, lambda signals: _log(signals.gradient.relevance, 1e-6)[..., None])
_RELEVANCE = TokenRule("relevance", 1, lambda signals: signals.gradient.relevance[..., None])
_LOG_RECEIVED = TokenRule("log received product", 1, lambda signals: _log(signals.received_gradient, 1e-7)[..., None])
_RECEIVED = TokenRule("received product", 1, lambda signals: signals.received_gradient[..., None])
_PRODUCTS = TokenRule("mean product", 1, lambda signals: signals.gradient.products.mean((1, 2))[..., None])
_DIFFERENCE = TokenRule("difference", 1, lambda signals: _differences(signals.gradient)[..., None])
_LOG_DIFFERENCE = TokenRule("log difference", 1, lambda s: _log(_differences(s.gradient).abs(), 1e-6)[..., None])


_DEPTH = 2  # numbers that say where in the model the layer of a head is


@dataclass(frozen=True, slots=True)
class TierInputs:
    """What a network over sets of heads sees in one tier; saved networks depend on the order.

    Attributes:
        channels: Of each head and token.
        rules: Of each token.
        compared: Rules of a token with which each channel of a head is correlated, to describe the head.
        uses_target: Whether they take a backward pass from one class.
        uses_differences: Whether that is one of differences, over texts and baselines; see `DifferencePass`.
    """

    channels: tuple[Channel, ...]
    rules: tuple[TokenRule, ...]
    compared: tuple[TokenRule, ...]
    uses_target: bool
    uses_differences: bool = False

    @property
    def scalars(self) -> int:
        """Numbers per token that belong to no head."""
        return sum(rule.width for rule in self.rules)

    @property
    def descriptors(self) -> int:
        """Numbers that describe a head: by its channels, their correlations with the rules, and its depth."""
        compared = sum(rule.width for rule in self.compared)
        return sum(channel.about.width + compared for channel in self.channels) + _DEPTH


_GRADIENT_RULES = (_SALIENCY, _LOG_RELEVANCE, _RELEVANCE, _LOG_RECEIVED, _RECEIVED, _PRODUCTS)
_GRADIENT_COMPARED = (_WHOLE, _LOG_RELEVANCE, _LOG_RECEIVED, _SALIENCY)

TIERS: Mapping[Tier, TierInputs] = {
    "attention": TierInputs(channels=_ATTENTION, rules=(_THIRDS, _LAST, _WHOLE), compared=(_WHOLE,), uses_target=False),
    "gradient": TierInputs(
        channels=(*_ATTENTION, *_GRADIENT),
        rules=_GRADIENT_RULES,
        compared=_GRADIENT_COMPARED,
        uses_target=True,
    ),
    "difference": TierInputs(
        channels=(*_ATTENTION, *_GRADIENT),
        rules=(*_GRADIENT_RULES, _DIFFERENCE, _LOG_DIFFERENCE),
        compared=(*_GRADIENT_COMPARED, _DIFFERENCE),
        uses_target=True,
        uses_differences=True,
    ),
}
