"""Methods read the pass that predicts: with the scores that they have by themselves, alone and together."""

from contextlib import contextmanager
from unittest.mock import patch

import pytest
import torch
from torch.testing import assert_close

import expnet
from expnet.errors import MethodError, NonFiniteError
from expnet.explainer import Explainer
from expnet.methods import traced
from expnet.methods.registry import TABLE, find_method
from expnet.methods.shared_pass import PassNeeds, SharedPass
from expnet.methods.traced import run_together
from expnet.model import capacity
from expnet.text.encoding import pool_words
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier, tiny_explainer, tiny_network
from tests.support import options_for

TEXTS = ["A good film, bad", "one", "The first one is long, but another is short and good!"]
LONG = "The first one is long, but the second is short and good and not bad at all, said the third!"
READING = [method for method in TABLE if method.predicts]
# Sums in another order, in float32.
CLOSE = {"rtol": 1e-4, "atol": 1e-6}


@contextmanager
def counted(classifier):
    """Count forward passes in windows, and backward passes."""
    counts, grad = {"forward": 0, "backward": 0}, torch.autograd.grad

    def forward(_module, _args, kwargs):
        counts["forward"] += len(kwargs["input_ids"])

    def backward(*args, **kwargs):
        counts["backward"] += 1
        return grad(*args, **kwargs)

    hook = classifier.model.register_forward_pre_hook(forward, with_kwargs=True)
    try:
        with patch("torch.autograd.grad", backward):
            yield counts
    finally:
        hook.remove()


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


@pytest.fixture(scope="module")
def windowed():
    return tiny_explainer(tiny_classifier(max_length=20))


def by_hand(explainer, method, options, texts, target=None):
    """Predict, then let the method run its own passes for that class; words as `Explainer` pools them."""
    classifier = explainer.classifier
    encoding = classifier.encode([Text.of(text) for text in texts])
    chosen = classifier.predict(encoding).chosen if target is None else torch.full((len(texts),), target)
    scores = method.attribute(classifier, encoding, chosen[encoding.text_of], options=options, seed=3)
    return chosen.tolist(), pool_words(scores, encoding, pool="sum" if method.signed else "max")


def test_methods_of_one_forward_pass_read_the_one_that_predicts():
    of_one = {method.name for method in TABLE if method.forward == "1" and method.backward in ("0", "1")}
    # Their passes over texts predict; one over baselines comes before, one over anchors after.
    assert {method.name for method in READING} == of_one | {"expnet_difference", "anchor_stream"}


@pytest.mark.parametrize("method", [m for m in TABLE if "network" not in m.supplied], ids=lambda method: method.name)
def test_an_explanation_is_what_the_prediction_and_the_method_say_one_after_the_other(explainer, method):
    options = options_for(method, explainer.classifier)
    for texts in (TEXTS[:1], TEXTS):
        chosen, words = by_hand(explainer, method, options, texts)
        explanations = explainer.explain(texts, method=method.name, options=options, seed=3)
        for explanation, label, expected in zip(explanations, chosen, words, strict=True):
            assert explanation.label == explainer.classifier.labels[label]
            assert_close(torch.tensor([word.score for word in explanation.words]), expected, **CLOSE)


@pytest.mark.parametrize("method", [m for m in READING if "network" not in m.supplied], ids=lambda method: method.name)
def test_it_takes_one_forward_pass_and_only_the_declared_backward_pass(explainer, method):
    options = options_for(method, explainer.classifier)
    for asked in ({}, {"target": 1}, {"target": 0, "against": 2}):
        with counted(explainer.classifier) as counts:
            explainer.explain(TEXTS, method=method.name, options=options, **asked)
        ignored = method.name == "input_x_gradient" and counts["forward"] > len(TEXTS)  # asks whether scale counts
        assert not ignored
        assert counts == {"forward": int(method.forward) * len(TEXTS), "backward": int(method.backward)}


@pytest.mark.parametrize("method", ["raw_attention", "grad_sam", "saliency", "conservative_propagation"])
def test_the_class_of_a_text_in_windows_is_that_of_all_of_them(windowed, method):
    """No window says which class it is; where scores depend on it, the prediction comes first."""
    explainer = windowed
    chosen, (words,) = by_hand(explainer, find_method(method), {}, [LONG])
    with counted(explainer.classifier) as counts:
        explanation = explainer.explain(LONG, method=method)
    assert explanation.windows > 1
    assert explanation.label == explainer.classifier.labels[chosen[0]]
    assert_close(torch.tensor([word.score for word in explanation.words]), words, **CLOSE)
    assert counts["forward"] == explanation.windows * (2 if find_method(method).uses_target else 1)
    with counted(explainer.classifier) as counts:
        explainer.explain(LONG, method=method, target=1)
    assert counts["forward"] == explanation.windows


EVERYTHING = PassNeeds(
    rows=True,
    received=True,
    layers=True,
    projections=True,
    matrices=True,
    hidden=True,
    embeddings=True,
    slopes=True,
)


