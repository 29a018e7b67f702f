"""Every explainer says what it learned from, on which classifier, and what was held out."""

from dataclasses import replace

import expnet
from expnet import Explainer
from expnet.network.trust import trust_in
from expnet.network.universal import trust, universal
from expnet.training.config import STUDENT
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.network.test_universal import marked, texts


def test_a_demo_says_on_what_texts_and_which_classifier_it_learned_and_that_elsewhere_it_may_be_worse():
    told = expnet.load("demo/sentiment").trust
    assert "trained on 6,360 texts of sst_tree/train in which people marked words, for demo/sentiment." in told
    assert "On 802 other texts, which were also used to select it, its average precision was 0.77" in told
    assert "may agree less with people than `universal/gradient`" in told


def test_the_universal_one_owns_up_to_the_tasks_it_has_seen_marks_of():
    for tier in ("attention", "gradient"):
        assert "sentiment (sst_tree/train)" in trust(tier)
        assert "hate speech (hatexplain/train)" in trust(tier)
        assert "all classifiers fine-tuned from all-MiniLM-L6-v2" in trust(tier)


def test_a_universal_one_says_the_same_however_it_came_to_its_classifier(tmp_path):
    for tier in ("attention", "gradient", "difference"):
        network = universal(tier)
        network.save_pretrained(tmp_path / tier)
        for each in (network, expnet.ExpNet.from_pretrained(tmp_path / tier)):
            assert Explainer(tiny_classifier(), each).trust == trust(tier)


def test_fitted_and_adapted_explainers_say_what_they_learned_from_as_soon_as_they_are_made():
    classifier = tiny_classifier()
    classifier.name = "my/classifier"
    fitted = expnet.fit(classifier, marked(8), start="nothing", steps=1, name="my marks")
    told = Explainer(classifier, fitted).trust
    assert "8 texts of my marks in which people marked words, for my/classifier. No text was held out" in told
    adapted = expnet.adapt(classifier, fitted, texts(8), target_method="saliency", config=replace(STUDENT, steps=2))
    told = Explainer(classifier, adapted).trust
    assert "imitate the method “saliency” and another explainer on 8 texts without human marks, for my/cl" in told
    adapted = expnet.adapt(classifier, None, texts(8), removals=2, config=replace(STUDENT, steps=2))
    told = Explainer(classifier, adapted).trust
    assert "imitate what the classifier does without random words on 8 texts without human marks, for my/cl" in told
    assert Explainer(classifier).trust == ""  # nothing was learned


def test_what_a_network_does_not_say_is_said_not_to_be_known():
    told = trust_in({})
    assert "on texts in which people marked words, for a classifier that is not recorded. No text was held out" in told
    assert tiny_explainer(tiny_classifier()).trust == told
