"""The second output of an ExpNet: how much the classifier depends on a word, beside how likely people would mark it."""

import json
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from expnet.benchmark.measure.scores import ScoringJob, word_scores
from expnet.errors import MismatchError, OptionError
from expnet.explainer import Explainer
from expnet.methods.registry import find_method
from expnet.network.expnet import ExpNet
from expnet.network.inputs import read_features
from expnet.rationales import Record
from expnet.text.texts import Text
from expnet.training.build import continued, with_used
from expnet.training.config import ACROSS_TASKS
from expnet.training.fit import fit
from tests.classifiers import HEAD_SET, random_network, tiny_classifier, tiny_explainer
from tests.methods.test_traced import counted

CLASSIFIER = tiny_classifier()
BOTH = random_network(replace(HEAD_SET, used=True))
TEXT = "the film is not good"


@pytest.fixture
def explainer():
    return Explainer(CLASSIFIER, BOTH)


def features(target=1):
    encoding = CLASSIFIER.encode([TEXT])
    return encoding, read_features(CLASSIFIER, encoding, BOTH.config.features, target=torch.tensor([target]))[1]


def test_the_first_output_is_the_same_without_the_second():
    assert_close(BOTH.score(features()[1]), random_network(HEAD_SET).score(features()[1]), rtol=0, atol=0)


def test_both_outputs_survive_saving(tmp_path):
    BOTH.save_pretrained(tmp_path)
    again, (_, seen) = ExpNet.from_pretrained(tmp_path), features()
    assert torch.equal(again.effects(seen), BOTH.effects(seen))
    assert torch.equal(again.score(seen), BOTH.score(seen))


def test_a_network_saved_before_there_was_a_second_output_loads_without_one(tmp_path):
    random_network(HEAD_SET).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config.pop("used") is False
    (tmp_path / "config.json").write_text(json.dumps(config))
    network = ExpNet.from_pretrained(tmp_path)
    with pytest.raises(MismatchError, match="has no second output"):
        network.effects(features()[1])


def test_weights_without_the_second_output_that_the_config_names_are_refused(tmp_path):
    random_network(HEAD_SET).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"used": True}))
    with pytest.raises(MismatchError, match="do not fit its config"):
        ExpNet.from_pretrained(tmp_path)


def test_words_are_the_signed_sums_of_their_tokens_and_depend_on_the_class(explainer):
    for target in (0, 1):
        encoding, seen = features(target)
        effects = BOTH.effects(seen)[0]
        explanation = explainer.explain(TEXT, method="expnet_used", target=target)
        expected = [0.0] * len(explanation.words)
        for token, (first, end) in enumerate(encoding.covers[0].tolist()):
            for word in range(first, end):  # one word, in this text
                expected[word] += float(effects[token])
        assert [word.score for word in explanation.words] == pytest.approx(expected, abs=1e-5)
        assert explanation.signed
        assert explanation.uses_target
        assert not explanation.calibrated
        assert explanation.threshold is None
        assert explanation.meaning.startswith("How much the classifier depends on the word")


def test_the_mixture_is_the_mean_of_both_within_the_text(explainer):
    encoding, seen = features()
    real = encoding.real[0]
    with torch.no_grad():
        outputs = [BOTH(seen)[0][real], BOTH.effects(seen)[0][real]]
    standard = [(output - output.mean()) / output.std(unbiased=False) for output in outputs]
    wanted = (sum(standard) / 2).sigmoid()
    scores = find_method("expnet_both").attribute(CLASSIFIER, encoding, torch.tensor([1]), network=BOTH)[0]
    assert_close(scores[real], wanted, rtol=1e-4, atol=1e-5)
    assert (scores[~real] == 0).all()
    assert not explainer.explain(TEXT, method="expnet_both").signed


@pytest.mark.parametrize("method", ["expnet_gradient", "expnet_used", "expnet_both"])
def test_the_benchmark_measures_what_is_explained(explainer, method):
    texts = [TEXT, "good film"]
    records = [Record(id=text, text=Text.of(text), label="0") for text in texts]
    measured = word_scores(CLASSIFIER, records, [1, 1], ScoringJob(find_method(method), {}, network=BOTH))
    for scores, explanation in zip(measured, explainer.explain(texts, method=method, target=1), strict=True):
        assert scores == pytest.approx([word.score for word in explanation.words], abs=1e-5)


def test_all_three_readings_take_the_passes_of_one(explainer):
    explainer.explain(TEXT)
    with counted(CLASSIFIER) as counts:
        explainer.compare([TEXT], methods={"expnet": {}, "expnet_used": {}, "expnet_both": {}})
    assert (counts["forward"], counts["backward"]) == (1, 1)


@pytest.mark.parametrize("method", ["expnet_used", "expnet_both"])
def test_an_explainer_without_it_says_where_there_is_one(method):
    without = Explainer(CLASSIFIER, random_network(HEAD_SET))
    with pytest.raises(OptionError, match=rf"which {method} needs: choose the explainer universal/gradient, or run"):
        without.explain(TEXT, method=method)
    with pytest.raises(OptionError, match="trained on attention alone"):
        tiny_explainer(CLASSIFIER).explain(TEXT, method=method)


def test_training_on_marks_leaves_it_as_it_is():
    again = continued(BOTH, ACROSS_TASKS)
    assert all(torch.equal(again.state_dict()[name], weights) for name, weights in BOTH.state_dict().items())
    other = random_network(HEAD_SET, seed=1)
    assert_close(with_used(other, BOTH.used).effects(features()[1]), BOTH.effects(features()[1]), rtol=0, atol=0)


def test_marks_leave_what_is_known_of_the_second_output():
    known = {"classifiers": ["another"], "removals": 16}
    start = random_network(replace(HEAD_SET, used=True, provenance={"used": known, "texts": 7}))
    text = Text.of("a good film")
    marked = [Record(str(i), text, None, text.words[1:2]) for i in range(4)]
    learned = fit(CLASSIFIER, marked, start=start, steps=1)
    assert learned.config.provenance["used"] == known
    assert learned.config.provenance["texts"] == 4
    assert "used" not in fit(CLASSIFIER, marked, start=random_network(HEAD_SET), steps=1).config.provenance
