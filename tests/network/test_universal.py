"""The ExpNets that come with the package: they fit any classifier, say what they are worth, and learn on."""

import json
from functools import partial
from inspect import unwrap

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import expnet
from expnet.errors import InputError, OptionError, RationaleError
from expnet.explainer import Explainer
from expnet.network.features import ATTENTION, GRADIENT, FeatureConfig
from expnet.network.heads import HeadSetConfig
from expnet.network.universal import FOLDER, named, trust, universal
from expnet.rationales import Record
from expnet.text.encoding import pool_words
from expnet.text.texts import Text
from expnet.training.config import FEW_MARKS_UNIVERSAL, FitConfig
from expnet.training.fit import fit
from tests.classifiers import tiny_classifier
from tests.models import WORDS, build, save


def texts(count: int, seed: int = 0) -> list[Text]:
    generator = np.random.default_rng(seed)
    return [Text.of(" ".join(WORDS[i] for i in generator.integers(0, len(WORDS), 7))) for _ in range(count)]


def marked(count: int) -> list[Record]:
    return [Record(str(i), text, None, text.words[2:4]) for i, text in enumerate(texts(count, seed=1))]


@pytest.fixture(scope="module")
def classifier() -> expnet.Classifier:
    return tiny_classifier()


@pytest.mark.parametrize("kind", ["bert", "gpt2", "modernbert"])
@pytest.mark.parametrize("tier", ["attention", "gradient", "difference"])
def test_one_network_explains_classifiers_of_other_kinds_and_a_text_alone_as_in_a_batch(kind, tier):
    explainer = Explainer(tiny_classifier(kind), universal(tier))
    some = ["good film", "one long text, another short one", "bad"]
    together = explainer.explain(some)
    for text, found in zip(some, together, strict=True):
        alone = explainer.explain(text)
        assert_close([w.score for w in alone.words], [w.score for w in found.words], atol=1e-5, rtol=0)
        assert found.method == ("expnet" if tier == "attention" else f"expnet_{tier}")


def test_a_model_of_which_nothing_is_known_is_explained_at_once_and_says_so(tmp_path):
    save(tmp_path / "model", build("bert"), typed=True)
    explainer = expnet.load(tmp_path / "model")
    assert explainer.network.config.features == HeadSetConfig(tier="gradient")
    shown = explainer.explain("good film")
    assert shown.provenance["explainer"] == "universal"
    assert "may not have been trained on marked texts of this task" in shown.to_html()
    assert explainer.trust == trust("gradient")
    assert expnet.load(tmp_path / "model", explainer="universal/attention").trust == trust("attention")


@pytest.mark.parametrize("tier", ["attention", "gradient", "difference"])
def test_what_it_says_of_itself_is_what_the_benchmark_measured(tier):
    sets = json.loads((FOLDER / "report.json").read_text())[tier]["sets"]
    mean = np.mean([each["ours"] for each in sets.values()])
    assert f"On {len(sets)} sets" in trust(tier)
    assert f"average precision was {mean:.2f}" in trust(tier)
    learned = universal(tier).config.provenance["sources"]
    assert all(source in trust(tier) for source in learned)
    card = (FOLDER / tier / "README.md").read_text()
    for name, each in sets.items():
        assert f"| {name} | {each['texts']} | {each['ours']:.3f} [" in card


def test_there_are_two_and_another_name_is_an_error():
    assert named("universal").config.features == HeadSetConfig(tier="gradient")
    with pytest.raises(InputError, match=r"no ExpNet 'universal/magic'; there are: universal, universal/gradient"):
        named("universal/magic")


