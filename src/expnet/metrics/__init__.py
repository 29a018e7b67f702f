"""How well attribution scores agree with people, with the model and with themselves: pure functions.

What runs a classifier is imported from its own module: `faithfulness`, `erasure` and `sanity`.
"""

from expnet.metrics.agreement import leave_one_annotator_out, majority, one_against_others
from expnet.metrics.plausibility import (
    auroc,
    average_precision,
    best_f1,
    iou_f1,
    mark_top,
    precision_recall,
    soft_average_precision,
    token_f1,
)
from expnet.metrics.stability import kendall_tau, rank_correlation, top_overlap
from expnet.metrics.statistics import Estimate, bootstrap, estimate, holm, paired_test

__all__ = [
    "Estimate",
    "auroc",
    "average_precision",
    "best_f1",
    "bootstrap",
    "estimate",
    "holm",
    "iou_f1",
    "kendall_tau",
    "leave_one_annotator_out",
    "majority",
    "mark_top",
    "one_against_others",
    "paired_test",
    "precision_recall",
    "rank_correlation",
    "soft_average_precision",
    "token_f1",
    "top_overlap",
]
