"""What is learned from random removals: the loss and the answers by hand, and a classifier whose effects are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from expnet.errors import InputError, OptionError
from expnet.network.expnet import ExpNet
from expnet.network.inputs import read_features
from expnet.text.texts import Text
from expnet.training.adapt import adapt
from expnet.training.build import new_network
from expnet.training.config import STUDENT, with_tier
from expnet.training.removals import Removals, answers, learn_removals, removal_loss, sums
from tests.classifiers import HEAD_SET, random_network, tiny_classifier
from tests.models import WORDS

CLASSIFIER = tiny_classifier()
BRIEF = replace(STUDENT, steps=5)


def texts(count, seed=0, words=9):
    generator = np.random.default_rng(seed)
    return [Text.of(" ".join(WORDS[i] for i in generator.integers(0, len(WORDS), words))) for _ in range(count)]


def test_the_loss_is_one_less_the_correlation_of_sums_and_logits(monkeypatch):
    monkeypatch.setattr(ExpNet, "forward", lambda _, features: features[..., 0])  # scores that are the features
    network = new_network(CLASSIFIER, BRIEF)
    scores = [0.0, 1.0, 2.0, 5.0, 0.0]  # of [CLS], two tokens of a word, one of another, [SEP]
    kept = torch.tensor([[True, False], [False, True], [True, True], [False, False]])
    logits = torch.tensor([0.3, 0.1, 0.9, -0.2])
    window = Removals(torch.tensor(scores)[:, None], torch.tensor([-1, 0, 0, 1, -1]), kept, logits)
    sums = [1.0 + 2.0, 5.0, 8.0, 0.0]
    expected = 1 - np.corrcoef(sums, logits.numpy())[0, 1]
    assert removal_loss(network, [window]).item() == pytest.approx(expected, abs=1e-6)
    # A window that is filled up in a batch counts as it does alone.
    longer = Removals(torch.zeros(7, 1), torch.tensor([-1, 0, 1, 2, 3, 4, -1]), torch.ones(4, 5).bool(), logits)
    assert removal_loss(network, [window, longer]).item() == pytest.approx((expected + 1) / 2, abs=1e-4)


def test_answers_are_those_of_the_classifier_to_the_words_that_stay():
    """Each removal again, by hand: [MASK] in place of the other words."""
    some, network = [*texts(3), Text.of("alone"), Text.of("")], new_network(CLASSIFIER, BRIEF)
    given = list(answers(CLASSIFIER, some, network, 6, 0, None))
    assert len(given) == 3  # one word cannot be told from its text
    mask = CLASSIFIER.tokenizer.mask_token_id
    encoding = CLASSIFIER.encode(some)
    ids = {tuple(row[: int(m.sum())].tolist()) for row, m in zip(encoding.ids, encoding.mask, strict=True)}
    for window in given:
        row = next(row for row in ids if len(row) == len(window.word_of) and self_consistent(row, window, mask))
        ids.remove(row)
    counts = torch.stack([window.kept.float().mean(1) for window in given]).mean(0)
    assert counts[0] < 0.3 < 0.7 < counts[-1]


def self_consistent(row, window, mask):
    target = CLASSIFIER.model(torch.tensor([row])).logits.argmax()
    for kept, logit in zip(window.kept, window.logits, strict=True):
        stays = [word < 0 or bool(kept[word]) for word in window.word_of.tolist()]
        masked = [token if stay else mask for token, stay in zip(row, stays, strict=True)]
        with torch.no_grad():
            said = CLASSIFIER.model(torch.tensor([masked])).logits[0, target]
        if abs(float(said - logit)) > 1e-4:
            return False
    return True


@pytest.mark.parametrize("tier", ["attention", "gradient", "difference"])
def test_sums_go_along_with_answers_to_removals_it_has_not_seen(tier):
    config = with_tier(replace(STUDENT, steps=150, dropout=0.0, feature_dropout=0.0), tier)
    trained = learn_removals([(CLASSIFIER, texts(40))], config=config, removals=8)
    new = list(answers(CLASSIFIER, texts(40), trained, 12, 7, None))  # of the same texts: a random model has no rules
    with torch.no_grad():
        reached = 1 - removal_loss(trained, new).item()
        before = 1 - removal_loss(new_network(CLASSIFIER, config).eval(), new).item()
    assert reached > before + 0.2  # reached: about 0.57 and 0.28


def test_its_numbers_are_in_units_of_the_logit():
    """Least squares over all removals, by another library: a slope of 1 is left."""
    config = with_tier(replace(STUDENT, steps=60, dropout=0.0, feature_dropout=0.0), "gradient")
    trained = learn_removals([(CLASSIFIER, texts(20))], config=config, removals=8)
    windows = list(answers(CLASSIFIER, texts(20), trained, 8, config.seed, None))
    with torch.no_grad():
        said = [added.double().numpy() for added in sums(trained, windows)]
    logits = [window.logits.double().numpy() for window in windows]
    centred = [np.concatenate([part - part.mean() for part in parts]) for parts in (said, logits)]
    (slope,), *_ = np.linalg.lstsq(centred[0][:, None], centred[1], rcond=None)
    assert slope == pytest.approx(1, abs=1e-3)


def test_it_learns_from_several_classifiers_of_any_size():
    others = [tiny_classifier(), tiny_classifier("distilbert", seed=1)]
    config = replace(BRIEF, features=HEAD_SET.features, steps=40, dropout=0.0, feature_dropout=0.0)
    some, reached = texts(12), []
    trained = learn_removals([(other, some) for other in others], config=config, removals=8)
    alone = learn_removals([(others[0], some)], config=config, removals=8)
    with torch.no_grad():
        for network in (trained, alone):
            windows = list(answers(others[1], some, network, 12, 7, None))
            reached.append(1 - removal_loss(network, windows).item())
    assert reached[0] > reached[1]  # of the second classifier, from which only the first network learned


def test_the_same_seed_gives_the_same_and_a_class_can_be_named():
    def first(**settings):
        trained = learn_removals([(CLASSIFIER, texts(8))], removals=4, **{"config": BRIEF} | settings)
        return trained.state_dict()["first.weight"]

    assert torch.equal(first(), first())
    assert not torch.equal(first(), first(config=replace(BRIEF, seed=1)))
    assert not torch.equal(first(target=0), first(target=1))


class TestAdapt:
    def test_removals_pull_an_explainer_towards_what_the_classifier_depends_on(self):
        config = with_tier(replace(STUDENT, steps=150, dropout=0.0, feature_dropout=0.0), "gradient")
        teacher, some = random_network(HEAD_SET), texts(40)

        def reached(**settings):
            network = adapt(CLASSIFIER, settings.pop("teacher", teacher), some, config=config, **settings)
            with torch.no_grad():
                return 1 - removal_loss(network, list(answers(CLASSIFIER, some, network, 12, 7, None))).item()

        alone, both, taught = reached(teacher=None), reached(), reached(removals=0)
        assert alone > both > taught
        assert alone > taught + 0.3

    def test_with_gradients_what_was_learned_from_removals_is_the_second_output(self):
        some, config = texts(6), with_tier(BRIEF, "gradient")
        student = adapt(CLASSIFIER, random_network(HEAD_SET), some, removals=4, config=config)
        expected = learn_removals([(CLASSIFIER, some)], config=config, removals=4)
        for name, weights in expected.state_dict().items():
            assert torch.equal(student.state_dict()[f"used.{name}"], weights)
        assert not student.training
        assert not adapt(CLASSIFIER, random_network(HEAD_SET), some, removals=4, config=BRIEF).config.used
        assert not adapt(CLASSIFIER, random_network(HEAD_SET), some, removals=0, config=config).config.used

    def test_the_provenance_says_so(self):
        both = adapt(CLASSIFIER, random_network(HEAD_SET), texts(4), removals=2, config=BRIEF).config.provenance
        assert (both["removals"], both["method_weight"]) == (2, 0.5)
        assert "target_method" not in both
        alone = adapt(CLASSIFIER, None, texts(4), config=BRIEF).config.provenance
        assert alone["removals"] == 16
        assert not {"method_weight", "teacher"} & alone.keys()
        taught = adapt(CLASSIFIER, random_network(HEAD_SET), texts(4), removals=0, config=BRIEF).config.provenance
        assert not {"method_weight", "removals"} & taught.keys()

    def test_what_does_not_suit_is_an_error(self):
        with pytest.raises(OptionError, match="removals"):
            adapt(CLASSIFIER, None, texts(2), removals=1, config=BRIEF)
        with pytest.raises(InputError, match="None of the 1 texts has two words"):
            adapt(CLASSIFIER, None, [Text.of("alone")], config=BRIEF)


def test_features_are_those_of_a_network_s_own_reading():
    network = new_network(CLASSIFIER, BRIEF)
    (window,) = answers(CLASSIFIER, texts(1), network, 2, 0, None)
    _, features = read_features(CLASSIFIER, CLASSIFIER.encode(texts(1)), network.config.features)
    assert_close(window.features.float(), features[0], atol=2e-3, rtol=2e-3)
