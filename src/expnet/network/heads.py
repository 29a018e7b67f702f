"""Each text as a set of attention heads: what each sees in each token, and what kind of head it is in this text.

Nothing here depends on how many heads and layers a classifier has, nor on their order within a layer, so that one
network can read any classifier.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from expnet.attention.capture import Trace
from expnet.attention.signals import Evidence, Signals, attention_signals, gradient_signals
from expnet.errors import InputError
from expnet.files.parsing import check_config, number, one_of, whole
from expnet.model.capacity import batches
from expnet.model.classifier import Classifier
from expnet.network.features import FeatureConfig, attention_features, normalise_within_text
from expnet.runtime.ambient import torch_defaults
from expnet.text.encoding import Encoding

Tier = Literal["attention", "gradient"]
# Standard deviations beyond which a token is as far out as any; keeps half precision exact enough.
_CLIP = 5.0
_LEAST = 1e-9
_FIELDS = {
    "tier": one_of("attention", "gradient"),
    "floor": number(1e-30, 1),
    "gate": whole(1, 1024),
    "summed": whole(1, 1024),
    "head_dropout": number(0, 0.99),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSetConfig:
    """Which features of a set of heads a network sees, and how it sums over the heads; stored with it.

    Attributes:
        tier: "attention" takes one forward pass and no target; "gradient" also a backward pass from the target's
            logit.
        floor: Attention, as a multiple of uniform attention, below which all is the same.
        gate: Hidden width of the network that weighs a head by its description.
        summed: Sums over the heads that each token gets.
        head_dropout: Share of the heads left out at each step of training.
    """

    tier: Tier = "gradient"
    floor: float = 1e-4
    gate: int = 24
    summed: int = 8
    head_dropout: float = 0.5

    def __post_init__(self) -> None:
        check_config(self, _FIELDS)

    @property
    def uses_target(self) -> bool:
        """Whether the features are those of one class, and take a backward pass."""
        return self.tier == "gradient"

    @property
    def channels(self) -> int:
        """Numbers per head and token."""
        return 5 if self.tier == "attention" else 8

    @property
    def descriptors(self) -> int:
        """Numbers that describe a head."""
        return 32 if self.tier == "attention" else 73

    @property
    def scalars(self) -> int:
        """Numbers per token that belong to no head."""
        return 20 if self.tier == "attention" else 6


@dataclass(frozen=True, slots=True)
class HeadFeatures:
    """The features of a batch of windows, or of one window, without the first axis.

    Attributes:
        heads: What each head sees in each token, within [-5, 5]; 0 on special tokens, padding and absent heads.
        about: What kind of head it is in this text.
        tokens: Fixed rules, within [-5, 5]; 0 on special tokens and padding.
        present: False for heads that only fill up a batch of classifiers with different numbers of heads.
    """

    heads: Float[Tensor, "*batch tokens heads channels"]
    about: Float[Tensor, "*batch heads descriptors"]
    tokens: Float[Tensor, "*batch tokens scalars"]
    present: Bool[Tensor, "*batch heads"]

    def window(self, row: int, length: int) -> "HeadFeatures":
        """Return the first tokens of one window of a batch."""
        return HeadFeatures(self.heads[row, :length], self.about[row], self.tokens[row, :length], self.present[row])

    def half(self) -> "HeadFeatures":
        """Return the same in half precision, for keeping."""
        return HeadFeatures(self.heads.half(), self.about.half(), self.tokens.half(), self.present)


Features = Float[Tensor, "batch tokens features"] | HeadFeatures


def stack(windows: Sequence[HeadFeatures]) -> HeadFeatures:
    """Make a batch of windows, of whatever classifiers, filling up tokens and heads with 0."""
    length = max(window.tokens.shape[0] for window in windows)
    most = max(window.present.shape[0] for window in windows)
    parts = []
    for window in windows:
        tokens, heads = length - window.tokens.shape[0], most - window.present.shape[0]
        parts.append(
            (
                F.pad(window.heads, (0, 0, 0, heads, 0, tokens)),
                F.pad(window.about, (0, 0, 0, heads)),
                F.pad(window.tokens, (0, 0, 0, tokens)),
                F.pad(window.present, (0, heads)),
            )
        )
    return HeadFeatures(*(torch.stack(each) for each in zip(*parts, strict=True)))


@torch_defaults()
def read_features(
    classifier: Classifier,
    encoding: Encoding,
    config: FeatureConfig | HeadSetConfig,
    *,
    target: Int[Tensor, " batch"] | Literal["predicted"] | None = None,
) -> tuple[Float[Tensor, "batch classes"], Features]:
    """Run the passes that features need; return the logits of each window, too.

    Args:
        classifier: The classifier.
        encoding: Windows.
        config: Which features.
        target: A class for each window, or "predicted" for the class with the largest logit there; needed by the
            gradient tier, not used by the others.

    Raises:
        InputError: If the gradient tier gets no target.
        UnsupportedModelError: If the classifier's attention cannot be captured.
    """
    if isinstance(config, FeatureConfig) and not config.uses_target:
        trace = classifier.trace(encoding, received="received" in config.patterns)
        return trace.logits, attention_features(trace, encoding.mask, encoding.real, config)
    if config.uses_target and target is None:
        raise InputError("Features with gradients are those of a class: pass a target for each window.")
    logits, sets, vectors, start = [], list[HeadFeatures](), list[Tensor](), 0
    for part in batches(encoding):
        of_part = target[start : start + len(part)] if isinstance(target, Tensor) else None
        found = _signals(classifier, part, of_part, gradient=config.uses_target)
        logits.append(found.logits.cpu())
        if isinstance(config, FeatureConfig):
            vectors += _vectors(found, part, config)
        else:
            features = head_features(found, part.mask, part.real, config)
            sets += [features.window(row, part.ids.shape[1]) for row in range(len(part))]
        start += len(part)
    return torch.cat(logits), stack(sets) if sets else pad_sequence(vectors, batch_first=True)


def _vectors(signals: Signals, part: Encoding, config: FeatureConfig) -> Float[Tensor, "batch tokens features"]:
    device = signals.rows.device
    trace = Trace(signals.logits, signals.rows, signals.columns, signals.received.exp())
    return attention_features(trace, part.mask.to(device), part.real.to(device), config, signals.evidence).cpu()


def _signals(classifier: Classifier, part: Encoding, target: Tensor | None, *, gradient: bool) -> Signals:
    support, model = classifier.support, classifier.model
    inputs = part.inputs(model.device)
    if not gradient:
        return attention_signals(model, inputs, anchor=support.anchor, backend=support.backend)
    with torch.inference_mode(False):
        # Copies, because a caller's tensors may come from inference mode, and no graph can hold those.
        inputs = {name: tensor.clone() for name, tensor in inputs.items()}
        wanted = None if target is None else target.clone().to(model.device)
        return gradient_signals(model, inputs, wanted, anchor=support.anchor)


def head_features(
    signals: Signals, mask: Bool[Tensor, "batch tokens"], real: Bool[Tensor, "batch tokens"], config: HeadSetConfig
) -> HeadFeatures:
    """Describe the heads, and what they see, all relative to the other tokens of the same text.

    Channels: row, column, received, row times value norm, own; with gradients also attention times gradient of the
    anchor's row, what of its positive part the token receives, and the row's gradient.

    Args:
        signals: Of the passes that the tier needs.
        mask: True for tokens the model read.
        real: True for tokens that stand for text.
        config: Which features.
    """
    device, (layers, heads) = signals.rows.device, signals.rows.shape[1:3]
    length, real = mask.sum(1).to(device), real.to(device)
    channels, rules, whole = _attention(signals, length, config.floor)
    describe: list[Callable[[Tensor, Tensor], Tensor]] = [_level] * len(channels)
    if config.tier == "gradient" and signals.evidence is not None:
        slopes = signals.evidence
        channels += [slopes.products, slopes.received * length[:, None, None, None], slopes.gradients]
        describe += [_direction, _strength, _direction]
        rules, compared = _gradient_rules(slopes, length)
        whole = torch.cat([whole, compared], -1)
    whole, about, seen = _standard(whole, real), list[Tensor](), list[Tensor]()
    for channel, kind in zip(channels, describe, strict=True):
        values = channel.flatten(1, 2).transpose(1, 2)
        seen.append(_standard(values, real))
        about += [kind(values, real), _correlation(seen[-1], whole, real)]
    depth = torch.linspace(0, 1, layers, device=device).repeat_interleave(heads).expand(real.shape[0], -1)
    about.append(torch.stack([depth, 4 * (depth - 0.5) ** 2], -1))
    present = torch.ones(real.shape[0], layers * heads, dtype=torch.bool)
    return HeadFeatures(torch.stack(seen, -1).cpu(), torch.cat(about, -1).cpu(), _standard(rules, real).cpu(), present)


def _attention(signals: Signals, length: Tensor, floor: float) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return the channels [batch layers heads tokens], and the rules and their means over everything, per token."""
    uniform, least = length[:, None, None, None].log(), math.log(_LEAST)
    rows, columns, received, own = (
        (each + uniform).clamp(min=least) for each in (signals.rows, signals.columns, signals.received, signals.own)
    )
    carried = signals.carried.clamp(min=least)
    floored = [each.clamp(min=math.log(floor)) for each in (rows, columns, received, own)]
    channels = [*floored[:3], rows + signals.norms.clamp(min=least), floored[3]]
    # The mean of the heads' attention, then the logarithm: a mean of logarithms hangs on heads that look away.
    by_layer = [_log_mean(each, 2) for each in (rows, columns)] + [carried, _log_mean(received, 2)]
    whole = torch.stack([_log_mean(each, 1) for each in by_layer], -1)
    last = torch.stack([each[:, -1] for each in by_layer], -1)
    thirds = [F.adaptive_avg_pool1d(each.transpose(1, 2), 3) for each in by_layer]
    return channels, torch.cat([*thirds, last, whole], -1), whole


