"""The check of an explainer, against the same figures by other ways, and what it says of given figures."""

import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch

import expnet
from expnet.checking import TrustCheck, check_of, measure, with_check
from expnet.errors import InputError, MismatchError
from expnet.explainer import Explainer
from expnet.metrics.stability import rank_correlation
from expnet.metrics.statistics import Estimate, estimate
from expnet.network.expnet import ExpNet
from expnet.rationales import Record
from expnet.text.texts import Text
from tests.classifiers import HEAD_SET, random_network, tiny_classifier, tiny_explainer
from tests.models import build, save

MEASURING = import_module("expnet.checking.measure")  # the room has a function of this name
# Words of one token each, so that a text with [MASK] for a word is what the check runs.
TEXTS = ["A good film, bad", "bad", "the first one , good text", "", "one text film short !"]


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


@pytest.fixture(scope="module")
def check(explainer):
    return measure(explainer.classifier, explainer.network, TEXTS, name="random")


def masked(text, words):
    return "".join(
        "[MASK]" + text.text[span.end : following] if number in words else text.text[span.start : following]
        for number, (span, following) in enumerate(
            zip(text.words, [*(span.start for span in text.words[1:]), len(text.text)], strict=True)
        )
    )


def losses_by_hand(explainer, method):
    """The probability lost without the top 1 to 5 tenths of the words, by plain predictions of texts with [MASK]."""
    losses = []
    for text in map(Text.of, (raw for raw in TEXTS if raw)):
        explanation = explainer.explain(text, method=method)
        full, lost = explanation.output, []
        order = np.argsort([-word.score for word in explanation.words], kind="stable")
        for share in (0.1, 0.2, 0.3, 0.4, 0.5):
            gone = order[: max(1, round(share * len(order)))]
            lost.append(full - explainer.explain(masked(text, gone), target=explanation.label).output)
        losses.append(np.mean(lost))
    return np.array(losses)


@pytest.mark.parametrize(("name", "method"), [("explainer", "expnet"), ("saliency", "saliency")])
def test_removal_is_what_plain_predictions_say(explainer, check, name, method):
    expected = losses_by_hand(explainer, method)
    assert check.removal[name].mean == pytest.approx(expected.mean(), abs=1e-5)
    assert check.removal[name].n == check.texts == len(expected) == 4
    assert check.left_out == 1


def test_a_second_output_is_measured_beside_the_rules_and_decides_nothing(explainer):
    both = Explainer(explainer.classifier, random_network(replace(HEAD_SET, used=True)))
    check = measure(both.classifier, both.network, TEXTS)
    without = measure(both.classifier, random_network(HEAD_SET), TEXTS)
    assert check.removal["expnet_used"].mean == pytest.approx(losses_by_hand(both, "expnet_used").mean(), abs=1e-5)
    assert check.best_rule == without.best_rule != "expnet_used"
    assert (check.level, check.share) == (without.level, without.share)
    changed = check.removal["expnet_used"].mean
    second = f" The words that its second output names (`--method expnet_used`) change it by {changed:.2f}."
    assert check.verdict == without.verdict + second
    assert TrustCheck.from_dict(check.to_dict()) == check


def test_gains_are_differences_text_by_text(explainer, check):
    gained = losses_by_hand(explainer, "expnet") - losses_by_hand(explainer, "saliency")
    assert check.gains["saliency"].mean == pytest.approx(gained.mean(), abs=1e-5)
    assert check.gains["saliency"].low == pytest.approx(estimate(gained, seed=0).low, abs=1e-5)


def test_a_sentence_says_whether_attention_itself_is_better_than_random_words(check):
    gain = check.over_random["raw_attention"]
    lost = check.removal
    assert gain.mean == pytest.approx(lost["raw_attention"].mean - lost["random words"].mean, abs=1e-9)
    assert gain.n == check.texts
    for mean, says in ((0.1, "says something here"), (-0.1, "misleads here"), (0.0, "it is not shown that")):
        with_gain = replace(check, over_random={"raw_attention": Estimate(mean, 100, mean - 0.02, mean + 0.02)})
        assert says in with_gain.of_attention
        assert f"{mean:+.2f}" in with_gain.of_attention
    assert replace(check, over_random={}).of_attention == ""


def test_a_verdict_says_where_the_search_for_limits_contradicts_it():
    def near(mean):
        return Estimate(mean, 20, mean - 0.1, mean + 0.1)

    good = figures(0.3, 0.2, {"saliency": 0.05})
    below = replace(good, normalised={"explainer": near(0.51), "random words": near(0.55)})
    above = replace(good, normalised={"explainer": near(0.55), "random words": near(0.51)})
    assert "on the 20 shorter texts" in below.verdict
    assert "(0.51 and 0.55 of the way from worst to best)" in below.verdict
    assert above.verdict == good.verdict
    bad = figures(0.1, 0.01, {"saliency": -0.1})
    assert replace(bad, normalised=below.normalised).verdict == bad.verdict


