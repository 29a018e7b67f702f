"""A model that its owner has compiled: predicted and explained as compiled, read as it was written by all the rest."""

import pytest
import torch

from expnet.attention.capture import capture
from expnet.explainer import Explainer
from expnet.methods.registry import TABLE
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier, tiny_network
from tests.support import options_for

TEXTS = ["the good film was a bad one", "bad"]


@pytest.fixture(scope="module")
def compiled():
    """A classifier whose model was compiled, the same one that was not, and the compiled parts that ran."""
    ran = []

    def backend(graph, inputs):
        return lambda *given: ran.append(graph) or graph.forward(*given)

    torch.compiler.reset()
    wrapped = tiny_classifier()
    wrapped.model.compile(backend=backend, dynamic=True)
    yield wrapped, tiny_classifier(), ran
    torch.compiler.reset()


def scores(classifier, method):
    explainer = Explainer(classifier, tiny_network(classifier, method))
    return [
        [word.score for word in explanation.words]
        for explanation in explainer.explain(TEXTS, method=method.name, options=options_for(method, classifier))
    ]


@pytest.mark.parametrize("method", TABLE, ids=lambda method: method.name)
def test_every_method_gives_what_it_gives_without(compiled, method):
    wrapped, plain, _ = compiled
    call = wrapped.model._compiled_call_impl
    for ours, expected in zip(scores(wrapped, method), scores(plain, method), strict=True):
        assert ours == pytest.approx(expected, abs=1e-4, rel=1e-4)
    assert wrapped.model._compiled_call_impl is call


def test_predictions_and_the_explanation_that_comes_with_them_run_compiled(compiled):
    wrapped, _, ran = compiled
    encoding = wrapped.encode([Text.of(text) for text in TEXTS])
    support = wrapped.support
    for run in (lambda: wrapped.predict(encoding), lambda: wrapped.trace(encoding)):
        ran.clear()
        run()
        assert ran
    ran.clear()
    capture(wrapped.model, encoding.inputs(wrapped.model.device), anchor=support.anchor, backend="eager")
    assert not ran
