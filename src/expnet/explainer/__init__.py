"""The facade: a classifier, and the ExpNet or any other method that explains it."""

from expnet.explainer.explaining import Explainer
from expnet.explainer.loading import load, load_classifier

__all__ = ["Explainer", "load", "load_classifier"]
