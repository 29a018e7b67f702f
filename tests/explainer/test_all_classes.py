"""Every class in one call: the scores of each alone, most probable first, at the cost of what differs."""

from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import pytest
import torch

from expnet.errors import InputError, OptionError, UnsupportedModelError
from expnet.explainer import Explainer
from expnet.methods.learned import method_of
from expnet.methods.registry import TABLE, find_method
from expnet.model import capacity
from tests.classifiers import HEAD_SET, random_network, tiny_classifier, tiny_explainer
from tests.support import options_for

TEXTS = [
    "A good film, bad",
    "the first one",
    "",
    "The first one is long, but another is short and good and not bad at all!",
]
OTHERS = [method for method in TABLE if "network" not in method.supplied]
GRADIENT, ATTENTION = "gradient", "attention"
CLASSES = 5


@pytest.fixture(scope="module")
def explainers():
    """Of classifiers with windows of 12 tokens, so that the last text has several."""
    classifier = tiny_classifier(num_labels=CLASSES, max_length=12)
    classifier.support  # noqa: B018  # found once for a classifier, not for a call
    return {
        GRADIENT: Explainer(classifier, random_network(HEAD_SET), name="random"),
        ATTENTION: tiny_explainer(classifier),
    }


@contextmanager
def passes(explainer):
    """Count the forward and backward passes of rows of batches."""
    counts, grad = {"forward": 0, "backward": 0}, torch.autograd.grad

    def forward(_module, _args, kwargs):
        counts["forward"] += len(kwargs["input_ids"])

    def backward(*args, **kwargs):
        counts["backward"] += 1
        with patch("torch.autograd.grad", grad):  # rules take derivatives of their own on the way
            return grad(*args, **kwargs)

    hook = explainer.classifier.model.register_forward_pre_hook(forward, with_kwargs=True)
    try:
        with patch("torch.autograd.grad", backward):
            yield counts
    finally:
        hook.remove()


