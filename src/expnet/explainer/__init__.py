"""The facade: a classifier, and the ExpNet or any other method that explains it."""

from expnet.explainer.explaining import Explainer
from expnet.explainer.heads import explain_heads
from expnet.explainer.loading import load, load_classifier
from expnet.explainer.tokens import as_tokens

__all__ = ["Explainer", "as_tokens", "explain_heads", "load", "load_classifier"]