def _gradient_rules(evidence: Evidence, length: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rules with gradients, and those of them with which heads are compared, per token."""
    relevance, slopes = evidence.relevance, evidence.slopes.clamp(min=_LEAST).log()
    received = evidence.received.mean((1, 2)) * length[:, None]
    log_relevance, log_received = relevance.clamp(min=1e-6).log(), received.clamp(min=1e-7).log()
    products = evidence.products.mean((1, 2))
    rules = [slopes, log_relevance, relevance, log_received, received, products]
    return torch.stack(rules, -1), torch.stack([log_relevance, log_received, slopes], -1)


def _log_mean(logs: Tensor, dim: int) -> Tensor:
    return logs.logsumexp(dim) - math.log(logs.shape[dim])


def _standard(values: Tensor, real: Tensor) -> Tensor:
    return normalise_within_text(values, real).clamp(-_CLIP, _CLIP)


def _mean(values: Tensor, real: Tensor) -> Tensor:
    """Return the mean over the real tokens, [batch ...]; 0 where there is none."""
    return values.masked_fill(~real[..., None], 0).sum(1) / real.sum(1, keepdim=True).clamp(min=1)


def _level(channel: Tensor, real: Tensor) -> Tensor:
    """Describe heads by mean and deviation of the logarithm of their attention."""
    mean = _mean(channel, real)
    deviation = _mean((channel - mean[:, None]).square(), real).sqrt()
    return torch.stack([mean / 3, deviation], -1)


def _strength(channel: Tensor, real: Tensor) -> Tensor:
    """Describe heads by how much the logit depends on them, against the other heads of the text."""
    size = _size(channel, real).log()
    return ((size - size.mean(1, keepdim=True)).clamp(-4, 4) / 2)[..., None]


def _direction(channel: Tensor, real: Tensor) -> Tensor:
    """Describe heads by strength, and by whether their slopes speak for the target (1) or against it (-1)."""
    balance = _mean(channel, real) / _size(channel, real)
    return torch.cat([_strength(channel, real), balance[..., None]], -1)


def _size(channel: Tensor, real: Tensor) -> Tensor:
    return _mean(channel.abs(), real).clamp(min=_LEAST)


def _correlation(seen: Tensor, rules: Tensor, real: Tensor) -> Tensor:
    """Return how each head goes along with each rule over the tokens of the text, [batch heads rules]."""
    return torch.einsum("bth,btr->bhr", seen, rules) / real.sum(1).clamp(min=1)[:, None, None]
