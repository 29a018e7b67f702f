"""How far an explainer can be trusted on a classifier, measured on the user's own texts."""

from expnet.checking.measure import measure
from expnet.checking.result import TrustCheck, check_of, verdict_on, with_check

__all__ = ["TrustCheck", "check_of", "measure", "verdict_on", "with_check"]