class TestStart:
    def test_few_texts_train_the_universal_network_itself_a_little(self, classifier):
        for tier in ("attention", "gradient", "difference"):
            known, network = universal(tier), fit(classifier, marked(16), tier=tier)
            assert network.config.features == HeadSetConfig(tier=tier)
            assert network.config.provenance["warm start"] is True
            assert network.config.provenance["fit"]["steps"] == FEW_MARKS_UNIVERSAL.steps
            moved = (network.first.weight - known.first.weight).norm()
            assert 0 < moved < 0.5 * known.first.weight.norm()

    @pytest.mark.parametrize(
        ("tier", "patterns"),
        [
            ("attention", ATTENTION),
            ("gradient", (*ATTENTION, *GRADIENT)),
            ("difference", (*ATTENTION, *GRADIENT, "differences")),
        ],
    )
    def test_a_hundred_texts_marked_or_not_make_one_that_sees_each_head(self, classifier, tier, patterns):
        network = fit(classifier, marked(16), tier=tier, unmarked=texts(84))
        assert network.config.features == FeatureConfig(patterns=patterns)
        assert (network.config.layers, network.config.heads) == (3, 4)
        assert network.config.provenance["texts"] == 16
        assert network.config.provenance["fit"]["learning_rate"] == pytest.approx(0.15 * 2e-3)

    def test_a_configuration_decides_on_the_features_whatever_the_start(self, classifier):
        config = FitConfig(features=FeatureConfig(patterns=("columns",)), hidden=(5,), epochs=1)
        network = fit(classifier, marked(16), config=config, unmarked=texts(84))
        assert network.config.features == config.features
        assert network.config.hidden == (5,)
        assert fit(classifier, marked(16), config=config, start="nothing").config.provenance["warm start"] is False

    def test_the_same_seed_gives_the_same_network_and_another_seed_another(self, classifier):
        learn = partial(fit, classifier, marked(16), unmarked=texts(84))
        one, two, other = (learn(seed=seed).first.weight for seed in (1, 1, 2))
        assert torch.equal(one, two)
        assert not torch.equal(one, other)

    def test_what_does_not_suit_is_an_error(self, classifier):
        with pytest.raises(InputError, match="'universal', 'nothing' or an ExpNet, got 'scratch'"):
            unwrap(fit)(classifier, marked(2), start="scratch")  # without the tests' own check of annotations
        with pytest.raises(RationaleError, match="None of the 3 records has a rationale"):
            fit(classifier, [Record(str(i), text, None, None) for i, text in enumerate(texts(3))])


class TestPasses:
    """A network with gradients predicts on the way: one forward pass, unless windows must agree on a class first."""

    LONG = " ".join(["good film text short"] * 40)

    @pytest.mark.parametrize(("text", "target", "passes"), [("a good film", None, 1), (LONG, 1, 1), (LONG, None, 2)])
    def test_they_are_counted_and_the_scores_are_those_of_the_method(self, text, target, passes):
        classifier = tiny_classifier(max_length=32)
        explainer, ran = Explainer(classifier, universal()), []
        encoding = classifier.encode([Text.of(text)])
        explainer.explain(text)  # how the model is captured is found once
        hook = classifier.model.register_forward_pre_hook(lambda *_: ran.append(1))
        found = explainer.explain(text, target=target)
        hook.remove()
        assert len(ran) == passes
        probabilities = classifier.predict(encoding).probabilities
        chosen = int(probabilities.argmax()) if target is None else target
        assert found.probability == pytest.approx(float(probabilities[0, chosen]), abs=1e-5)
        alone = expnet.find_method("expnet_gradient").attribute(
            classifier, encoding, torch.full((len(encoding),), chosen), network=explainer.network
        )
        (words,) = pool_words(alone, encoding)
        assert_close(torch.tensor([word.score for word in found.words]), words, atol=1e-5, rtol=0)

    def test_a_network_of_the_other_tier_is_refused(self):
        for tier, method, own in (
            ("attention", "expnet_gradient", "expnet"),
            ("attention", "expnet_difference", "expnet"),
            ("gradient", "expnet_difference", "expnet_gradient"),
            ("difference", "expnet_gradient", "expnet_difference"),
        ):
            with pytest.raises(OptionError, match=f"choose the method '{own}'"):
                Explainer(tiny_classifier(), universal(tier)).explain("good", method=method)