def assert_as_alone(explainer, texts, *, options, **asked):
    ranked = explainer.explain(texts, target="all", options=options, **asked)
    assert [len(explanations) for explanations in ranked] == [CLASSES] * len(texts)
    for explanations in ranked:
        outputs = [explanation.output for explanation in explanations]
        assert outputs == sorted(outputs, reverse=True)
        assert sorted(explanation.label for explanation in explanations) == sorted(explainer.classifier.labels)
    for label in explainer.classifier.labels:
        for explanations, alone in zip(
            ranked, explainer.explain(texts, target=label, options=options, **asked), strict=True
        ):
            (here,) = (explanation for explanation in explanations if explanation.label == label)
            same = {name: getattr(here, name) for name in here.__slots__ if name not in ("words", "output", "outputs")}
            assert same == {name: getattr(alone, name) for name in same}
            assert [(word.text, word.start, word.seen) for word in here.words] == [
                (word.text, word.start, word.seen) for word in alone.words
            ]
            # The same sums, whose order a batch may change: float32.
            np.testing.assert_allclose(
                [word.score for word in here.words], [word.score for word in alone.words], rtol=1e-4, atol=1e-5
            )
            np.testing.assert_allclose(list(here.outputs.values()), list(alone.outputs.values()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", OTHERS, ids=lambda method: method.name)
def test_each_class_has_the_scores_that_it_has_alone(explainers, method):
    explainer = explainers[ATTENTION]
    try:
        assert_as_alone(explainer, TEXTS, method=method.name, options=options_for(method, explainer.classifier), seed=3)
    except (OptionError, UnsupportedModelError) as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("kind", [GRADIENT, ATTENTION])
def test_each_class_has_the_scores_of_the_network_that_it_has_alone(explainers, kind):
    assert_as_alone(explainers[kind], TEXTS, options={})
    assert_as_alone(explainers[kind], TEXTS[-1:], options={}, truncate=True)


def test_windows_that_need_several_passes_have_the_same_scores(explainers, monkeypatch):
    monkeypatch.setattr(capacity, "MOST", 20)
    assert_as_alone(explainers[GRADIENT], TEXTS, options={})


@pytest.mark.parametrize("most", [1, 2, CLASSES, 100])
@pytest.mark.parametrize("method", ["expnet", "saliency", "leave_one_out", "rollout"])
def test_so_many_of_the_most_probable_classes_are_the_first_of_all(explainers, method, most):
    every = explainers[GRADIENT].explain(TEXTS, target="all", method=method)
    some = explainers[GRADIENT].explain(TEXTS, target="all", method=method, classes=most)
    for explanations, expected in zip(some, every, strict=True):
        assert [one.label for one in explanations] == [one.label for one in expected[:most]]
        for one, other in zip(explanations, expected, strict=False):
            np.testing.assert_allclose(
                [word.score for word in one.words], [word.score for word in other.words], rtol=1e-4, atol=1e-5
            )


def test_one_text_gives_one_list_and_no_texts_give_none(explainers):
    one = explainers[GRADIENT].explain(TEXTS[0], target="all")
    (same,) = explainers[GRADIENT].explain(TEXTS[:1], target="all")
    assert one == same
    assert explainers[GRADIENT].explain([], target="all") == []


@pytest.mark.parametrize("method", [method for method in TABLE if method.extra == ""], ids=lambda method: method.name)
def test_every_class_takes_the_passes_that_are_declared(explainers, method):
    """Measured against one class: forward passes are shared, or not, as the method says; so are backward passes."""
    kind = GRADIENT if "network" in method.supplied and method.uses_target else ATTENTION
    explainer = explainers[kind]
    name = "expnet" if "network" in method.supplied else method.name
    options = options_for(method, explainer.classifier) if name != "expnet" else {}
    counts = {}
    for target in (0, "all"):
        with passes(explainer) as counts[target]:
            try:
                explainer.explain(TEXTS[:2], method=name, options=options, target=target)
            except (OptionError, UnsupportedModelError) as error:
                pytest.skip(str(error))
    predicted = 0 if method.predicts else 2  # some read the pass that predicts
    times = CLASSES if method.uses_target else 1
    own = counts[0]["forward"] - predicted
    assert counts["all"]["forward"] - predicted == own * (1 if method.shares_forward else times)
    assert counts["all"]["backward"] == counts[0]["backward"] * times


def test_a_network_with_gradients_takes_one_forward_pass_for_all_classes(explainers):
    for texts, windows in ((TEXTS[:2], 2), (TEXTS[-1:], explainers[GRADIENT].explain(TEXTS[-1], target=0).windows)):
        with passes(explainers[GRADIENT]) as counts:
            explainers[GRADIENT].explain(texts, target="all")
        assert counts == {"forward": windows, "backward": CLASSES}
    with passes(explainers[GRADIENT]) as counts:
        explainers[GRADIENT].explain(TEXTS[:2], target="all", classes=2)
    assert counts == {"forward": 2, "backward": 2}


@pytest.mark.parametrize("options", [{}, {"replacement": "delete"}, {"output": "probability", "unit": "word"}])
def test_what_one_call_remembered_does_not_reach_the_next(explainers, options):
    first, other = (
        explainers[ATTENTION].explain(TEXTS[:2], target="all", method="occlusion", options=options) for _ in range(2)
    )
    assert first == other
    with passes(explainers[ATTENTION]) as counts:
        explainers[ATTENTION].explain(TEXTS[:2], target="all", method="occlusion", options=options)
    assert counts["forward"] > 4


def test_work_by_hand():
    def work(name, classes):
        return find_method(name).work(tokens=10, layers=3, options={}, classes=classes)

    assert [work("leave_one_out", count) for count in (1, 4)] == [11, 11]
    assert [work("saliency", count) for count in (1, 4)] == [2, 5]
    assert [work("expnet_gradient", count) for count in (1, 4)] == [2, 5]
    assert [work("rollout", count) for count in (1, 4)] == [1, 1]


def test_classes_with_probabilities_of_their_own_are_ranked_by_them():
    explainer = tiny_explainer(tiny_classifier(problem_type="multi_label_classification"))
    outputs = [one.output for one in explainer.explain(TEXTS[0], target="all", method="saliency")]
    assert outputs == sorted(outputs, reverse=True)
    assert abs(sum(outputs) - 1) > 1e-3
    (only,) = tiny_explainer(tiny_classifier(num_labels=1)).explain(TEXTS[0], target="all")
    assert only.label == "LABEL_0"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"target": "all", "against": 0}, "each class by itself, not against 0"),
        ({"target": "all", "classes": 0}, "classes is 0, expected .* 1 or more"),
        ({"target": "all", "classes": True}, "classes is True"),
        ({"target": 0, "classes": 2}, "classes=2 says how many classes target='all' explains; the target is 0"),
        ({"classes": 2}, "the target is None"),
    ],
)
def test_what_does_not_go_with_all_classes_is_refused(explainers, asked, message):
    with pytest.raises(InputError, match=message):
        explainers[ATTENTION].explain(TEXTS, **asked)


def test_a_regression_has_nothing_to_rank():
    explainer = tiny_explainer(tiny_classifier(num_labels=2, problem_type="regression"))
    with pytest.raises(InputError, match=r"ranks classes by their probability.*regression.*LABEL_0, LABEL_1"):
        explainer.explain(TEXTS, target="all")


def test_a_class_called_all_is_reached_by_its_index():
    classifier = tiny_classifier(num_labels=2)
    classifier.labels = ("none", "all")
    explainer = tiny_explainer(classifier)
    assert explainer.explain(TEXTS[0], target=1).label == "all"
    assert explainer.explain(TEXTS[0], method="saliency", target="none", against="all").against == "all"
    with pytest.raises(InputError, match=r"class 1 of this model is called 'all'.*target=1"):
        explainer.explain(TEXTS[0], target="all")


def test_the_network_declares_which_passes_it_shares(explainers):
    assert method_of(explainers[GRADIENT].network).shares_forward
