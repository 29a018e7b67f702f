"""How an ExpNet is trained."""

from dataclasses import dataclass, field

from expnet.features import FeatureConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """Hyper-parameters of `expnet.fit`; see `ExpNetConfig` for those of the network.

    Attributes:
        ranking: Weight of the loss that puts marked words above unmarked ones of the same text, beside the
            cross-entropy of weight 1.
        patience: Epochs without a better average precision on the development split before training stops.
        seed: Seed of initialisation, dropout and order.
    """

    features: FeatureConfig = field(default_factory=FeatureConfig)
    context: int = 1
    hidden: tuple[int, ...] = (64,)
    dropout: float = 0.3
    feature_dropout: float = 0.3
    ranking: float = 1.0
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    batch_size: int = 32
    epochs: int = 30
    patience: int = 6
    seed: int = 0
