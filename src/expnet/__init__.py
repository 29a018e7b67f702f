"""Which words made a transformer classifier decide: attributions learned from human rationales.

Everything loads on first use, so that `import expnet` stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from expnet.attention.capture import Trace as Trace
    from expnet.classifier import Classifier as Classifier
    from expnet.encoding import Encoding as Encoding
    from expnet.errors import ExpnetError as ExpnetError
    from expnet.estimator import ExpNetEstimator as ExpNetEstimator
    from expnet.explainer import Explainer as Explainer
    from expnet.explainer import load as load
    from expnet.explanation import Explanation as Explanation
    from expnet.explanation import Word as Word
    from expnet.features import FeatureConfig as FeatureConfig
    from expnet.frames import explain_frame as explain_frame
    from expnet.heads import HeadSetConfig as HeadSetConfig
    from expnet.methods.contract import check_method as check_method
    from expnet.methods.method import Method as Method
    from expnet.methods.registry import find_method as find_method
    from expnet.methods.registry import list_methods as list_methods
    from expnet.network import ExpNet as ExpNet
    from expnet.network import ExpNetConfig as ExpNetConfig
    from expnet.prediction import Prediction as Prediction
    from expnet.rationales import Record as Record
    from expnet.rationales import read_records as read_records
    from expnet.texts import Text as Text
    from expnet.training.adapt import adapt as adapt
    from expnet.training.config import FitConfig as FitConfig
    from expnet.training.finetune import FinetuneConfig as FinetuneConfig
    from expnet.training.finetune import finetune as finetune
    from expnet.training.fit import fit as fit
    from expnet.training.mixture import Source as Source
    from expnet.training.mixture import fit_mixture as fit_mixture
    from expnet.words import Span as Span

_HOMES = {
    "Classifier": "expnet.classifier",
    "Encoding": "expnet.encoding",
    "Explainer": "expnet.explainer",
    "Explanation": "expnet.explanation",
    "ExpNet": "expnet.network",
    "ExpNetConfig": "expnet.network",
    "ExpNetEstimator": "expnet.estimator",
    "ExpnetError": "expnet.errors",
    "FeatureConfig": "expnet.features",
    "FinetuneConfig": "expnet.training.finetune",
    "FitConfig": "expnet.training.config",
    "HeadSetConfig": "expnet.heads",
    "Method": "expnet.methods.method",
    "Prediction": "expnet.prediction",
    "Record": "expnet.rationales",
    "Source": "expnet.training.mixture",
    "Span": "expnet.words",
    "Text": "expnet.texts",
    "Trace": "expnet.attention.capture",
    "Word": "expnet.explanation",
    "adapt": "expnet.training.adapt",
    "check_method": "expnet.methods.contract",
    "explain_frame": "expnet.frames",
    "find_method": "expnet.methods.registry",
    "finetune": "expnet.training.finetune",
    "fit": "expnet.training.fit",
    "fit_mixture": "expnet.training.mixture",
    "list_methods": "expnet.methods.registry",
    "load": "expnet.explainer",
    "read_records": "expnet.rationales",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'expnet' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
