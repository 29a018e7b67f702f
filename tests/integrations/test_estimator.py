"""scikit-learn's manners: its own checks, a search, and the same network as `expnet.fit`."""

import re

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils import estimator_checks

import expnet
from expnet import ExpNetEstimator, Record, Text
from expnet.errors import InputError, RationaleError
from expnet.text.words import Span
from tests.classifiers import tiny_classifier

TEXTS = ["good film .", "a bad text !", "one long film", "the first , short", "good good bad", "another text ?"]
MARKS = [[1, 0, 0], [0, 1, 0, 0], [0, 1, 0], [0, 0, 0, 1], [True, True, True], [0, 0, 0]]
# Those that need no matrix of numbers, and give no parameter a value of a wrong type, which is checked while testing.
CHECKS = [
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
]


@pytest.fixture(scope="module")
def classifier():
    return tiny_classifier()


@pytest.fixture(scope="module")
def fitted(classifier):
    return ExpNetEstimator(classifier, steps=5).fit(TEXTS, MARKS)


@pytest.mark.parametrize("name", CHECKS)
def test_scikit_learn_s_own_checks_pass(name):
    check = getattr(estimator_checks, name)
    check("ExpNetEstimator", ExpNetEstimator())


def test_it_makes_the_network_that_fit_makes(classifier, fitted):
    records = [
        Record(str(n), text := Text.of(line), None, tuple(w for w, m in zip(text.words, marks, strict=True) if m))
        for n, (line, marks) in enumerate(zip(TEXTS, MARKS, strict=True))
    ]
    network = expnet.fit(classifier, records, steps=5)
    assert network.config.provenance["fit"]["steps"] == 5
    for name, weights in network.state_dict().items():
        torch.testing.assert_close(fitted.network_.state_dict()[name], weights, rtol=0, atol=0)


def test_marks_are_the_words_whose_scores_reach_the_threshold(classifier, fitted):
    threshold = fitted.network_.config.threshold
    for text, scores, marks in zip(TEXTS, fitted.predict_proba(TEXTS), fitted.predict(TEXTS), strict=True):
        explanation = fitted.explainer_.explain(text)
        np.testing.assert_allclose(scores, [word.score for word in explanation.words], atol=1e-5, rtol=0)
        assert marks.tolist() == [score >= threshold for score in scores]


def test_the_score_is_the_mean_average_precision_where_something_is_marked(fitted):
    scores = fitted.predict_proba(TEXTS)
    expected = [
        average_precision_score(marks, word_scores)
        for marks, word_scores in zip(MARKS, scores, strict=True)
        if any(marks)
    ]
    assert len(expected) == 5
    assert fitted.score(TEXTS, MARKS) == pytest.approx(np.mean(expected), abs=1e-9)


def test_words_spans_arrays_and_texts_say_the_same(fitted):
    expected = fitted.score(TEXTS[:2], MARKS[:2])
    spans = [[(0, 4)], np.array([[2, 5]])]
    assert fitted.score([line.split() for line in TEXTS[:2]], MARKS[:2]) == pytest.approx(expected, abs=1e-6)
    assert fitted.score([Text.of(line) for line in TEXTS[:2]], spans) == pytest.approx(expected, abs=1e-6)
    assert fitted.score(np.array(TEXTS[:2], dtype=object), [np.array(MARKS[0]), [Span(2, 5)]]) == pytest.approx(
        expected, abs=1e-6
    )


def test_predictions_can_be_taken_for_marks(fitted):
    predicted = fitted.predict(TEXTS)
    again = [~marks for marks in predicted]
    assert any(marks.any() for marks in predicted)
    assert fitted.score(TEXTS, predicted) == 1.0
    assert fitted.score(TEXTS, again) < 1.0


def test_labels_choose_whose_gradients_are_learned_from(classifier):
    def logits(labels):
        estimator = ExpNetEstimator(classifier, tier="gradient", steps=2).fit(TEXTS[:3], MARKS[:3], labels=labels)
        return estimator.network_.first.weight

    first, second = logits(["LABEL_0"] * 3), logits(["LABEL_1"] * 3)
    assert not torch.equal(first, second)
    assert torch.equal(first, logits(["LABEL_0"] * 3))


