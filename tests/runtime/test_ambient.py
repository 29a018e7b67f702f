"""What surrounds a call changes nothing: every method, loading, learning and measuring under the states of a caller."""

import os
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from expnet import Text
from expnet.explainer import Explainer, load
from expnet.methods.registry import TABLE
from expnet.metrics.faithfulness import leave_one_out_deltas
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.network.universal import named
from expnet.runtime.ambient import torch_defaults
from expnet.training.adapt import adapt
from expnet.training.config import STUDENT
from tests.ambient import default_dtype
from tests.models import build, save, tokenizer

TEXTS = ["A good film.", "bad", "The first one is long, but the second is short and good!"]
# Fewer samples than the default, which would take minutes in all.
FEW = {"samples": 12, "steps": 4, "documents": ["a good film", "a bad text"]}


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


STATES = {
    "float64 by default": lambda: default_dtype(torch.float64),
    "bfloat16 by default": lambda: default_dtype(torch.bfloat16),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
    "grad": torch.enable_grad,
    "another device": lambda: torch.device("meta"),
    "deterministic": deterministic,
}
states = pytest.mark.parametrize("state", STATES.values(), ids=STATES)


def options_of(method, classifier):
    heads = classifier.support.layers * classifier.support.heads
    few = {**FEW, "weights": [0.5 - head / heads for head in range(heads)]}
    return {name: value for name, value in few.items() if name in method.options}


def explained(explainer, method):
    explanations = explainer.explain(TEXTS, method=method.name, options=options_of(method, explainer.classifier))
    return [([word.score for word in explanation.words], explanation.probabilities) for explanation in explanations]


@pytest.fixture(scope="module")
def explainers():
    """One for each ExpNet; other methods run with either."""
    classifier = Classifier(build("bert"), tokenizer())
    tiers = ("attention", "gradient", "difference")
    return {name: Explainer(classifier, named(f"universal/{name}")) for name in tiers}


@pytest.fixture(scope="module")
def expected(explainers):
    return {method.name: explained(explainer_of(explainers, method), method) for method in TABLE}


def explainer_of(explainers, method):
    if method.name == "expnet_difference":
        return explainers["difference"]
    return explainers["gradient" if method.family == "learned" and method.uses_target else "attention"]


@states
@pytest.mark.parametrize("method", TABLE, ids=lambda method: method.name)
def test_every_method_gives_the_same_scores(explainers, expected, method, state):
    with state():
        actual = explained(explainer_of(explainers, method), method)
    for (scores, probabilities), (others, those) in zip(actual, expected[method.name], strict=True):
        # The same sums in the same order; deterministic algorithms may take another.
        assert_close(torch.tensor(scores), torch.tensor(others), atol=1e-6, rtol=1e-5)
        assert probabilities == pytest.approx(those, abs=1e-6)


@states
def test_a_model_that_is_made_and_asked_there_is_explained_in_its_own_type(state, expected):
    with state():
        if torch.empty(0).device.type == "meta":
            pytest.skip("a model made on the meta device has no weights")
        model = build("bert")
        explainer = Explainer(Classifier(model, tokenizer()), named("universal/gradient"))
        kind = model.dtype
        explanations = explainer.explain(TEXTS)
        scores = [explainer.explain(TEXTS, method=name) for name in ("saliency", "generic_relevance")]
    assert model.dtype == kind
    assert all(
        torch.tensor([word.score for word in explanation.words]).isfinite().all()
        for some in scores
        for explanation in some
    )
    if kind == torch.float32:
        for explanation, (others, _) in zip(explanations, expected["expnet_gradient"], strict=True):
            assert_close(
                torch.tensor([word.score for word in explanation.words]), torch.tensor(others), atol=1e-6, rtol=1e-5
            )


@states
def test_what_is_loaded_there_is_what_is_loaded_elsewhere(state, tmp_path):
    folder, network = save(tmp_path / "model", build("bert")), named("universal/attention")
    network.save_pretrained(tmp_path / "network")
    outside = load(folder, explainer=tmp_path / "network").explain("A good film.")
    with state():
        explainer = load(folder, explainer=tmp_path / "network")
        inside = explainer.explain("A good film.")
        assert {weight.dtype for weight in explainer.classifier.model.parameters()} == {torch.float32}
        assert {weight.dtype for weight in explainer.network.parameters()} == {torch.float32}
    assert [word.score for word in inside.words] == pytest.approx([word.score for word in outside.words], abs=1e-6)
    gradient = explainer.explain("A good film.", method="saliency")  # what was loaded in inference mode has gradients
    assert any(word.score for word in gradient.words)


@states
def test_what_is_learned_there_is_what_is_learned_elsewhere(explainers, state):
    config, classifier = replace(STUDENT, steps=3), explainers["attention"].classifier

    def learned() -> ExpNet:
        return adapt(classifier, named("universal/gradient"), TEXTS, config=config)

    outside = learned().state_dict()
    with state():
        inside = learned().state_dict()
    for name, weight in outside.items():
        assert_close(inside[name], weight, atol=1e-5, rtol=1e-4)


@states
def test_what_is_measured_there_is_what_is_measured_elsewhere(explainers, state):
    classifier = explainers["attention"].classifier

    def measured():
        encoding = classifier.encode([Text.of(text) for text in TEXTS])
        return leave_one_out_deltas(classifier, encoding, torch.zeros(3, dtype=torch.long, device="cpu"))

    outside = measured()
    with state():
        inside = measured()
    for ours, theirs in zip(inside, outside, strict=True):
        assert ours.tolist() == pytest.approx(theirs.tolist(), abs=1e-6)


def test_the_default_type_comes_back_only_when_the_last_call_is_over():
    entered, leave = threading.Event(), threading.Event()

    def other():
        with torch_defaults():
            entered.set()
            leave.wait()

    with default_dtype(torch.float64):
        thread = threading.Thread(target=other)
        with torch_defaults():
            thread.start()
            entered.wait()
        assert torch.get_default_dtype() == torch.float32
        leave.set()
        thread.join()
        assert torch.get_default_dtype() == torch.float64


@pytest.mark.parametrize("name", ["autocast", "inference mode", "no grad", "another device"])
def test_a_call_within_a_call_is_under_the_defaults_whatever_was_set_between(name):
    with torch_defaults(), STATES[name](), torch_defaults():
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")
        assert torch.empty(0).device.type == "cpu"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_the_callers_default_type():
    entered, leave = threading.Event(), threading.Event()

    def other():
        with torch_defaults():
            entered.set()
            leave.wait()

    with default_dtype(torch.float64):
        thread = threading.Thread(target=other)
        thread.start()
        entered.wait()
        child = os.fork()
        if child == 0:
            os._exit(0 if torch.get_default_dtype() == torch.float64 else 1)
        leave.set()
        thread.join()
        assert os.waitpid(child, 0)[1] == 0
