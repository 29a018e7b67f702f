"""ExpNet: a small network from attention patterns to the importance of each token."""

import itertools
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelHubMixin
from jaxtyping import Float
from torch import Tensor

from expnet.attention.probe import Support
from expnet.errors import MismatchError
from expnet.explanation.escape import escape
from expnet.network import checkpoint
from expnet.network.config import ExpNetConfig
from expnet.network.inputs import Features
from expnet.network.scorer import Scorer
from expnet.network.trust import CHECK
from expnet.runtime.ambient import torch_defaults

_SCORES = (
    "In [0, 1]: how often people marked words like this one as the reason for the label, given where the classifier "
    f"looked. From the threshold in `{checkpoint.CONFIG}` on a word counts as marked. It says what looks like the "
    "reason, not what caused the decision; it carries the habits of those who marked; on texts unlike those it learned "
    "from it may be wrong without showing it."
)
_EFFECTS = (
    "\n\nThe second output (`--method expnet_used`) is how much the logit of the class depends on the word, in its "
    "units, learned from what classifiers answered to texts without random words, not from marks."
)


class ExpNet(
    Scorer,
    ModelHubMixin,
    library_name="expnet",
    license="apache-2.0",
    tags=["expnet", "explainability", "token-attribution"],
    paper_url="https://arxiv.org/abs/2601.14112",
):
    """A multilayer perceptron on each token's attention patterns and its neighbours' (Mihaila 2026).

    A gate first turns its input into a vector for each token; see `expnet.network.inputs`.

    `forward` gives logits; `score` gives importance in [0, 1], a sigmoid calibrated on development data: how likely
    people would mark the token. If `config.used`, a second perceptron on the same input, `used`, says how much the
    classifier depends on the token: `effects`.
    """

    @torch_defaults()
    def __init__(self, config: ExpNetConfig) -> None:
        super().__init__(config)
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("bias", torch.zeros(()))
        self.scale: Tensor
        self.bias: Tensor
        self.used = Scorer(config) if config.used else None

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

    @torch_defaults()
    @torch.no_grad()
    def effects(self, features: Features) -> Float[Tensor, "batch tokens"]:
        """Return how much the target's logit depends on each token, in its units: signed, to be summed over tokens.

        Raises:
            MismatchError: If the network has no such output, or as `forward`.
        """
        if self.used is None:
            raise MismatchError(
                "This ExpNet says which words people would mark, and not how much the classifier depends on them: it "
                "has no second output. `universal/gradient` has one, and what `expnet adapt --tier gradient` makes."
            )
        effects: Tensor = self.used(features)
        return effects

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
            f"## What a score is\n\n{_SCORES}{_EFFECTS if self.config.used else ''}\n"
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
