"""Input of the network, second kind: the heads of a text as a set, so that one network can read any classifier.

Nothing here depends on how many heads and layers a classifier has, nor on their order within a layer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from expnet.attention.probe import Support
from expnet.attention.signals import Signals, attention_signals
from expnet.files.parsing import check_config, number, one_of, whole
from expnet.network.channels import FLOOR, TIERS, Channel, RelativeSignals, Tier, TierInputs
from expnet.network.features import class_signals, normalise_within_text
from expnet.network.gate import HeadGate
from expnet.network.sets import HeadFeatures, pack_sets, stack, unpack_sets

# Standard deviations beyond which a token is as far out as any; keeps half precision exact enough.
_CLIP = 5.0
_BESIDE: Mapping[Tier, str] = {"attention": "", "gradient": " and gradients", "difference": " and differences"}
_FIELDS = {
    "tier": one_of(*TIERS),
    "floor": one_of(FLOOR),
    "gate": whole(1, 1024),
    "summed": whole(1, 1024),
    "head_dropout": number(0, 0.99),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSetConfig:
    """Which features of a set of heads a network sees, and how it sums over the heads; stored with it.

    See `expnet.network.inputs.NetworkInput` for its methods.

    Attributes:
        tier: "attention" takes one forward pass and no target; "gradient" also a backward pass from the target's
            logit; "difference" both over text and baseline together (`DifferencePass`).
        floor: 1e-4: attention, as a multiple of uniform attention, below which all is the same. It is a constant; saved
            networks, and the hashes of networks, hold it.
        gate: Hidden width of the network that weighs a head by its description.
        summed: Sums over the heads that each token gets.
        head_dropout: Share of the heads left out at each step of training.
    """

    holds: ClassVar[type] = HeadFeatures
    any_classifier: ClassVar[bool] = True

    tier: Tier = "gradient"
    floor: float = FLOOR
    gate: int = 24
    summed: int = 8
    head_dropout: float = 0.5

    def __post_init__(self) -> None:
        check_config(self, _FIELDS)

    @property
    def uses_target(self) -> bool:
        """Whether the features are those of one class, and take a backward pass."""
        return TIERS[self.tier].uses_target

    @property
    def channels(self) -> int:
        """Numbers per head and token."""
        return len(TIERS[self.tier].channels)

    @property
    def descriptors(self) -> int:
        """Numbers that describe a head."""
        return TIERS[self.tier].descriptors

    @property
    def scalars(self) -> int:
        """Numbers per token that belong to no head."""
        return TIERS[self.tier].scalars

    def width(self, layers: int, heads: int) -> int:
        """Return how many numbers of a token the gate gives, whatever the classifier."""
        return self.summed + self.scalars

    def with_tier(self, tier: Tier) -> "HeadSetConfig":
        """Return the same with another tier."""
        return replace(self, tier=tier)

    def describe(self, layers: int, heads: int) -> str:
        """Return what is read, as a part of a sentence."""
        return f"the attention{_BESIDE[self.tier]} of the heads of any classifier"

    def told_apart(self, layers: int, heads: int) -> tuple[int, int]:
        """Return how many layers and heads it tells apart: all of them."""
        return layers, heads

    def without_heads(self, features: HeadFeatures, heads: Sequence[int]) -> HeadFeatures:
        """Return the features with what some heads see at 0, its mean over the text.

        The heads stay in the set: without them the mean over the set would give each of the others more weight, and a
        head that the network ignores would seem to matter.
        """
        return replace(features, heads=features.heads.index_fill(-2, torch.tensor(heads, dtype=torch.long), 0.0))

    def new_gate(self, dropout: float) -> nn.Module:
        """Return a new module that sums over the heads."""
        return HeadGate(
            channels=self.channels,
            descriptors=self.descriptors,
            hidden=self.gate,
            summed=self.summed,
            dropout=dropout,
            head_dropout=self.head_dropout,
        )

    def compute(
        self,
        model: PreTrainedModel,
        inputs: Mapping[str, Tensor],
        real: Bool[Tensor, "batch tokens"],
        *,
        support: Support,
        target: Int[Tensor, " batch"] | None = None,
        blank: Float[Tensor, " width"] | None = None,
    ) -> tuple[Float[Tensor, "batch classes"], HeadFeatures]:
        """Run the passes over one batch and return logits and features; see `NetworkInput.compute`."""
        if self.uses_target:
            signals = class_signals(self.tier, model, inputs, real, target, blank, support)
        else:
            signals = attention_signals(model, inputs, anchor=support.anchor, backend=support.backend)
        return signals.logits, head_features(signals, inputs["attention_mask"].bool(), real, self)

    def of_signals(
        self, signals: Signals, mask: Bool[Tensor, "batch tokens"], real: Bool[Tensor, "batch tokens"]
    ) -> HeadFeatures:
        """Return the features of a pass with gradients; see `NetworkInput.of_signals`."""
        return head_features(signals, mask, real, self)

    def window(self, features: HeadFeatures, row: int, length: int) -> HeadFeatures:
        """Return the first tokens of one window of a batch."""
        return features.window(row, length)

    def collate(self, windows: Sequence[HeadFeatures]) -> HeadFeatures:
        """Make a batch of windows, filled up with 0."""
        return stack(windows)

    def pack(self, windows: Sequence[HeadFeatures]) -> dict[str, Tensor]:
        """Return windows as a few tensors to store."""
        return pack_sets(windows)

    def unpack(self, packed: Mapping[str, Tensor], lengths: Sequence[int]) -> list[HeadFeatures]:
        """Return the windows, of these numbers of tokens, that `pack` packed."""
        return unpack_sets(packed, lengths)

    def cached_by(self) -> dict[str, Any]:
        """Return the settings on which the features depend: what only the network needs makes no other features."""
        return {"tier": self.tier, "floor": self.floor}


def head_features(
    signals: Signals, mask: Bool[Tensor, "batch tokens"], real: Bool[Tensor, "batch tokens"], config: HeadSetConfig
) -> HeadFeatures:
    """Describe the heads, and what they see, all relative to the other tokens of the same text.

    Args:
        signals: Of the passes that the tier needs.
        mask: True for tokens the model read.
        real: True for tokens that stand for text.
        config: Which features; `expnet.network.channels` lists them.

    Raises:
        InputError: If the tier needs a backward pass and the signals hold none.
    """
    device, (layers, heads) = signals.rows.device, signals.rows.shape[1:3]
    relative, real = RelativeSignals.of(signals, mask.sum(1).to(device)), real.to(device)
    inputs = TIERS[config.tier]
    tokens, compared = _of_rules(inputs, relative, real)
    values = torch.cat([channel.values(relative).flatten(1, 2) for channel in inputs.channels], 1).transpose(1, 2)
    seen = _standard(values, real)
    correlations = _correlation(seen, compared, real)
    shape = (len(inputs.channels), layers * heads)
    described = _described(inputs.channels, values.unflatten(2, shape), real)
    about = [part for pair in zip(described, correlations.unflatten(1, shape).unbind(1), strict=True) for part in pair]
    depth = torch.linspace(0, 1, layers, device=device).repeat_interleave(heads).expand(real.shape[0], -1)
    about.append(torch.stack([depth, 4 * (depth - 0.5) ** 2], -1))
    present = torch.ones(real.shape[0], layers * heads, dtype=torch.bool)
    by_head = seen.unflatten(2, shape).transpose(2, 3).contiguous()
    return HeadFeatures(by_head.cpu(), torch.cat(about, -1).cpu(), tokens.cpu(), present)


def _of_rules(inputs: TierInputs, signals: RelativeSignals, real: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rules of tokens, and those with which channels are compared, each computed once."""
    rules = list(dict.fromkeys((*inputs.rules, *inputs.compared)))
    values = _standard(torch.cat([rule.values(signals) for rule in rules], -1), real)
    of_rule = dict(zip(rules, values.split([rule.width for rule in rules], -1), strict=True))
    tokens, compared = (torch.cat([of_rule[rule] for rule in some], -1) for some in (inputs.rules, inputs.compared))
    return tokens, compared


def _described(channels: Sequence[Channel], values: Tensor, real: Tensor) -> Iterator[Tensor]:
    """Yield what each channel says of the heads, [batch heads width], from values [batch tokens channels heads]."""
    start = 0
    for about, some in groupby(channels, lambda channel: channel.about):
        stop = start + len(list(some))
        for one in range(start, stop) if about.compares else (start,):
            part = values[:, :, one : one + 1 if about.compares else stop]
            yield from about.values(part.flatten(2), real).unflatten(1, part.shape[2:]).unbind(1)
        start = stop


def _standard(values: Tensor, real: Tensor) -> Tensor:
    return normalise_within_text(values, real).clamp(-_CLIP, _CLIP)


def _correlation(seen: Tensor, rules: Tensor, real: Tensor) -> Tensor:
    """Return how each head goes along with each rule over the tokens of the text, [batch heads rules]."""
    return torch.einsum("bth,btr->bhr", seen, rules) / real.sum(1).clamp(min=1)[:, None, None]