def test_the_target_is_the_class_of_texts_without_a_label(classifier):
    def weights(**changes):
        labels = changes.pop("labels", None)
        estimator = ExpNetEstimator(classifier, tier="gradient", steps=2, **changes)
        return estimator.fit(TEXTS[:3], MARKS[:3], labels=labels).network_.first.weight

    assert torch.equal(weights(target="LABEL_1"), weights(labels=["LABEL_1"] * 3))
    assert torch.equal(weights(target=0, labels=["LABEL_1"] * 3), weights(labels=["LABEL_1"] * 3))
    assert not torch.equal(weights(target=0), weights(target=1))


def test_explanations_are_of_the_class_asked_for_or_of_the_estimator_s_own(classifier, fitted):
    assert {explanation.label for explanation in fitted.explain(TEXTS, target=1)} == {"LABEL_1"}
    own = ExpNetEstimator(classifier, steps=2, target="LABEL_2").fit(TEXTS, MARKS)
    assert {explanation.label for explanation in own.explain(TEXTS)} == {"LABEL_2"}
    assert {explanation.label for explanation in own.explain(TEXTS, target=0)} == {"LABEL_0"}


def test_a_regression_with_several_outputs_is_marked_with_the_target_named():
    names = {0: "stars", 1: "length", 2: "age"}
    classifier = tiny_classifier(problem_type="regression", id2label=names)
    with pytest.raises(InputError, match="regression with 3 outputs"):
        ExpNetEstimator(classifier, steps=2).fit(TEXTS, MARKS).predict(TEXTS)
    estimator = ExpNetEstimator(classifier, steps=2, tier="gradient", target="age").fit(TEXTS, MARKS)
    assert [len(marks) for marks in estimator.predict(TEXTS)] == [len(marks) for marks in MARKS]
    assert {explanation.label for explanation in estimator.explain(TEXTS)} == {"age"}


def test_a_clone_is_not_fitted_and_shares_the_classifier(classifier, fitted):
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    assert again.model is classifier
    with pytest.raises(NotFittedError):
        again.predict(TEXTS)


def test_a_search_over_steps_finds_the_best_of_them(classifier, tmp_path):
    estimator = ExpNetEstimator(classifier, start="nothing", cache=tmp_path)
    search = GridSearchCV(estimator, {"steps": [1, 40]}, cv=2, error_score="raise").fit(TEXTS[:4], MARKS[:4])
    for place, steps in enumerate((1, 40)):
        by_hand = cross_val_score(clone(estimator).set_params(steps=steps), TEXTS[:4], MARKS[:4], cv=2)
        assert search.cv_results_["mean_test_score"][place] == pytest.approx(by_hand.mean(), abs=1e-6)
    assert search.best_estimator_.network_.config.provenance["texts"] == 4
    assert any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("texts", "marks", "error", "message"),
    [
        ("good film", [[1, 0]], InputError, "Expected a list of texts, got str"),
        (["\ud800"], [[1]], InputError, "lone surrogate at character 0"),
        (["good film"], [], InputError, "one of the rationales for each of 1 texts, got 0"),
        (["good film"], [[1]], RationaleError, "text 0 is neither 0 or 1 for each of its 2 words"),
        (["good film"], [[1, 2]], RationaleError, "[1, 2], of length 2"),
        (["good film"], [[(0, 99)]], RationaleError, "the mark 0:99 lies outside the text of 9 characters"),
        (["good film"], [[]], RationaleError, "No word of the 1 training texts is marked"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(classifier, texts, marks, error, message):
    with pytest.raises(error, match=re.escape(message)):
        ExpNetEstimator(classifier).fit(texts, marks)


def test_no_steps_and_no_marks_are_refused(classifier, fitted):
    with pytest.raises(InputError, match="steps is 0, expected 1 or more"):
        ExpNetEstimator(classifier, steps=0).fit(TEXTS, MARKS)
    with pytest.raises(RationaleError, match="No word of these texts is marked"):
        fitted.score(TEXTS[5:], MARKS[5:])
