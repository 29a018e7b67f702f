"""Soft erasure: exact where chances are 0 and 1, right on average in between."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expnet.errors import InputError
from expnet.metrics.erasure import Erasure, soft_comprehensiveness, soft_erasure, soft_sufficiency
from expnet.metrics.faithfulness import leave_one_out_deltas, perturbation_curves, random_ranking
from expnet.text.texts import Text
from expnet.text.words import Span
from tests.classifiers import tiny_classifier
from tests.linear import contributions
from tests.metrics.test_faithfulness import one_logit_classifier

BERT = tiny_classifier()
TEXTS = ("A good film, ax the first.", "bad", "", "one text axe short")
# Probabilities of float32 models: the same pass in another batch differs in the last digits.
CLOSE = {"rtol": 0, "atol": 1e-5}


def encode(classifier, *texts):
    return classifier.encode([Text.of(text) for text in texts])


def targets(encoding):
    return torch.arange(len(encoding)) % 3


@given(st.integers(0, 2**31))
@settings(max_examples=30)
def test_scores_of_two_values_erase_whole_words_as_hard_erasure_does(seed):
    encoding = encode(BERT, "A good film, ax", "one bad")
    half = [
        np.isin(np.arange(len(ranking)), ranking.argsort()[: len(ranking) // 2])
        for ranking in random_ranking(encoding, seed=seed)
    ]
    scores = {"half": [ranking.astype(float) for ranking in half]}
    soft = soft_erasure(BERT, encoding, targets(encoding), scores, samples=2, seed=seed)["half"]
    # Half of five words rounds to two, as in the marks.
    hard = perturbation_curves(BERT, encoding, targets(encoding), scores, replacement="zero", fractions=(0.4, 0.5, 1))
    for row, at in ((0, 0), (1, 1)):
        np.testing.assert_allclose(soft.retained[row], hard["half"].kept[row, [at, at]], **CLOSE)
        np.testing.assert_allclose(soft.erased[row], hard["half"].removed[row, [at, at]], **CLOSE)
    np.testing.assert_allclose(soft.full, hard["half"].full, **CLOSE)
    np.testing.assert_allclose(soft.nothing, hard["half"].removed[:, -1], **CLOSE)


def test_elements_stay_with_the_chance_that_the_score_says():
    """On a linear model the mean logit is a sum of contributions, each times its chance."""
    classifier = one_logit_classifier(0)
    encoding, target = encode(classifier, "the good film, bad"), torch.zeros(1, dtype=torch.long)
    scores, chance = np.array([-3.0, 1.0, 5.0, -1.0, 3.0]), np.array([0, 0.5, 1, 0.25, 0.75])
    erasure = soft_erasure(classifier, encoding, target, {"some": [scores]}, samples=4000)["some"]
    adds = contributions(classifier, encoding.ids, target)[0].double().numpy()
    bias = float(classifier.model.head.bias.detach())
    for sampled, share in ((erasure.retained, chance), (erasure.erased, 1 - chance)):
        logits = np.log(sampled[0] / (1 - sampled[0]))
        expected = bias + adds[0] + adds[-1] + share @ adds[1:-1]
        # Four standard errors of the mean.
        assert logits.mean() == pytest.approx(expected, abs=4 * logits.std() / np.sqrt(4000))


def test_parts_of_a_word_s_embedding_go_not_the_whole():
    """Erased whole, a single word would leave two logits only; its 8 elements leave many."""
    classifier = one_logit_classifier(0)
    encoding, target = encode(classifier, "good"), torch.zeros(1, dtype=torch.long)
    erasure = soft_erasure(classifier, encoding, target, {"one": [np.ones(1)]}, samples=200)["one"]
    assert len(np.unique(erasure.retained.round(6))) > 50


def test_a_text_has_the_same_erasures_in_every_batch_and_with_every_other_method():
    encoding = encode(BERT, *TEXTS)
    scores = {str(seed): random_ranking(encoding, seed=seed) for seed in range(3)}
    together = soft_erasure(BERT, encoding, targets(encoding), scores, samples=3)
    for row, text in enumerate(TEXTS):
        alone = soft_erasure(
            BERT, encode(BERT, text), targets(encoding)[row : row + 1], {"1": scores["1"][row : row + 1]}, samples=3
        )["1"]
        np.testing.assert_allclose(alone.retained[0], together["1"].retained[row], **CLOSE)
        np.testing.assert_allclose(alone.erased[0], together["1"].erased[row], **CLOSE)
    other = soft_erasure(BERT, encoding, targets(encoding), {"1": scores["1"]}, samples=3, seed=1)["1"]
    assert np.abs(other.retained[0] - together["1"].retained[0]).max() > 1e-3


def test_tokens_on_no_word_stay_whole():
    text = Text("good film", None, (Span(0, 4),))
    encoding = BERT.encode([text])
    erasure = soft_erasure(BERT, encoding, torch.tensor([0]), {"one": [np.ones(1)]})["one"]
    delta = leave_one_out_deltas(BERT, encoding, torch.tensor([0]), replacement="zero")[0]
    assert erasure.full[0] - erasure.nothing[0] == pytest.approx(delta[0], abs=1e-5)


def test_a_text_without_words_has_a_probability_and_no_more():
    encoding = encode(BERT, "good", "")
    erasure = soft_erasure(BERT, encoding, targets(encoding), {"same": [np.ones(1), np.ones(0)]})["same"]
    assert np.isnan([*erasure.retained[1], *erasure.erased[1], erasure.nothing[1]]).all()
    own = BERT.predict(encoding).probabilities[1, 1]
    assert erasure.full[1] == pytest.approx(float(own), abs=1e-5)


def test_figures_by_hand():
    erasure = Erasure(
        full=np.array([0.9, 0.9, 0.5, 0.7]),
        nothing=np.array([0.5, 0.5, 0.6, np.nan]),
        retained=np.array([[0.8, 1.0], [0.3, 0.1], [0.4, 0.4], [np.nan, np.nan]]),
        erased=np.array([[0.6, 0.4], [0.9, 0.95], [0.4, 0.4], [np.nan, np.nan]]),
    )
    # Losses of 0.1 and 0 (the gain counts as none), of 0.6 and 0.8, each over the 0.4 that nothing loses.
    exact = {"rtol": 0, "atol": 1e-12}
    np.testing.assert_allclose(soft_sufficiency(erasure), [1 - 0.05 / 0.4, 1 - 0.7 / 0.4, np.nan, np.nan], **exact)
    np.testing.assert_allclose(soft_comprehensiveness(erasure), [0.4 / 0.4, 0, np.nan, np.nan], **exact)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_figures_are_those_of_the_paper_s_formulas(numbers):
    full, nothing, retained, erased = numbers
    erasure = Erasure(*(np.array([value]) for value in (full, nothing)), np.array([[retained]]), np.array([[erased]]))
    if nothing >= full:
        assert np.isnan(soft_sufficiency(erasure)).all()
        return
    of_nothing = 1 - max(0, full - nothing)
    if of_nothing < 1 - 1e-3:  # else the formula itself loses its digits
        soft_s = 1 - max(0, full - retained)
        assert soft_sufficiency(erasure)[0] == pytest.approx((soft_s - of_nothing) / (1 - of_nothing), abs=1e-9)
        assert soft_comprehensiveness(erasure)[0] == pytest.approx(max(0, full - erased) / (1 - of_nothing), abs=1e-9)


def test_what_cannot_be_erased_is_refused():
    encoding = encode(BERT, "good film")
    with pytest.raises(InputError, match="1 sample or more, got 0"):
        soft_erasure(BERT, encoding, targets(encoding), {}, samples=0)
    with pytest.raises(InputError, match="'far' are infinite"):
        soft_erasure(BERT, encoding, targets(encoding), {"far": [np.array([1, np.inf])]})
    with pytest.raises(InputError, match=re.escape("have [2] words, but [1] scores")):
        soft_erasure(BERT, encoding, targets(encoding), {"few": [np.ones(1)]})
    long = tiny_classifier(max_length=6)
    with pytest.raises(InputError, match="1 of 1 texts are not in one window"):
        soft_erasure(long, encode(long, "one two three four"), torch.zeros(1).long(), {})
