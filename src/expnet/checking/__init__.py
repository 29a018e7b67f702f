"""How far an explainer can be trusted on a classifier, measured on the user's own texts."""

from expnet.checking.measure import measure
from expnet.checking.result import Check, check_of, with_check

__all__ = ["Check", "check_of", "measure", "with_check"]
