"""Which heads an ExpNet listened to: against a second, naive computation, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from expnet import explain_heads
from expnet.errors import InputError, MismatchError
from expnet.explainer import Explainer
from expnet.network.features import FeatureConfig
from expnet.network.heads import HeadSetConfig
from expnet.network.inputs import read_features
from expnet.text.texts import Text
from tests.classifiers import HEAD_SET, random_network, tiny_classifier, tiny_explainer

TEXT = "the unknownword film, another bad one"
CLASSIFIER = tiny_classifier()
LAYERS, HEADS = CLASSIFIER.support.layers, CLASSIFIER.support.heads
BY_POSITION = tiny_explainer(CLASSIFIER)
SET = Explainer(CLASSIFIER, random_network(replace(HEAD_SET, used=True)), name="set")


def log_odds(share):
    return np.log(share) - np.log1p(-share)


def by_tokens(encoding, scores, combine):
    """Word scores from token scores, one token at a time."""
    words = [[] for _ in encoding.texts[0].words]
    for (first, stop), score in zip(encoding.covers[0].tolist(), scores, strict=True):
        for word in range(first, stop):
            words[word].append(score)
    return np.array([combine(of_word) for of_word in words])


def test_an_effect_is_what_the_log_odds_of_the_score_lose_without_the_head():
    with torch.no_grad():
        BY_POSITION.network.scale.fill_(1.7)
        BY_POSITION.network.bias.fill_(-0.4)
    effects = explain_heads(BY_POSITION, TEXT)
    encoding = CLASSIFIER.encode([Text.of(TEXT)])
    _, features = read_features(CLASSIFIER, encoding, FeatureConfig())
    by_head = features.view(1, -1, 2, LAYERS, HEADS)

    def odds_without(layer, head):
        changed = by_head.clone()
        changed[:, :, :, layer, head] = 0
        scores = BY_POSITION.network.score(changed.flatten(2))[0].double().tolist()
        return log_odds(by_tokens(encoding, scores, max))

    scores, every = np.array([word.score for word in effects.explanation.words]), slice(None)
    for layer in range(LAYERS):
        for head in range(HEADS):
            expected = log_odds(scores) - odds_without(layer, head)
            np.testing.assert_allclose(effects.heads[:, layer, head], expected, atol=2e-5)
        np.testing.assert_allclose(
            effects.layers[:, layer], log_odds(scores) - odds_without(layer, slice(None)), atol=2e-5
        )
    every = slice(None)
    np.testing.assert_allclose(effects.together, log_odds(scores) - odds_without(every, every), atol=2e-5)
    assert effects.unit == "log-odds of the score"
    assert effects.heads.shape == (7, LAYERS, HEADS)


def test_of_the_second_output_it_is_what_the_score_itself_loses():
    effects = explain_heads(SET, TEXT, method="expnet_used", target=1)
    encoding = CLASSIFIER.encode([Text.of(TEXT)])
    _, features = read_features(CLASSIFIER, encoding, HEAD_SET.features, target=torch.tensor([1]))
    heads = features.heads.clone()
    heads[:, :, HEADS + 2] = 0  # the third of layer 1
    without = SET.network.effects(replace(features, heads=heads))[0].tolist()
    scores = np.array([word.score for word in effects.explanation.words])
    np.testing.assert_allclose(effects.heads[:, 1, 2], scores - by_tokens(encoding, without, sum), atol=2e-5)
    assert effects.unit == "the logit of the class"
    assert effects.explanation.label == CLASSIFIER.labels[1]


def test_effects_are_those_of_the_class_that_is_explained():
    predicted = explain_heads(SET, TEXT)
    label = predicted.explanation.label
    named = explain_heads(SET, TEXT, target=label)
    other = explain_heads(SET, TEXT, target=CLASSIFIER.labels[(CLASSIFIER.labels.index(label) + 1) % 3])
    contrast = explain_heads(SET, TEXT, target=label, against=other.explanation.label)
    np.testing.assert_array_equal(predicted.heads, named.heads)
    for changed in (other, contrast):
        assert np.abs(changed.heads - named.heads).max() > 1e-4


def test_pairs_and_blank_texts_have_effects_for_their_words():
    assert explain_heads(BY_POSITION, Text.of("good film", "bad")).heads.shape == (3, LAYERS, HEADS)
    assert explain_heads(BY_POSITION, " ").heads.shape == (0, LAYERS, HEADS)


def test_a_network_of_means_has_one_column():
    config = replace(BY_POSITION.network.config, features=FeatureConfig(heads="mean"))
    effects = explain_heads(Explainer(CLASSIFIER, random_network(config)), TEXT)
    assert effects.heads.shape == (7, LAYERS, 1)
    np.testing.assert_allclose(effects.heads[:, :, 0], effects.layers, atol=1e-6)


def test_words_are_named_or_numbered_and_the_strongest_heads_come_first():
    effects = explain_heads(BY_POSITION, f"bad {TEXT} 1")
    assert effects.find("bad") == 0
    assert effects.find(6) == effects.find("6") == 6
    assert effects.find("1") == 8  # it stands in the text
    strongest = effects.strongest(2, 3)
    order = np.argsort(-np.abs(effects.heads[2]).ravel())[:3]
    assert [(each.layer, each.head) for each in strongest] == [divmod(int(i), HEADS) for i in order]
    assert strongest[0].effect == effects.heads[2].flat[order[0]]
    record = json.loads(effects.to_json())
    assert record["heads"][2][strongest[0].layer][strongest[0].head] == strongest[0].effect
    assert record["explanation"] == json.loads(effects.explanation.to_json())


@pytest.mark.parametrize("word", [9, -1, "9", "-1", "²", "bda", "9" * 5000])
def test_a_word_that_is_not_there_is_refused(word):
    effects = explain_heads(BY_POSITION, f"bad {TEXT} 1")
    with pytest.raises(InputError, match="whose 9 words are numbered from 0") as refused:
        effects.find(word)
    assert (word == "bda") == ("Did you mean 'bad'?" in str(refused.value))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "saliency"}, "Expected expnet or .* got the method 'saliency'"),
        ({"method": "expnet_both"}, "a logit of its own"),
        ({"target": "all"}, "name the class"),
        ({"target": 3}, "There is no class 3"),
    ],
)
def test_what_has_no_heads_to_show_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        explain_heads(SET, TEXT, **settings)


def test_an_explainer_without_an_expnet_says_so():
    with pytest.raises(InputError, match="has no ExpNet"):
        explain_heads(Explainer(CLASSIFIER), TEXT)


def test_an_expnet_of_whole_tokens_has_no_heads():
    config = replace(BY_POSITION.network.config, features=FeatureConfig(patterns=("saliency",)))
    with pytest.raises(MismatchError, match="sees no heads"):
        explain_heads(Explainer(CLASSIFIER, random_network(config)), TEXT)


def test_a_text_in_several_windows_is_refused_unless_it_is_cut():
    explainer = tiny_explainer(tiny_classifier(max_length=8))
    with pytest.raises(InputError, match=r"read in \d+ windows, .*truncate=True"):
        explain_heads(explainer, "good bad " * 10)
    effects = explain_heads(explainer, "good bad " * 10, truncate=True)
    assert len(effects.heads) == 20
    assert np.abs(effects.heads[0]).max() > 0
    assert not effects.heads[19].any()  # it was not read


@pytest.mark.parametrize("tier", ["gradient", "difference"])
def test_the_name_of_each_tier_shows_the_heads_of_its_first_output(tier):
    network = random_network(replace(HEAD_SET, features=HeadSetConfig(tier=tier)))
    explainer = Explainer(CLASSIFIER, network, name="set")
    effects = explain_heads(explainer, TEXT, method=f"expnet_{tier}")
    np.testing.assert_allclose(effects.heads, explain_heads(explainer, TEXT).heads, atol=1e-6)
    assert np.abs(effects.heads).max() > 1e-4
