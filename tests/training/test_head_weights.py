"""Weights of heads: what AT2 sums, and that what is learned is what random removals say."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr

import expnet
from expnet.errors import InputError, OptionError
from expnet.methods.families.head_weights import ATTRIBUTION_WITH_ATTENTION
from expnet.text.texts import Text
from expnet.training import head_weights
from expnet.training.head_weights import learn_head_weights
from expnet.training.loss import correlation
from tests.classifiers import tiny_classifier
from tests.models import ARCHITECTURES

TEXTS = ["A good film.", "bad", "The first one is long, but another is short!", "a bad text", "good good film"]


def heads_of(classifier):
    return classifier.support.layers * classifier.support.heads


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_are_the_weighted_sum_over_heads_of_eager_attention(architecture):
    classifier = tiny_classifier(architecture)
    encoding = classifier.encode([Text.of(TEXTS[2])])
    weights = np.random.default_rng(0).normal(size=heads_of(classifier))
    scores = ATTRIBUTION_WITH_ATTENTION.attribute(
        classifier, encoding, torch.tensor([0]), options={"weights": weights.tolist()}
    )
    model = classifier.model
    model.set_attn_implementation("eager")
    outputs = model(**encoding.inputs(), output_attentions=True)
    length = encoding.ids.shape[1]
    anchor = {"first": np.eye(length)[0], "last": np.eye(length)[-1], "mean": np.full(length, 1 / length)}
    maps = torch.stack(outputs.attentions)[:, 0].detach().double().numpy()
    rows = np.einsum("i,lhij->lhj", anchor[classifier.support.anchor], maps)
    expected = np.einsum("h,ht->t", weights, rows.reshape(len(weights), length)) * encoding.real[0].numpy()
    np.testing.assert_allclose(scores[0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("weights", [[1.0], [float("nan")] * 12, [1e39] * 12])
def test_weights_of_another_classifier_are_refused(weights):
    classifier = tiny_classifier()
    if len(weights) > 1:
        weights = weights[:1] * heads_of(classifier)
    encoding = classifier.encode([Text.of("a good film")])
    with pytest.raises(OptionError, match=r"expected a finite one for each of the \d+ heads"):
        ATTRIBUTION_WITH_ATTENTION.attribute(classifier, encoding, torch.tensor([0]), options={"weights": weights})


def test_correlation_is_scipy_s():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 5, 20))
    expected = [pearsonr(a, b).statistic for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(correlation(torch.tensor(first), torch.tensor(second)), expected, atol=1e-6)
    assert correlation(torch.ones(4), torch.arange(4.0)) == 0


def test_evidence_and_effect_are_those_of_texts_with_their_words_replaced(monkeypatch):
    classifier = tiny_classifier()
    texts = [Text.of("a good film"), Text.of("bad")]
    drawn = torch.tensor(list(product([0.0, 1.0], repeat=3)))  # each of the eight coalitions of three words
    monkeypatch.setattr(head_weights, "draw", lambda game, masks, seed: drawn[None, :, : game.everyone.shape[1]])
    ((evidence, effect),) = head_weights._examples(classifier, texts, 8, 0, False)  # "bad" has nothing to compare
    encoding = classifier.encode(texts[:1])
    chosen = classifier.predict(encoding).chosen
    attention = head_weights.anchor_attention(classifier, encoding)[0]
    tokens = {word: encoding.real[0].nonzero().flatten()[word] for word in range(3)}  # a token for each word here
    assert int(encoding.real.sum()) == 3
    for row, coalition in enumerate(drawn):
        ids = encoding.ids.clone()
        for word, place in tokens.items():
            if coalition[word] >= 0.5:
                ids[0, place] = classifier.mask_id
        logits = classifier.model(input_ids=ids, attention_mask=encoding.mask.long()).logits[0].detach()
        others = torch.cat([logits[: chosen[0]], logits[chosen[0] + 1 :]])
        assert effect[row].item() == pytest.approx((logits[chosen[0]] - others.logsumexp(0)).item(), abs=1e-3)
        signs = [1.0 if value < 0.5 else -1.0 for value in coalition]
        expected = sum(sign * attention[:, tokens[word]] for word, sign in enumerate(signs))
        torch.testing.assert_close(evidence[row], expected)


def test_the_head_whose_attention_says_what_the_model_depends_on_gets_the_weight():
    generator = torch.Generator().manual_seed(1)
    evidence = torch.randn(200, 32, 6, generator=generator)
    effect = 3 * evidence[..., 2] - 1.5 * evidence[..., 4] + 0.1 * torch.randn(200, 32, generator=generator)
    with torch.enable_grad():
        learned = head_weights._fitted(evidence, effect, 1000, 512, 0)
    assert sum(map(abs, learned)) == pytest.approx(1)
    assert np.argsort(learned).tolist()[-1] == 2
    assert np.argmin(learned) == 4
    assert learned[2] / learned[4] == pytest.approx(-2, abs=0.2)


def test_learning_is_repeatable_and_agrees_better_with_removal_than_equal_weights():
    classifier = tiny_classifier()
    weights = learn_head_weights(classifier, TEXTS, steps=300)
    assert weights == expnet.learn_head_weights(classifier, iter(TEXTS), steps=300)
    assert len(weights) == heads_of(classifier)
    assert weights != learn_head_weights(classifier, TEXTS, steps=300, seed=1)
    examples = list(head_weights._examples(classifier, [Text.of(text) for text in TEXTS], 32, 0, False))

    def agreement(weights):
        return sum(correlation(evidence @ torch.tensor(weights), effect) for evidence, effect in examples)

    assert agreement(weights) > agreement([1 / len(weights)] * len(weights)) + 0.1


@pytest.mark.parametrize(
    ("texts", "settings", "error", "message"),
    [
        (["bad", "good"], {}, InputError, "texts of two words or more"),
        ([], {}, InputError, "texts of two words or more"),
        (TEXTS, {"masks": 1}, OptionError, "masks is 1, expected 2"),
        (TEXTS, {"steps": 0}, OptionError, "steps is 0, expected 1"),
    ],
)
def test_what_nothing_can_be_learned_from_is_refused(texts, settings, error, message):
    with pytest.raises(error, match=message):
        learn_head_weights(tiny_classifier(), texts, **settings)
