"""Sums of standardised scores, against numpy and word by word."""

import numpy as np
import pytest
import torch

from expnet.explainer import Explainer
from expnet.methods.families.sums import _standardised
from tests.classifiers import tiny_classifier

TEXTS = ["A good film.", "bad", "The first one is long, but xyz another is short!", "good good"]


@pytest.mark.parametrize("architecture", ["bert", "mpnet", "llama"])
def test_words_score_the_sum_of_both_methods_standard_scores(architecture):
    explainer = Explainer(tiny_classifier(architecture))
    options = {"replacement": "pad"} if explainer.classifier.mask_id is None else {}

    def scores(method, **settings):
        explanations = explainer.explain(TEXTS, method=method, target=1, options=settings)
        return [np.array([word.score for word in explanation.words]) for explanation in explanations]

    parts = zip(scores("grad_sam"), scores("deeplift", **options), strict=True)
    for words, pair in zip(scores("grad_sam_deeplift", **options), parts, strict=True):
        expected = sum((part - part.mean()) / (part.std() or 1) for part in pair)
        if len(words) == 1:
            expected = np.zeros(1)
        np.testing.assert_allclose(words, expected, atol=2e-3)


def test_words_of_equal_score_are_left_out_of_the_sum():
    scores = torch.tensor([[0.3, 0.3, 0.3, 0.0], [1.0, 2.0, 3.0, 4.0]])
    real = torch.tensor([[True, True, True, False], [True, True, False, False]])
    assert _standardised(scores, real).tolist() == [[0, 0, 0, 0], [-1, 1, 0, 0]]
