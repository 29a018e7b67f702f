"""How an ExpNet is trained."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from expnet.network.channels import Tier
from expnet.network.features import ATTENTION, FeatureConfig
from expnet.network.heads import HeadSetConfig
from expnet.network.inputs import NetworkInput

Explain = Literal["label", "predicted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """Hyper-parameters of `expnet.fit`; see `ExpNetConfig` for those of the network.

    Attributes:
        explain: The class whose gradients features with gradients take: that of the record's label (of the prediction
            where it has none), or the predicted one. Marks are reasons for the label; `scripts/ablate.py` measures what
            the predicted class changes.
        entropy: Weight of the cross-entropy. Without it only the order within each text is learned, and calibration
            alone gives the scores their level.
        ranking: Weight of the loss that puts marked words above unmarked ones of the same text.
        steps: Steps of one cycle of the learning rate (Smith and Topin 2019, arXiv:1708.07120), each on `batch_size`
            texts of one source of each family, so that no family outweighs another; the last weights are kept. With
            0 training runs in epochs over all texts, and `epochs` and `patience` say for how long.
        patience: Epochs without a better average precision on the development split before training stops.
        seed: Seed of initialisation, dropout and order.
    """

    features: NetworkInput[Any] = field(default_factory=FeatureConfig)
    explain: Explain = "label"
    context: int = 1
    hidden: tuple[int, ...] = (64,)
    dropout: float = 0.3
    feature_dropout: float = 0.3
    entropy: float = 1.0
    ranking: float = 1.0
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    batch_size: int = 32
    steps: int = 0
    epochs: int = 30
    patience: int = 6
    seed: int = 0


# For explainers of tasks nobody has marked, trained on several families of others.
ACROSS_TASKS = FitConfig(
    features=HeadSetConfig(tier="gradient"), hidden=(32,), dropout=0.2, entropy=0.0, steps=300, batch_size=12
)
# From such an explainer on, with few marks: short and gentle, so that what it knows is not lost.
FEW_MARKS_UNIVERSAL = replace(ACROSS_TASKS, learning_rate=5e-4, steps=60, batch_size=16)
# For a network that learns one classifier's heads from another network, not from people.
STUDENT = FitConfig(features=FeatureConfig(patterns=ATTENTION), steps=400)
# With few marks: order only, and most features dropped.
FEW_MARKS = replace(STUDENT, feature_dropout=0.5, entropy=0.0, steps=200, batch_size=16)


def for_warm_start(config: FitConfig, texts: int) -> FitConfig:
    """Return the same training for a network that knows something already: the fewer texts, the less it changes."""
    rate, steps = (0.15, 0.5) if texts <= 32 else (0.15, 1.0) if texts <= 128 else (0.5, 2.0)
    return replace(config, learning_rate=rate * config.learning_rate, steps=round(steps * config.steps))


def with_tier(config: FitConfig, tier: Tier) -> FitConfig:
    """Return the same training on features that take a backward pass as well, or on such as do not."""
    return replace(config, features=config.features.with_tier(tier))