def test_agreement_is_the_rank_correlation_of_both_explanations(explainer, check):
    def scores(text, method):
        return np.array([word.score for word in explainer.explain(text, method=method).words])

    both = [rank_correlation(scores(text, "expnet"), scores(text, "raw_attention")) for text in TEXTS]
    assert check.agreement["raw_attention"].mean == pytest.approx(np.nanmean(both), abs=1e-6)
    assert -1 <= check.agreement["itself"].mean < 1


def test_attention_goes_where_plain_transformers_say_it_goes(explainer, check):
    classifier, special, punctuation = explainer.classifier, [], []
    for text in (raw for raw in TEXTS if raw):
        encoding = classifier.encode([text])
        classifier.model.set_attn_implementation("eager")
        with torch.no_grad():
            maps = classifier.model(**encoding.inputs(), output_attentions=True).attentions
        classifier.model.set_attn_implementation("sdpa")
        row = torch.stack([of_layer[0, :, 0] for of_layer in maps]).mean((0, 1))
        tokens = classifier.tokenizer.convert_ids_to_tokens(encoding.ids[0].tolist())
        special.append(float(row[[token.startswith("[") for token in tokens]].sum()))
        punctuation.append(float(row[[token in {",", "!"} for token in tokens]].sum()))
    assert check.attention["special tokens"].mean == pytest.approx(np.mean(special), abs=1e-5)
    assert check.attention["punctuation"].mean == pytest.approx(np.mean(punctuation), abs=1e-5)


def test_marks_add_the_agreement_with_people(explainer, check):
    assert check.people == {}
    text = Text.of("A good film, bad")
    top = max(range(len(text.words)), key=lambda place: explainer.explain(text).words[place].score)
    record = Record(id="a", text=text, label="0", rationale=(text.words[top],))
    marked = measure(explainer.classifier, explainer.network, [record, *TEXTS[1:]])
    assert marked.people["explainer"] == Estimate(1.0, 1, 1.0, 1.0)
    assert marked.removal == check.removal


def test_a_text_counts_alike_alone(explainer, check):
    alone = [measure(explainer.classifier, explainer.network, [text]) for text in TEXTS if text]
    for name, together in check.removal.items():
        assert together.mean == pytest.approx(np.mean([one.removal[name].mean for one in alone]), abs=1e-5)


def test_nothing_of_the_caller_changes(explainer):
    torch.manual_seed(5)
    before, weights = torch.get_rng_state(), {k: v.clone() for k, v in explainer.network.state_dict().items()}
    first, again = (measure(explainer.classifier, explainer.network, TEXTS, seed=3) for _ in range(2))
    assert first == again
    other = measure(explainer.classifier, explainer.network, TEXTS, seed=4)
    assert other.agreement["itself"].mean != first.agreement["itself"].mean
    assert other.removal["random words"].mean != first.removal["random words"].mean
    assert other.removal["explainer"].mean == first.removal["explainer"].mean
    assert torch.equal(torch.get_rng_state(), before)
    assert not explainer.network.training
    assert not explainer.classifier.model.training
    assert all(torch.equal(value, weights[name]) for name, value in explainer.network.state_dict().items())


def test_a_network_with_gradients_and_a_decoder_without_a_mask_are_checked():
    classifier = tiny_classifier("gpt2")
    checked = Explainer(classifier, random_network(HEAD_SET), name="random").check(TEXTS[:3])
    assert checked.texts == 3
    assert set(checked.gains) | set(checked.skipped) == {"random words", *MEASURING.RULES}


def test_a_rule_that_does_not_suit_the_classifier_is_named_with_the_reason(explainer, monkeypatch):
    monkeypatch.setattr(MEASURING, "RULES", ("saliency", "value_zeroing"))
    explainer = tiny_explainer(tiny_classifier("bart"))
    checked = measure(explainer.classifier, explainer.network, TEXTS)
    assert "saliency" in checked.gains
    assert checked.skipped["value_zeroing"]


@pytest.mark.parametrize("texts", [[""], ["good " * 500], [" ", "good " * 500]])
def test_texts_from_which_no_word_can_be_taken_are_refused(explainer, texts):
    with pytest.raises(InputError, match=rf"None of {len(texts)} texts has a word and fits into one window"):
        measure(explainer.classifier, explainer.network, texts)


