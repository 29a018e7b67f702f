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

from expnet.attention.probe import Support
from expnet.errors import MismatchError
from expnet.explanation.escape import escape
from expnet.files.parsing import ANYTHING, TEXT, Kind, check_config, listed, number, one_of, table, whole
from expnet.network import checkpoint
from expnet.network.features import FeatureConfig
from expnet.network.inputs import KINDS, Features, NetworkInput, kind_of
from expnet.network.trust import CHECK
from expnet.runtime.ambient import torch_defaults

SCHEMA = 1
_FIELDS = {
    "architecture": TEXT,
    "layers": whole(0, 1000),
    "heads": whole(0, 1000),
    "features": Kind("the features of tokens or of heads", lambda value: isinstance(value, tuple(KINDS.values()))),
    "context": whole(0, 256),
    "hidden": listed(whole(1, 65_536), 1, 32),
    "dropout": number(0, 1),
    "feature_dropout": number(0, 1),
    "threshold": number(0, 1),
    "provenance": table(ANYTHING),
    "schema": one_of(SCHEMA),
}
_SCORES = (
    "In [0, 1]: how often people marked words like this one as the reason for the label, given where the classifier "
    f"looked. From the threshold in `{checkpoint.CONFIG}` on a word counts as marked. It says what looks like the "
    "reason, not what caused the decision; it carries the habits of those who marked; on texts unlike those it learned "
    "from it may be wrong without showing it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpNetConfig:
    """Everything needed to build an ExpNet again, and to know where it comes from.

    Attributes:
        architecture: Type of the classifiers it explains, in transformers' terms, such as "bert"; "any" for a network
            over sets of heads.
        layers: Their attention layers; 0 for any number.
        heads: Attention heads in each layer; 0 for any number.
        features: What it sees of each token: a vector, or a set of heads.
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
    features: NetworkInput[Any] = field(default_factory=FeatureConfig)
    context: int = 1
    hidden: tuple[int, ...] = (64,)
    dropout: float = 0.3
    feature_dropout: float = 0.3
    threshold: float = 0.5
    provenance: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        """Raise a `MismatchError` that names every field of another type or range than it may have."""
        check_config(self, _FIELDS)

    @property
    def width(self) -> int:
        """How many numbers of each token the first layer reads."""
        return self.features.width(self.layers, self.heads)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ExpNetConfig":
        """Read what `dataclasses.asdict` gave.

        Raises:
            MismatchError: If a field is missing, unknown, or of another type or range, or the schema is another one.
        """
        if data.get("schema") != SCHEMA:
            raise MismatchError(f"Expected an ExpNet of schema {SCHEMA}, got {data.get('schema')!r}.")
        nested = data.get("features")
        if not isinstance(nested, Mapping):
            raise MismatchError(f"Expected the features as an object, got {type(nested).__name__}.")
        features = checkpoint.parse(kind_of(nested), nested)
        return checkpoint.parse(cls, {**data, "features": features})


class ExpNet(
    nn.Module,
    ModelHubMixin,
    library_name="expnet",
    license="apache-2.0",
    tags=["expnet", "explainability", "token-attribution"],
    paper_url="https://arxiv.org/abs/2601.14112",
):
    """A multilayer perceptron on each token's attention patterns and its neighbours' (Mihaila 2026).

    A gate first turns its input into a vector for each token; see `expnet.network.inputs`.

    `forward` gives logits; `score` gives importance in [0, 1], a sigmoid calibrated on development data.
    """

    @torch_defaults()
    def __init__(self, config: ExpNetConfig) -> None:
        super().__init__()
        self.config = config
        self.gate = config.features.new_gate(config.dropout)
        self.feature_dropout = nn.Dropout1d(config.feature_dropout)
        self.first = nn.Conv1d(config.width, config.hidden[0], 2 * config.context + 1, padding=config.context)
        layers: list[nn.Module] = [nn.GELU(), nn.Dropout(config.dropout)]
        for before, after in itertools.pairwise(config.hidden):
            layers += [nn.Linear(before, after), nn.GELU(), nn.Dropout(config.dropout)]
        self.rest = nn.Sequential(*layers, nn.Linear(config.hidden[-1], 1))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("bias", torch.zeros(()))
        self.scale: Tensor
        self.bias: Tensor

    @property
    def uses_target(self) -> bool:
        """Whether its features, and so its scores, are those of one class, and take a backward pass."""
        return self.config.features.uses_target

    def forward(self, features: Features) -> Float[Tensor, "batch tokens"]:
        """Return a logit per token. Features must be 0 on special tokens and padding, whose logits mean nothing.

        Raises:
            MismatchError: If the features are not of the kind that the network sees.
        """
        if not isinstance(features, self.config.features.holds):
            raise MismatchError(
                f"This ExpNet was trained on features by {type(self.config.features).__name__}, got a "
                f"{type(features).__name__}: compute them by `read_features` with the network's configuration."
            )
        vectors: Tensor = self.gate(features).transpose(1, 2)
        hidden: Tensor = self.first(self.feature_dropout(vectors) if self.training else vectors).transpose(1, 2)
        for layer in self.rest:
            if self.training or not isinstance(layer, nn.Dropout):  # each costs a call, also where it does nothing
                hidden = layer(hidden)
        return hidden.squeeze(-1)

    def calibrate(self, logits: Tensor) -> Tensor:
        """Turn logits into calibrated importance in [0, 1]; keeps their order.

        NaN where a logit is not finite or overflows: its sigmoid would look like a certain 0 or 1.
        """
        calibrated = self.scale * logits + self.bias
        return calibrated.sigmoid() + (calibrated - calibrated)  # the difference is 0, or NaN

    @torch_defaults()
    @torch.no_grad()
    def score(self, features: Features) -> Float[Tensor, "batch tokens"]:
        """Return the importance of each token, in [0, 1], or NaN; see `calibrate`. Call it in evaluation mode."""
        return self.calibrate(self(features))

    def check_fits(self, architecture: str, support: Support) -> None:
        """Raise a `MismatchError` that says what differs if a classifier is not of the kind trained on.

        A network whose input is that of any classifier fits every one.
        """
        if self.config.features.any_classifier:
            return
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
    @torch_defaults()
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
        config = ExpNetConfig.from_dict(data)
        layers = ((2 * config.context + 1) * config.width, *config.hidden)
        checkpoint.check_size(weights, sum(a * b for a, b in itertools.pairwise(layers)), pretrained_model_name_or_path)
        try:
            network = cls(config)
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
        source = self.config.features.describe(self.config.layers, self.config.heads)
        return ModelCard(
            f"---\n{data.to_yaml()}\n---\n\n# ExpNet for {self.config.architecture} classifiers\n\n"
            f"Scores the importance of each word from {source}.\n\n"
            "```python\nimport expnet\n\n"
            'explainer = expnet.load("your-classifier", explainer="this-repository")\n'
            'print(explainer.explain("Some text."))\n```\n\n'
            f"## What it learned from\n\n{self._learned()}\n\n"
            f"## How far to trust it\n\n{self._checked()}\n\n"
            f"## What a score is\n\n{_SCORES}\n"
        )

    def _learned(self) -> str:
        provenance = self.config.provenance
        told = sorted((key, value) for key, value in provenance.items() if key != CHECK)
        rows = "\n".join(f"| {_cell(key)} | {_cell(value)} |" for key, value in told)
        table = f"| provenance | |\n|---|---|\n{rows}"
        if any(str(key).startswith("dev ") and key != "dev texts" for key in provenance):
            return f"Figures on the development texts, which also chose its epoch and its threshold:\n\n{table}"
        return f"No text was held out, so that no figure here says how well it agrees with people.\n\n{table}"

    def _checked(self) -> str:
        check = self.config.provenance.get(CHECK)
        if not isinstance(check, Mapping):
            return "It was not checked on any classifier; `expnet trust` does so on texts of your own, without marks."
        classifier, texts, verdict = (_cell(check.get(name)) for name in ("classifier", "texts", "verdict"))
        return f"Checked on {classifier} with {texts} texts: {verdict}"


def _cell(value: Any) -> str:
    """Return a value as it can stand in a table of a card, which pages show as HTML."""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return escape(" ".join(text.split())).replace("|", "\\|")
