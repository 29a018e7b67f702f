"""ExpNet: a small network from attention patterns to the importance of each token."""

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn

from expnet import checkpoint
from expnet.attention.probe import Support
from expnet.errors import MismatchError
from expnet.features import FeatureConfig

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpNetConfig:
    """Everything needed to build an ExpNet again, and to know where it comes from.

    Attributes:
        architecture: Type of the classifiers it explains, in transformers' terms, such as "bert".
        layers: Their attention layers.
        heads: Attention heads in each layer.
        features: What it sees of each token.
        context: Neighbouring tokens on each side whose features it sees as well.
        hidden: Widths of the hidden layers.
        dropout: Share of hidden units dropped in training.
        feature_dropout: Share of features dropped in training, whole features at a time.
        threshold: Score from which on a word counts as part of the rationale, chosen on development data.
        provenance: Training data, seeds, versions.
        schema: Version of this format.
    """

    architecture: str
    layers: int
    heads: int
    features: FeatureConfig = field(default_factory=FeatureConfig)
    context: int = 1
    hidden: tuple[int, ...] = (64,)
    dropout: float = 0.3
    feature_dropout: float = 0.3
    threshold: float = 0.5
    provenance: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ExpNetConfig":
        """Read what `dataclasses.asdict` gave.

        Raises:
            MismatchError: If a field is missing or unknown, or the schema is another one.
        """
        if data.get("schema") != SCHEMA:
            raise MismatchError(f"Expected an ExpNet of schema {SCHEMA}, got {data.get('schema')!r}.")
        nested = data.get("features")
        if not isinstance(nested, Mapping):
            raise MismatchError(f"Expected the features as an object, got {type(nested).__name__}.")
        return checkpoint.parse(cls, {**data, "features": checkpoint.parse(FeatureConfig, nested)})


class ExpNet(
    nn.Module,
    ModelHubMixin,
    library_name="expnet",
    license="apache-2.0",
    tags=["expnet", "explainability", "token-attribution"],
    paper_url="https://arxiv.org/abs/2601.14112",
):
    """A multilayer perceptron on each token's attention patterns and its neighbours' (Mihaila 2026).

    `forward` gives logits; `score` gives importance in [0, 1], a sigmoid calibrated on development data.
    """

    def __init__(self, config: ExpNetConfig) -> None:
        super().__init__()
        self.config = config
        width = config.features.width(config.layers, config.heads)
        self.feature_dropout = nn.Dropout1d(config.feature_dropout)
        self.first = nn.Conv1d(width, config.hidden[0], 2 * config.context + 1, padding=config.context)
        layers: list[nn.Module] = [nn.GELU(), nn.Dropout(config.dropout)]
        for before, after in itertools.pairwise(config.hidden):
            layers += [nn.Linear(before, after), nn.GELU(), nn.Dropout(config.dropout)]
        self.rest = nn.Sequential(*layers, nn.Linear(config.hidden[-1], 1))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("bias", torch.zeros(()))
        self.scale: Tensor
        self.bias: Tensor

    def forward(self, features: Float[Tensor, "batch tokens features"]) -> Float[Tensor, "batch tokens"]:
        """Return a logit per token. Features must be 0 on special tokens and padding, whose logits mean nothing."""
        hidden: Tensor = self.first(self.feature_dropout(features.transpose(1, 2)))
        logits: Tensor = self.rest(hidden.transpose(1, 2))
        return logits.squeeze(-1)

    def calibrate(self, logits: Tensor) -> Tensor:
        """Turn logits into calibrated importance in [0, 1]; keeps their order."""
        return torch.sigmoid(self.scale * logits + self.bias)

    @torch.no_grad()
    def score(self, features: Float[Tensor, "batch tokens features"]) -> Float[Tensor, "batch tokens"]:
        """Return the importance of each token, in [0, 1]; call it in evaluation mode."""
        return self.calibrate(self(features))

    def check_fits(self, architecture: str, support: Support) -> None:
        """Raise a `MismatchError` that says what differs if a classifier is not of the kind trained on."""
        ours = (self.config.architecture, self.config.layers, self.config.heads)
        theirs = (architecture, support.layers, support.heads)
        if ours != theirs:
            named = [
                f"{name} {b!r} instead of {a!r}"
                for name, a, b in zip(("architecture", "layers", "heads"), ours, theirs, strict=True)
                if a != b
            ]
            raise MismatchError(
                f"This ExpNet does not fit the classifier, which has {', '.join(named)}. Train one for it with "
                "`expnet fit`."
            )

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
    ) -> "ExpNet":
        """Load a network from a folder or the hub: safetensors only, every tensor and field expected.

        The mixin's own loading would fall back to lenient parsing, hence this one.

        Raises:
            ModelError: If files are missing or damaged.
            MismatchError: If configuration and weights do not belong together or to this version.
        """
        data, weights = checkpoint.read(
            pretrained_model_name_or_path,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
        )
        network = cls(ExpNetConfig.from_dict(data))
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise MismatchError(
                f"The weights in {pretrained_model_name_or_path} do not fit its config: {error}"
            ) from error
        return network.eval()

    def _save_pretrained(self, save_directory: Path) -> None:
        checkpoint.write(save_directory, asdict(self.config), self.state_dict())

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """Write a card from the configuration; the provenance holds the figures."""
        data = self._hub_mixin_info.model_card_data
        rows = "\n".join(f"| {key} | {value} |" for key, value in sorted(self.config.provenance.items()))
        return ModelCard(
            f"---\n{data.to_yaml()}\n---\n\n# ExpNet for {self.config.architecture} classifiers\n\n"
            f"Scores the importance of each word from the attention patterns of a classifier with {self.config.layers} "
            f"layers of {self.config.heads} heads. Load it with `expnet.ExpNet.from_pretrained`.\n\n"
            f"| provenance | |\n|---|---|\n{rows}\n"
        )