def test_what_is_no_list_of_texts_is_refused(explainer):
    with pytest.raises(InputError, match="Expected a list of texts, got str"):
        explainer.check("A good film")
    with pytest.raises(InputError, match="no ExpNet"):
        Explainer(explainer.classifier).check(TEXTS)


def test_a_regression_is_refused():
    explainer = tiny_explainer(tiny_classifier(num_labels=1, problem_type="regression"))
    with pytest.raises(InputError, match="regression"):
        explainer.check(TEXTS)


def figures(own, over_random, rules):
    """A check with these means: of the explainer, its gain over random words, and its gains over rules; ± .02."""

    def near(mean):
        return Estimate(mean, 100, mean - 0.02, mean + 0.02)

    gains = {"random words": over_random, **rules}
    return TrustCheck(
        explainer="e", classifier="c", classifier_hash="0", texts=100, left_out=0, seed=0, versions={}, normalised={},
        agreement={}, attention={},
        removal={"explainer": near(own), **{name: near(own - gain) for name, gain in gains.items()}},
        gains={name: near(gain) for name, gain in gains.items()},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("check", "level", "says"),
    [
        (figures(0.3, 0.2, {"saliency": 0.05, "rollout": 0.1}), "good", "+0.05 [+0.03, +0.07] against `saliency`"),
        (figures(0.3, 0.2, {"saliency": -0.01}), "good", "depends on the words this explainer names"),
        (figures(0.3, 0.2, {"saliency": -0.05}), "good", "-0.05"),  # surely behind, but 0.2 of 0.25
        (figures(0.3, 0.2, {"saliency": -0.1}), "weak", "`saliency` names words that the classifier depends on more"),
        (figures(0.1, 0.01, {"saliency": -0.1}), "unusable", "Use `--method saliency` instead"),
        (figures(0.1, -0.05, {"saliency": 0.0}), "unusable", "matter no more than random"),
        (figures(0.1, 0.01, {"saliency": -0.01}), "unclear", "Check more texts"),
        (figures(0.1, 0.01, {}), "unclear", "no fixed rule suits this"),
        (figures(0.1, 0.05, {}), "good", "no fixed rule suits this"),
    ],
)  # fmt: skip
def test_the_verdict_follows_from_the_figures(check, level, says):
    assert check.level == level
    assert says in check.verdict


def test_a_check_survives_json(check):
    data = json.loads(json.dumps(check.to_dict(), allow_nan=False))
    assert TrustCheck.from_dict(data) == check
    assert data["verdict"] == check.verdict


def test_a_check_of_an_older_release_is_read(check):
    data = check.to_dict()
    del data["over_random"]
    assert TrustCheck.from_dict(data) == replace(check, over_random={})


@pytest.mark.parametrize(
    "change",
    [{"over_random": 1}, {"over_random": {"saliency": {}}}],
)
def test_what_is_no_gain_over_random_words_is_refused(check, change):
    with pytest.raises(MismatchError, match="Expected a check"):
        TrustCheck.from_dict({**check.to_dict(), **change})


@pytest.mark.parametrize(
    "change",
    [
        {"removal": 3},
        {"removal": {}},
        {"removal": {"explainer": {"mean": 1}}},
        {"gains": {}},
        {"people": {"explainer": {"mean": "high", "n": 1, "low": 0, "high": 1}}},
        {"unknown": 1},
        {"texts": None},
        {"classifier": ["c"]},
    ],
)
def test_what_is_no_check_is_refused(check, change):
    with pytest.raises(MismatchError, match="Expected a check"):
        TrustCheck.from_dict({**check.to_dict(), **change})


def test_a_check_is_saved_with_the_network_and_shown_for_its_classifier_only(tmp_path):
    explainer = tiny_explainer(tiny_classifier())
    learned = explainer.trust
    checked = explainer.check(TEXTS)
    assert explainer.trust == f"Checked on this classifier with 4 texts: {checked.verdict} {learned}"
    explainer.network.save_pretrained(tmp_path / "explainer")
    network = ExpNet.from_pretrained(tmp_path / "explainer")
    assert check_of(network) == checked
    save(tmp_path / "same", build("bert"))
    assert expnet.load(tmp_path / "same", explainer=tmp_path / "explainer").trust.startswith(
        "Checked on this classifier"
    )
    other = Explainer(tiny_classifier(seed=1), network)
    assert other.trust.startswith("It was checked on another classifier (tiny), not on this one")


def test_a_universal_network_says_what_it_learned_after_a_check(check):
    explainer = Explainer(tiny_classifier(), expnet.network.universal.universal("attention"))
    told = explainer.trust
    with_check(explainer.network, check)
    assert (
        Explainer(explainer.classifier, explainer.network).trust
        == f"Checked on this classifier with 4 texts: {check.verdict} {told}"
    )
