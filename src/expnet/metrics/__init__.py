"""How well attribution scores agree with people: pure functions."""

from expnet.metrics.plausibility import auroc, average_precision, bootstrap, mark_top, token_f1

__all__ = ["auroc", "average_precision", "bootstrap", "mark_top", "token_f1"]
