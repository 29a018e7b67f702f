"""A pass of differences: what it says of tokens and heads, for one target or several, and what it leaves behind."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from expnet.attention.differences import DifferencePass, difference_signals
from expnet.attention.signals import gradient_signals
from expnet.errors import UnsupportedModelError
from expnet.explainer import Explainer
from expnet.methods.registry import find_method
from expnet.network.expnet import ExpNet
from expnet.network.heads import HeadSetConfig
from expnet.network.inputs import blank_of
from expnet.text.texts import Text
from tests.classifiers import HEAD_SET, random_network, tiny_classifier
from tests.models import ARCHITECTURES

TEXTS = [Text.of("a good film."), Text.of("bad"), Text.of("the first one is long, but the second is good!")]
TARGET = torch.tensor([0, 1, 2])
NETWORK = random_network(replace(HEAD_SET, features=HeadSetConfig(tier="difference"), used=True))


def passed(classifier, texts=TEXTS, blank=None):
    encoding = classifier.encode(texts)
    blank = blank_of(classifier) if blank is None else blank
    return DifferencePass(classifier.model, encoding.inputs("cpu"), encoding.real, blank, matrices=True), encoding


def read(classifier, texts, target):
    done, encoding = passed(classifier, texts)
    return done.signals(target, classifier.support.anchor), encoding


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "gpt2", "llama", "mpnet", "bart"])
def test_differences_are_the_scores_of_deeplift_and_add_up(architecture):
    classifier = tiny_classifier(architecture)
    signals, encoding = read(classifier, TEXTS, TARGET)
    replacement = "zero" if classifier.mask_id is None else "mask"
    expected = find_method("deeplift").attribute(classifier, encoding, TARGET, options={"replacement": replacement})
    assert_close(signals.evidence.differences.masked_fill(~encoding.real, 0), expected, atol=1e-6, rtol=1e-5)


def test_the_forward_pass_says_what_it_says_with_gradients():
    classifier = tiny_classifier()
    signals, encoding = read(classifier, TEXTS, TARGET)
    expected = gradient_signals(classifier.model, encoding.inputs("cpu"), TARGET, anchor=classifier.support.anchor)
    assert_close(signals.logits, expected.logits, atol=1e-5, rtol=1e-4)
    for name in ("rows", "columns", "received", "own", "norms", "carried"):
        ours, theirs = getattr(signals, name), getattr(expected, name)
        shown = encoding.mask.view(len(TEXTS), *[1] * (ours.ndim - 2), -1).expand_as(ours)
        assert_close(ours[shown], theirs[shown], atol=1e-5, rtol=1e-4)


def test_a_baseline_next_to_the_text_makes_multipliers_of_gradients():
    classifier = tiny_classifier()
    encoding = classifier.encode([Text.of("good")])  # a single token, so that its baseline can lie close to it
    token = encoding.ids[encoding.real]
    blank = classifier.embeddings[token][0] + 1e-5
    done, _ = passed(classifier, [Text.of("good")], blank)
    ours = done.signals(torch.tensor([1]), classifier.support.anchor).evidence
    theirs = gradient_signals(
        classifier.model, encoding.inputs("cpu"), torch.tensor([1]), anchor=classifier.support.anchor
    ).evidence
    for name in ("gradients", "products", "received", "relevance", "slopes"):
        assert_close(getattr(ours, name), getattr(theirs, name), atol=1e-4, rtol=1e-2)


def test_a_pass_is_read_for_one_target_after_the_other():
    classifier = tiny_classifier()
    done, _ = passed(classifier)
    anchor = classifier.support.anchor
    first, again = (done.signals(TARGET, anchor, keep=True) for _ in range(2))
    assert again is first
    second = done.signals(TARGET.flip(0), anchor)
    alone, _ = read(classifier, TEXTS, TARGET.flip(0))
    assert_close(second.evidence.products, alone.evidence.products, atol=0, rtol=0)
    assert not torch.equal(second.evidence.products, first.evidence.products)


@pytest.mark.parametrize("method", ["expnet_difference", "expnet_used", "expnet_both"])
@pytest.mark.parametrize("architecture", ["bert", "gpt2", "deberta", "bart"])
def test_a_text_scores_the_same_alone_and_in_a_padded_batch(method, architecture):
    classifier = tiny_classifier(architecture)
    score = find_method(method).attribute
    together = score(classifier, classifier.encode(TEXTS), TARGET, network=NETWORK)
    for row, text in enumerate(TEXTS):
        alone = classifier.encode([text])
        of_one = score(classifier, alone, TARGET[row : row + 1], network=NETWORK)
        places = classifier.encode(TEXTS).mask[row]
        assert_close(together[row, places], of_one[0], atol=2e-4, rtol=1e-3)


def test_methods_of_one_network_share_the_two_passes_and_say_what_each_says_alone():
    classifier = tiny_classifier()
    explainer, ran = Explainer(classifier, NETWORK), []
    explainer.explain("a good film")  # how the model is captured is found once
    hook = classifier.model.register_forward_pre_hook(lambda *_: ran.append(1))
    methods = ("expnet", "expnet_used", "expnet_both")
    together = explainer.compare(["a good film"], methods={name: {} for name in methods})
    hook.remove()
    assert len(ran) == 2
    for method in methods:
        ((found,),), alone = together[method], explainer.explain("a good film", method=method)
        for one, other in zip(found.words, alone.words, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-6)


def test_the_model_comes_back_as_it_was_also_after_an_error():
    classifier = tiny_classifier()
    before = classifier.model.config._attn_implementation, dict(classifier.model.__dict__)
    difference_signals(
        classifier.model,
        classifier.encode(TEXTS).inputs("cpu"),
        None,
        anchor=classifier.support.anchor,
        real=classifier.encode(TEXTS).real,
        blank=blank_of(classifier),
    )
    with pytest.raises(RuntimeError):
        passed(classifier, blank=torch.zeros(3))
    assert (classifier.model.config._attn_implementation, dict(classifier.model.__dict__)) == before
    assert all(parameter.grad is None for parameter in classifier.model.parameters())


def test_a_model_that_computes_other_things_for_an_empty_text_is_refused(monkeypatch):
    classifier = tiny_classifier()
    layer, calls = classifier.model.bert.pooler, []
    forward = type(layer).forward

    def uneven(self, hidden):
        calls.append(1)
        return forward(self, hidden if len(calls) % 2 else torch.tanh(hidden))

    monkeypatch.setattr(type(layer), "forward", uneven)
    with pytest.raises(UnsupportedModelError, match=r"computes other things for a text"):
        find_method("deeplift").attribute(classifier, classifier.encode(TEXTS), TARGET, options={})


def test_a_saved_network_on_differences_comes_back_with_both_outputs(tmp_path):
    NETWORK.save_pretrained(tmp_path)
    again = ExpNet.from_pretrained(tmp_path)
    classifier = tiny_classifier()
    for method in ("expnet_difference", "expnet_used"):
        score = find_method(method).attribute
        ours, theirs = (
            score(classifier, classifier.encode(TEXTS), TARGET, network=network) for network in (NETWORK, again)
        )
        assert_close(ours, theirs, atol=0, rtol=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_texts_of_one_length_share_a_baseline_and_score_as_alone(architecture):
    classifier, seen = tiny_classifier(architecture), []
    texts = [Text.of(text) for text in ("a good film", "the bad text", "bad", "a good text", "good")]
    encoding, target = classifier.encode(texts), torch.tensor([0, 1, 2, 1, 0])
    blank = blank_of(classifier)
    alone = []
    for row, text in enumerate(texts):
        one = classifier.encode([text])
        alone.append(DifferencePass(classifier.model, one.inputs("cpu"), one.real, blank).scores(target[row : row + 1]))
    hook = classifier.model.register_forward_pre_hook(
        lambda _, __, given: seen.append(len(given["input_ids"])), with_kwargs=True
    )
    together = DifferencePass(classifier.model, encoding.inputs("cpu"), encoding.real, blank).scores(target)
    hook.remove()
    assert seen == [2, 5]
    for row, scores in enumerate(alone):
        assert_close(together[row, encoding.mask[row]], scores[0], atol=1e-5, rtol=1e-3)


def test_rows_that_differ_in_anything_but_words_have_baselines_of_their_own():
    classifier = tiny_classifier()
    encoding = classifier.encode([Text.of("a good film"), Text.of("a good", "film"), Text.of("a good film")])
    seen = []
    hook = classifier.model.register_forward_pre_hook(
        lambda _, __, given: seen.append(len(given["input_ids"])), with_kwargs=True
    )
    DifferencePass(classifier.model, encoding.inputs("cpu"), encoding.real, blank_of(classifier))
    hook.remove()
    assert seen == [2, 3]
