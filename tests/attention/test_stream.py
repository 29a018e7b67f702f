"""The anchor's stream backward: by hand, beside full autograd, and on models that it is not for."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from expnet.attention.intercept import Layer, run
from expnet.attention.signals import gradient_signals
from expnet.attention.stream import StreamPass
from expnet.errors import NoGradientError, UnsupportedModelError
from expnet.methods.registry import find_method
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier

TEXTS = [Text.of("a good film."), Text.of("bad"), Text.of("the first one is long, but the second is good!")]
TARGET = torch.tensor([0, 1, 2])
ONE_TOKEN = ("bert", "roberta", "distilbert", "electra", "modernbert", "mpnet", "albert", "deberta-v2", "gpt2", "llama")


def passed(classifier):
    inputs, support = classifier.encode(TEXTS).inputs("cpu"), classifier.support
    return StreamPass(classifier.model, inputs, anchor=support.anchor, backend=support.backend)


def read(classifier, target=TARGET):
    return passed(classifier).products(target)


def by_autograd(classifier, target):
    """Attention times slope along the anchor's row, in a whole pass in which attention and values are constants."""
    leaves = []

    def cut(_index, layer):
        leaves.append(layer.probabilities.detach().requires_grad_())
        return Layer(leaves[-1], layer.value.detach())

    encoding = classifier.encode(TEXTS)
    logits = run(classifier.model, encoding.inputs("cpu"), attend=cut).logits
    slopes = torch.autograd.grad(logits.gather(1, target[:, None]).sum(), leaves)
    place = {"first": torch.zeros(len(TEXTS), dtype=torch.long), "last": encoding.mask.sum(1) - 1}
    rows = torch.arange(len(TEXTS)), slice(None), place[classifier.support.anchor]
    return torch.stack([(slope * leaf.detach())[rows] for slope, leaf in zip(slopes, leaves, strict=True)], 1)


@pytest.mark.parametrize("architecture", ONE_TOKEN)
def test_products_are_those_of_a_whole_pass_with_attention_and_values_as_constants(architecture):
    classifier = tiny_classifier(architecture)
    ours, theirs = read(classifier), by_autograd(classifier, TARGET)
    shown = classifier.encode(TEXTS).mask[:, None, None].expand_as(theirs)
    assert_close(ours[shown], theirs[shown], atol=1e-5 * float(theirs.abs().max()), rtol=1e-3)


def test_without_norms_and_feed_forward_a_layer_says_what_can_be_worked_out_by_hand():
    """Then the logit is `W (x + sum over layers and heads of O a V x) + b`."""
    classifier = tiny_classifier()
    model, layers = classifier.model, classifier.model.bert.encoder.layer
    for layer in layers:
        layer.attention.output.LayerNorm = layer.output.LayerNorm = nn.Identity()
        nn.init.zeros_(layer.output.dense.weight)
        nn.init.zeros_(layer.output.dense.bias)
    model.bert.pooler.activation = nn.Identity()
    nn.init.eye_(model.bert.pooler.dense.weight)
    ours, of_class = read(classifier), model.classifier.weight.detach()[TARGET]
    eager = run(model, classifier.encode(TEXTS).inputs("cpu"), attend=lambda _, layer: layer)
    assert len(layers) == len(eager.layers) > 1
    for number, (layer, seen) in enumerate(zip(layers, eager.layers, strict=True)):
        wanted = (of_class @ layer.attention.output.dense.weight.detach()).unflatten(1, (seen.value.shape[1], -1))
        spoken = torch.einsum("bhtd,bhd->bht", seen.value.detach(), wanted)
        assert_close(ours[:, number], seen.probabilities.detach()[:, :, 0] * spoken, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_in_the_last_layer_nothing_else_leads_back(architecture):
    classifier = tiny_classifier(architecture)
    encoding = classifier.encode(TEXTS)
    whole = gradient_signals(classifier.model, encoding.inputs("cpu"), TARGET, anchor=classifier.support.anchor)
    ours, theirs = read(classifier), whole.evidence.products
    shown = encoding.mask[:, None].expand_as(ours[:, -1])
    assert_close(ours[:, -1][shown], theirs[:, -1][shown], atol=1e-5, rtol=1e-3)
    assert not torch.allclose(ours[:, 0], theirs[:, 0], atol=1e-3)


def test_a_pass_is_read_for_one_target_after_the_other():
    classifier = tiny_classifier()
    done = passed(classifier)
    first, second = done.products(TARGET, keep=True), done.products(TARGET.flip(0))
    assert_close(second, read(classifier, TARGET.flip(0)), atol=0, rtol=0)
    assert not torch.equal(second, first)


def test_the_text_runs_once_and_its_anchors_beside_it():
    classifier, shapes = tiny_classifier(), []
    classifier.support  # noqa: B018  # found out once, by running the model
    hook = classifier.model.register_forward_pre_hook(
        lambda _, __, given: shapes.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    read(classifier)
    hook.remove()
    assert shapes == [tuple(classifier.encode(TEXTS).ids.shape), (len(TEXTS), 1)]


def test_the_method_adds_up_what_speaks_for_the_target():
    classifier = tiny_classifier()
    encoding = classifier.encode(TEXTS)
    scores = find_method("anchor_stream").attribute(classifier, encoding, TARGET)
    expected = read(classifier).clamp(min=0).sum((1, 2)).masked_fill(~encoding.real, 0)
    assert_close(scores, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("architecture", ["modernbert-mean", "bart"])
def test_a_model_that_pools_more_than_one_token_is_refused(architecture):
    message = {"modernbert-mean": "pools every real token; .* choose grad_sam", "bart": "an encoder-decoder has two"}
    with pytest.raises(UnsupportedModelError, match=message[architecture]):
        read(tiny_classifier(architecture))


def test_a_model_in_which_more_reaches_the_pooled_token_is_refused(monkeypatch):
    classifier = tiny_classifier()
    classifier.support  # noqa: B018  # it pools the first token
    pooler = type(classifier.model.bert.pooler)
    forward = pooler.forward
    monkeypatch.setattr(pooler, "forward", lambda self, hidden: forward(self, hidden * hidden.shape[1]))
    with pytest.raises(UnsupportedModelError, match=r"More than what its heads read .* differ by [\d.]+"):
        read(classifier)


def test_a_layer_whose_heads_keep_no_gradient_is_an_error_and_never_zeros(monkeypatch):
    classifier = tiny_classifier()
    classifier.support  # noqa: B018
    output = classifier.model.bert.encoder.layer[1].attention.output.dense
    forward = output.forward

    def without(hidden):
        with torch.no_grad():
            return forward(hidden)

    monkeypatch.setattr(output, "forward", without)
    with pytest.raises(NoGradientError, match="BertForSequenceClassification has no gradient"):
        read(classifier)


def test_a_caller_in_inference_mode_gets_the_same_and_nothing_stays_on_the_model():
    classifier = tiny_classifier()
    before = classifier.model.config._attn_implementation, dict(classifier.model.__dict__)
    with torch.inference_mode():
        inside = read(classifier)
    assert_close(inside, read(classifier), atol=0, rtol=0)
    assert (classifier.model.config._attn_implementation, dict(classifier.model.__dict__)) == before
    assert all(parameter.grad is None for parameter in classifier.model.parameters())
