"""Which words made a transformer classifier decide: attributions learned from human rationales.

Everything loads on first use, so that `import expnet` stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from expnet._version import __version__ as __version__

if TYPE_CHECKING:
    from expnet.attention.capture import Trace as Trace
    from expnet.errors import ExpnetError as ExpnetError
    from expnet.explainer import Explainer as Explainer
    from expnet.explainer import as_tokens as as_tokens
    from expnet.explainer import explain_heads as explain_heads
    from expnet.explainer import load as load
    from expnet.explanation.head_effects import HeadEffects as HeadEffects
    from expnet.explanation.result import Explanation as Explanation
    from expnet.explanation.result import Word as Word
    from expnet.finetuning import FinetuneConfig as FinetuneConfig
    from expnet.finetuning import finetune as finetune
    from expnet.integrations.argilla import argilla_record as argilla_record
    from expnet.integrations.arrow import explain_table as explain_table
    from expnet.integrations.pandas import explain_frame as explain_frame
    from expnet.integrations.sklearn import ExpNetEstimator as ExpNetEstimator
    from expnet.methods.contract.contract import check_method as check_method
    from expnet.methods.method import Method as Method
    from expnet.methods.registry import find_method as find_method
    from expnet.methods.registry import list_methods as list_methods
    from expnet.model.classifier import Classifier as Classifier
    from expnet.model.prediction import Prediction as Prediction
    from expnet.network.config import ExpNetConfig as ExpNetConfig
    from expnet.network.expnet import ExpNet as ExpNet
    from expnet.network.features import FeatureConfig as FeatureConfig
    from expnet.network.heads import HeadSetConfig as HeadSetConfig
    from expnet.rationales import Record as Record
    from expnet.rationales import read_records as read_records
    from expnet.text.encoding import Encoding as Encoding
    from expnet.text.texts import Text as Text
    from expnet.text.words import Span as Span
    from expnet.training.adapt import adapt as adapt
    from expnet.training.config import FitConfig as FitConfig
    from expnet.training.fit import fit as fit
    from expnet.training.head_weights import learn_head_weights as learn_head_weights
    from expnet.training.mixture import Source as Source
    from expnet.training.mixture import fit_mixture as fit_mixture

_HOMES = {
    "Classifier": "expnet.model.classifier",
    "Encoding": "expnet.text.encoding",
    "Explainer": "expnet.explainer",
    "Explanation": "expnet.explanation.result",
    "ExpNet": "expnet.network.expnet",
    "ExpNetConfig": "expnet.network.config",
    "ExpNetEstimator": "expnet.integrations.sklearn",
    "ExpnetError": "expnet.errors",
    "FeatureConfig": "expnet.network.features",
    "FinetuneConfig": "expnet.finetuning",
    "FitConfig": "expnet.training.config",
    "HeadEffects": "expnet.explanation.head_effects",
    "HeadSetConfig": "expnet.network.heads",
    "Method": "expnet.methods.method",
    "Prediction": "expnet.model.prediction",
    "Record": "expnet.rationales",
    "Source": "expnet.training.mixture",
    "Span": "expnet.text.words",
    "Text": "expnet.text.texts",
    "Trace": "expnet.attention.capture",
    "Word": "expnet.explanation.result",
    "adapt": "expnet.training.adapt",
    "argilla_record": "expnet.integrations.argilla",
    "as_tokens": "expnet.explainer",
    "check_method": "expnet.methods.contract.contract",
    "explain_frame": "expnet.integrations.pandas",
    "explain_heads": "expnet.explainer",
    "explain_table": "expnet.integrations.arrow",
    "find_method": "expnet.methods.registry",
    "finetune": "expnet.finetuning",
    "fit": "expnet.training.fit",
    "fit_mixture": "expnet.training.mixture",
    "learn_head_weights": "expnet.training.head_weights",
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