REFUSED = {
    "bart": ("attention_flow", "alti", "globenc", "anchor_stream"),
    "modernbert-mean": ("input_x_gradient", "anchor_stream"),
}


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "bart", "mpnet", "modernbert-mean"])
def test_methods_have_the_same_scores_together(architecture):
    """Of two targets, in a pass that holds more than any of them needs."""
    classifier = tiny_classifier(architecture)
    encoding = classifier.encode([Text.of(text) for text in (TEXTS if classifier.pad_id is not None else TEXTS[:1])])
    targets = torch.tensor([[0] * len(encoding), [1] * len(encoding)])
    methods, runs = [], []
    for method in READING:
        options, network = options_for(method, classifier), tiny_network(classifier, method)
        if method.name in REFUSED.get(architecture, ()):
            continue
        methods.append((method, options, network))
        runs.append(method.traced(classifier, options=options, network=network))
    start = 0

    def choose(part, _logits):
        nonlocal start
        start += len(part)
        return targets[:, start - len(part) : start]

    logits, _, together = run_together(classifier, encoding, choose, runs)
    assert_close(
        classifier.prediction(encoding, logits).outputs, classifier.predict(encoding).outputs, rtol=1e-4, atol=1e-5
    )
    for (method, options, network), scores in zip(methods, together, strict=True):
        assert len(scores) == (2 if method.uses_target else 1), method.name
        for target, of_target in zip(targets, scores, strict=False):
            alone = method.attribute(classifier, encoding, target, options=options, network=network)
            # Attention in the open and fused attention are different sums; networks magnify the difference.
            scale = float(alone.abs().max())
            assert_close(
                of_target, alone, rtol=1e-3, atol=1e-3 * scale, msg=lambda told, of=method: f"{of.name}: {told}"
            )


def test_a_pass_for_some_holds_only_what_they_need():
    classifier = tiny_classifier()
    encoding = classifier.encode([Text.of(TEXTS[0])])
    target = torch.zeros(1, dtype=torch.long)
    rows = SharedPass(classifier, encoding, PassNeeds(rows=True)).toward(target)
    assert rows.layers == []
    assert rows.taken is None
    fused = SharedPass(classifier, encoding, PassNeeds(layers=True, rows=True)).toward(target)
    assert fused.matrices == []  # no tokens × tokens matrix was built
    assert_close(fused.anchor.rows, rows.anchor.rows, rtol=0, atol=0)
    everything = SharedPass(classifier, encoding, EVERYTHING).toward(target)
    assert_close(everything.anchor.rows, rows.anchor.rows, rtol=1e-4, atol=1e-6)
    assert len(everything.matrices) == len(everything.slopes.matrices) == classifier.support.layers


def test_what_two_methods_need_together():
    def own(classifier, part):
        raise AssertionError

    both = PassNeeds(rows=True, copies=4) | PassNeeds(slopes=True, embeddings=True, copies=2)
    assert both == PassNeeds(rows=True, slopes=True, embeddings=True, copies=4)
    assert both.opens
    assert not PassNeeds(slopes=True, embeddings=True).opens
    assert (PassNeeds(own=own) | PassNeeds(own=own)).own is own


def test_windows_that_need_several_passes_have_the_same_scores(explainer, monkeypatch):
    once = explainer.explain(TEXTS, method="grad_sam")
    monkeypatch.setattr(capacity, "MOST", 20)
    for one, other in zip(once, explainer.explain(TEXTS, method="grad_sam"), strict=True):
        assert one.label == other.label
        assert_close(*(torch.tensor([word.score for word in each.words]) for each in (one, other)), **CLOSE)


def test_damaged_weights_are_told_before_the_backward_pass():
    classifier = tiny_classifier()
    with torch.no_grad():
        classifier.model.classifier.bias[0] = torch.nan
    with counted(classifier) as counts, pytest.raises(NonFiniteError, match="1 of 1 texts"):
        Explainer(classifier).explain("good", method="saliency")
    assert counts == {"forward": 1, "backward": 0}


def test_a_method_of_a_plugin_reads_the_pass_too(explainer, monkeypatch):
    @traced.by_trace(lambda options: PassNeeds(rows=True))
    def last_row(classifier, part, target, *, trace, times: float = 1.0):
        return trace.anchor.rows[:, -1].mean(1) * times

    method = expnet.Method(
        name="last_row", family="attention", function=last_row, paper="", forward="1", signed=False, uses_target=False
    )
    assert list(method.options) == ["times"]
    monkeypatch.setattr("expnet.explainer.explaining.find_method", lambda _: method)
    with counted(explainer.classifier) as counts:
        explanation = explainer.explain(TEXTS[0], method="last_row", options={"times": 2.0})
    assert counts == {"forward": 1, "backward": 0}
    expected = by_hand(explainer, find_method("raw_attention"), {}, TEXTS[:1])[1][0]
    assert_close(torch.tensor([word.score for word in explanation.words]), 2 * expected, **CLOSE)


def test_a_trace_without_needs_is_refused():
    def function(classifier, encoding, target, *, trace):
        raise AssertionError

    with pytest.raises(MethodError, match="'mine' takes a trace, but does not say what it reads"):
        expnet.Method(
            name="mine", family="attention", function=function, paper="", forward="1", signed=False, uses_target=False
        )
