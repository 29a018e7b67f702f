"""The inputs of the network: what each kind can do, how they are told apart in files, and how they are read."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from expnet.attention.probe import Support
from expnet.attention.signals import Signals
from expnet.errors import InputError
from expnet.model.capacity import batches
from expnet.model.classifier import Classifier
from expnet.network.channels import TIERS, Tier
from expnet.network.features import FeatureConfig
from expnet.network.heads import HeadSetConfig
from expnet.network.sets import HeadFeatures
from expnet.runtime.ambient import torch_defaults
from expnet.text.encoding import Encoding

# Of a batch of windows; those of one window lack the first axis.
Features = Float[Tensor, "batch tokens features"] | HeadFeatures
F = TypeVar("F")


@runtime_checkable
class NetworkInput(Protocol[F]):
    """What the network sees of a text: a frozen dataclass of settings, stored with the network.

    Attributes:
        holds: Type of the features of a batch, and of one window; it has a method `half`.
        any_classifier: Whether one network reads classifiers of any architecture, layers and heads.
    """

    holds: ClassVar[type]
    any_classifier: ClassVar[bool]

    @property
    def uses_target(self) -> bool:
        """Whether the features are those of one class, and take a backward pass."""
        ...

    @property
    def tier(self) -> Tier:
        """What the features take: a forward pass, a backward pass as well, or passes of differences."""
        ...

    def width(self, layers: int, heads: int) -> int:
        """Return how many numbers of each token the gate gives for a classifier of this size."""
        ...

    def with_tier(self, tier: Tier) -> "NetworkInput[F]":
        """Return the same kind of input of another tier."""
        ...

    def describe(self, layers: int, heads: int) -> str:
        """Return what is read of a classifier of this size, as a part of a sentence."""
        ...

    def told_apart(self, layers: int, heads: int) -> tuple[int, int]:
        """Return how many layers, and heads in each, it tells apart in a classifier of this size; 1 for their mean.

        Raises:
            MismatchError: If it sees nothing of single heads or layers.
        """
        ...

    def without_heads(self, features: F, heads: Sequence[int]) -> F:
        """Return the features of a batch, or of one window, as if some heads saw nothing in particular.

        What they see is set to 0, to which it is standardised within the text: every token gets their mean. What
        belongs to no head stays as it is.

        Args:
            features: The features.
            heads: Of all layers, counted through: layer × heads + head.
        """
        ...

    def new_gate(self, dropout: float) -> nn.Module:
        """Return a new module that turns the features of a batch into vectors [batch tokens width]."""
        ...

    def compute(
        self,
        model: PreTrainedModel,
        inputs: Mapping[str, Tensor],
        real: Bool[Tensor, "batch tokens"],
        *,
        support: Support,
        target: Int[Tensor, " batch"] | None = None,
        blank: Float[Tensor, " width"] | None = None,
    ) -> tuple[Float[Tensor, "batch classes"], F]:
        """Run the passes over one batch; return logits and features, which are 0 on special tokens and padding.

        Args:
            model: A sequence classifier; it comes back as it was.
            inputs: Its keyword arguments.
            real: True for tokens that stand for text.
            support: How its attention is captured.
            target: A class for each window, or None for the one with the largest logit. Not used without gradients.
            blank: Embedding of a token of an empty text; see `blank_of`. Used, and needed, by differences alone.
        """
        ...

    def of_signals(self, signals: Signals, mask: Bool[Tensor, "batch tokens"], real: Bool[Tensor, "batch tokens"]) -> F:
        """Return the features that follow from a pass with gradients; `mask` is False on padding."""
        ...

    def window(self, features: F, row: int, length: int) -> F:
        """Return the first tokens of one window of a batch."""
        ...

    def collate(self, windows: Sequence[F]) -> F:
        """Make a batch of windows, filled up with 0."""
        ...

    def pack(self, windows: Sequence[F]) -> dict[str, Tensor]:
        """Return windows of one classifier as tensors to store."""
        ...

    def unpack(self, packed: Mapping[str, Tensor], lengths: Sequence[int]) -> list[F]:
        """Return the windows, of these numbers of tokens, that `pack` packed."""
        ...

    def cached_by(self) -> dict[str, Any]:
        """Return the settings on which the features depend, as JSON can hold them."""
        ...


def blank_of(classifier: Classifier) -> Float[Tensor, " width"]:
    """Return the embedding that stands for each token of an empty text: the mask token's, or zeros without one."""
    embeddings: Tensor = classifier.embeddings
    return torch.zeros_like(embeddings[0]) if classifier.mask_id is None else embeddings[classifier.mask_id]


# Each kind by a field that only it has.
KINDS: Mapping[str, type[FeatureConfig] | type[HeadSetConfig]] = {"patterns": FeatureConfig, "tier": HeadSetConfig}


def kind_of(table: Mapping[str, Any]) -> type[FeatureConfig] | type[HeadSetConfig]:
    """Return the kind of input that a table of settings is of; features by position if it does not say."""
    return next((kind for name, kind in KINDS.items() if name in table), FeatureConfig)


@torch_defaults()
def read_features(
    classifier: Classifier,
    encoding: Encoding,
    config: NetworkInput[Any],
    *,
    target: Int[Tensor, " batch"] | Literal["predicted"] | None = None,
) -> tuple[Float[Tensor, "batch classes"], Features]:
    """Run the passes that features need; return the logits of each window, too.

    Args:
        classifier: The classifier.
        encoding: Windows.
        config: Which features.
        target: A class for each window, or "predicted" for the class with the largest logit there; needed by features
            with gradients and by zero-shot classifiers, whose logits are then the model's own; not used by the others.

    Raises:
        InputError: If features with gradients get no target.
        UnsupportedModelError: If the classifier's attention cannot be captured.
    """
    if config.uses_target and target is None:
        raise InputError("Features with gradients are those of a class: pass a target for each window.")
    if isinstance(target, Tensor):
        encoding, target = classifier.about(encoding, target)
    elif classifier.hypotheses is not None and encoding.asked is None:
        raise InputError("Zero-shot labels are read one by one: pass a label for each window as target.")
    model, logits, parts, start = classifier.model, list[Tensor](), list[tuple[Encoding, Any]](), 0
    device, differences = model.device, TIERS[config.tier].uses_differences
    blank = blank_of(classifier) if differences else None
    for part in batches(encoding, repeats=2 if differences else 1):
        of_part = target[start : start + len(part)].to(device) if isinstance(target, Tensor) else None
        inputs, real = part.inputs(device), part.real.to(device)
        of_class, features = config.compute(
            model, inputs, real, support=classifier.support, target=of_part, blank=blank
        )
        logits.append(of_class.cpu())
        parts.append((part, features))
        start += len(part)
    if len(parts) == 1:
        return logits[0], parts[0][1]
    windows = [config.window(some, row, part.ids.shape[1]) for part, some in parts for row in range(len(part))]
    return torch.cat(logits), config.collate(windows)
