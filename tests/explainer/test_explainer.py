"""From a text to its explanation: the facade, over every kind of text."""

import threading
from dataclasses import replace

import pytest
import torch

import expnet
from expnet.attention.capture import capture
from expnet.errors import InputError, MethodError, MismatchError, NonFiniteError, OptionError, TextTooLongError
from expnet.explainer import Explainer
from expnet.methods.registry import find_method
from expnet.network.features import attention_features
from expnet.text.encoding import pool_words
from expnet.text.texts import Text
from tests.classifiers import HEAD_SET, random_network, tiny_classifier, tiny_explainer

LONG = " ".join(["good film , bad text ."] * 60)


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return tiny_explainer(tiny_classifier())


def test_scores_are_those_of_the_network_pooled_to_words_by_hand(explainer):
    text = "good zzz film"  # "zzz" is spelled: z, ##z, ##z
    explanation = explainer.explain(text)
    classifier, network = explainer.classifier, explainer.network
    encoding = classifier.encode([Text.of(text)])
    traced = capture(classifier.model, encoding.inputs(), anchor="first", backend="eager")
    features = attention_features(traced, encoding.mask, encoding.real, network.config.features)
    tokens = network.score(features)[0].tolist()
    expected = [tokens[1], max(tokens[2:5]), tokens[5]]
    # fused against eager attention, through a logarithm and a normalisation
    assert [word.score for word in explanation.words] == pytest.approx(expected, abs=1e-4)
    probabilities = traced.logits.softmax(-1)[0]
    assert explanation.probability == pytest.approx(float(probabilities.max()), abs=1e-5)
    assert explanation.label == f"LABEL_{int(probabilities.argmax())}"


def test_words_carry_their_characters(explainer):
    text = "  A good,\tgood film\u2026 "
    explanation = explainer.explain(text)
    assert [word.text for word in explanation.words] == ["A", "good", ",", "good", "film", "\u2026"]
    assert all(text[word.start : word.end] == word.text for word in explanation.words)


def test_a_text_scores_the_same_alone_in_a_batch_and_in_any_order(explainer):
    texts = ["good film", "", LONG, "a bad, bad text!", "one " * 40]
    alone = [explainer.explain(text) for text in texts]
    together = explainer.explain(texts)
    reverse = explainer.explain(texts[::-1])[::-1]
    for one, batched, turned in zip(alone, together, reverse, strict=True):
        for other in (batched, turned):
            assert other.text == one.text
            assert other.label == one.label
            # float32 sums in another order, through a logarithm and a normalisation
            assert [w.score for w in other.words] == pytest.approx([w.score for w in one.words], abs=1e-4)
            assert other.probability == pytest.approx(one.probability, abs=1e-5)


def test_a_target_changes_the_class_reported(explainer):
    explanation = explainer.explain("good film", target="LABEL_2")
    assert explanation.label == "LABEL_2"
    assert explanation.probability == explanation.probabilities["LABEL_2"]
    assert explainer.explain("good film", target=2) == explanation
    with pytest.raises(InputError, match="Did you mean 'LABEL_2'"):
        explainer.explain("good film", target="LABEL2")


def test_a_long_text_is_read_in_windows_and_every_word_is_scored(explainer):
    explanation = explainer.explain(LONG)
    assert explanation.windows == 2
    assert not explanation.truncated
    assert len(explanation.words) == 360
    assert all(0 < word.score < 1 for word in explanation.words)


def test_truncation_happens_only_on_request_and_is_reported(explainer):
    explanation = explainer.explain(LONG, truncate=True)
    seen = explainer.classifier.max_length - 2
    assert explanation.truncated
    assert [word.seen for word in explanation.words] == [True] * seen + [False] * (360 - seen)
    assert all(word.score == 0 for word in explanation.words if not word.seen)


def test_a_pair_is_explained_on_both_texts(explainer):
    explanation = explainer.explain(Text.of("good film", "bad text"))
    assert [(word.text, word.segment) for word in explanation.words] == [
        ("good", 0),
        ("film", 0),
        ("bad", 1),
        ("text", 1),
    ]
    with pytest.raises(TextTooLongError, match="360 and 360 tokens"):
        explainer.explain(Text.of(LONG, LONG))


def test_pre_split_words_stay_as_given(explainer):
    explanation = explainer.explain(Text.from_words(["good film", "bad-text", "!?"]))
    assert [word.text for word in explanation.words] == ["good film", "bad-text", "!?"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t\n",
        "[CLS] [SEP]",
        "\u200b\u200d\ufeff",
        "\x00\x1b[31m",
        "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd",
        "\u0645\u0631\u062d\u0628\u0627 good \u05e9\u05dc\u05d5\u05dd",
        "e\u0301a\u0308 \u0928\u092e\u0938\u094d\u0924\u0947",
        "\ufffd\ufffe",
        "<script>alert(1)</script>",
    ],
)
def test_odd_texts_give_a_legal_explanation_that_survives_json(explainer, text):
    explanation = explainer.explain(text)
    assert explanation.text == text
    assert all(0 <= word.score <= 1 for word in explanation.words)
    assert expnet.Explanation.from_json(explanation.to_json()) == explanation
    assert str(explanation)
    assert explanation.to_html()


def test_a_blank_text_has_no_words_but_a_prediction(explainer):
    explanation = explainer.explain("  ")
    assert explanation.words == ()
    assert sum(explanation.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_a_megabyte_of_text_is_explained(explainer):
    word = "film " * 8
    text = word * (1_000_000 // len(word))
    explanation = explainer.explain(text, truncate=True)
    assert explanation.truncated
    assert len(explanation.words) == 200_000


def test_no_texts_give_no_explanations(explainer):
    assert explainer.explain([]) == []


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (3, "a list of texts, got int"),
        (None, "a list of texts, got NoneType"),
        (b"bytes", "a list of texts, got bytes: decode it first"),
        (["a", 3], "Expected a string, got int"),
        (["a", None], "Expected a string, got NoneType"),
    ],
)
def test_what_is_no_text_is_refused(explainer, text, message):
    with pytest.raises(InputError, match=message):
        explainer.explain(text)


def test_nan_weights_are_an_error_not_a_score():
    classifier = tiny_classifier()
    explainer = tiny_explainer(classifier)
    with torch.no_grad():
        classifier.model.classifier.weight[0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="NaN or infinity for 1 of 1 texts"):
        explainer.explain("good film")
    with pytest.raises(NonFiniteError, match="damaged"):
        tiny_explainer(tiny_classifier_with_nan())


def tiny_classifier_with_nan():
    classifier = tiny_classifier()
    with torch.no_grad():
        classifier.model.classifier.weight[0, 0] = torch.nan
    return classifier


def test_an_explainer_for_another_architecture_is_refused(explainer):
    with pytest.raises(MismatchError, match="architecture 'roberta' instead of 'bert'"):
        Explainer(tiny_classifier("roberta"), explainer.network)


def test_threads_get_the_same_explanations(explainer):
    texts = ["good film", "bad text", "a short one", LONG]
    expected = {text: explainer.explain(text) for text in texts}
    wrong = []

    def work(text):
        for _ in range(5):
            got = explainer.explain(text)
            if got != expected[text]:
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(text,)) for text in texts * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_model_without_an_explainer_says_how_to_get_one_and_what_else_explains():
    explainer = Explainer(tiny_classifier())
    with pytest.raises(InputError, match=r"no ExpNet: pass explainer=.*expnet fit.*method='generic_relevance'"):
        explainer.explain("good film")
    assert explainer.explain("good film", method="generic_relevance").method == "generic_relevance"


def test_a_demo_with_a_wrong_name_gets_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'demo/hate-speech'"):
        expnet.load("demo/hate-speach")


@pytest.fixture(scope="module")
def bare() -> Explainer:
    return Explainer(tiny_classifier())


class TestOtherMethods:
    TEXTS = ("A good film.", "bad", "", "The first one is long, but another is short and good!")

    def test_words_of_signed_scores_add_their_tokens_up_others_take_the_largest(self, bare):
        classifier, text = bare.classifier, "ax by"
        encoding = classifier.encode([expnet.Text.of(text)])
        target = torch.tensor([1])
        for name, pooled in (("input_x_gradient", torch.sum), ("saliency", torch.max)):
            scores = expnet.find_method(name).attribute(classifier, encoding, target)[0]
            words = bare.explain(text, method=name, target=1).words
            expected = [float(pooled(scores[1:3])), float(pooled(scores[3:5]))]
            assert [word.score for word in words] == pytest.approx(expected, rel=1e-4)

    def test_the_predicted_class_is_explained_unless_another_is_asked_for(self, bare):
        predicted = bare.explain(self.TEXTS[0], method="input_x_gradient")
        same = bare.explain(self.TEXTS[0], method="input_x_gradient", target=predicted.label)
        other = next(label for label in bare.classifier.labels if label != predicted.label)
        different = bare.explain(self.TEXTS[0], method="input_x_gradient", target=other)
        assert same.words == predicted.words
        assert different.words != predicted.words
        assert different.label == other

    def test_each_text_of_a_list_is_explained_for_its_own_prediction(self, bare):
        together = bare.explain(list(self.TEXTS), method="integrated_gradients")
        for text, explanation in zip(self.TEXTS, together, strict=True):
            alone = bare.explain(text, method="integrated_gradients")
            assert (alone.text, alone.label) == (explanation.text, explanation.label)
            assert [word.score for word in alone.words] == pytest.approx(
                [word.score for word in explanation.words], abs=1e-4
            )

    def test_a_long_text_is_explained_in_windows(self):
        explainer = Explainer(tiny_classifier(max_length=16))
        explanation = explainer.explain("good film " * 20, method="generic_relevance")
        assert explanation.windows > 1
        assert all(word.score > 0 for word in explanation.words)

    def test_what_the_method_is_stands_in_the_result(self, bare):
        explanation = bare.explain("good", method="smooth_grad", options={"samples": 3}, seed=7)
        assert (explanation.method, explanation.signed, explanation.calibrated) == ("smooth_grad", False, False)
        assert explanation.threshold is None
        assert explanation.provenance["samples"] == "3"
        assert explanation.provenance["noise"] == "0.15"
        assert explanation.provenance["seed"] == "7"
        assert "seed" not in bare.explain("good", method="saliency").provenance

    def test_the_seed_decides_and_not_the_other_texts(self, bare):
        options = {"samples": 4, "noise": 0.5}
        alone = bare.explain("good film", method="smooth_grad", options=options, seed=1)
        among = bare.explain(["bad", "good film", "one"], method="smooth_grad", options=options, seed=1)[1]
        other = bare.explain("good film", method="smooth_grad", options=options, seed=2)
        scores = [[word.score for word in explanation.words] for explanation in (alone, among, other)]
        assert scores[0] == pytest.approx(scores[1], rel=1e-3)
        assert scores[0] != pytest.approx(scores[2], rel=1e-2)

    def test_the_learned_method_scores_what_the_facade_scores(self):
        explainer = tiny_explainer(tiny_classifier())
        encoding = explainer.classifier.encode([expnet.Text.of("good film")])
        method = expnet.find_method("expnet")
        scores = method.attribute(explainer.classifier, encoding, torch.tensor([0]), network=explainer.network)
        words = explainer.explain("good film").words
        assert [word.score for word in words] == pytest.approx(scores[0, 1:3].tolist(), abs=1e-5)

    def test_wrong_names_and_options_are_refused_before_anything_runs(self, bare):
        with pytest.raises(MethodError, match="Did you mean 'saliency'"):
            bare.explain([], method="salience")
        with pytest.raises(OptionError, match="Did you mean 'norm'"):
            bare.explain([], method="saliency", options={"norms": "l1"})

    def test_scores_that_are_not_finite_are_an_error(self, bare, monkeypatch):
        broken = replace(expnet.find_method("uniform"), function=lambda *_: torch.full((1, 3), torch.nan))
        monkeypatch.setattr("expnet.explainer.explaining.find_method", lambda _: broken)
        with pytest.raises(NonFiniteError, match="'uniform' returned NaN"):
            bare.explain("good", method="uniform")


class TestGradientExplainer:
    @pytest.fixture(scope="class")
    @staticmethod
    def gradient():
        return Explainer(tiny_classifier(), random_network(HEAD_SET), name="random")

    def test_it_explains_the_predicted_class_by_the_method_that_its_network_needs(self, gradient):
        explanation = gradient.explain("one bad film!")
        assert explanation.method == "expnet_gradient"
        assert explanation.calibrated
        assert explanation.threshold == HEAD_SET.threshold
        assert explanation.provenance["explainer"] == "random"
        asked = gradient.explain("one bad film!", target=explanation.label)
        assert asked.words == explanation.words

    def test_another_class_has_other_scores(self, gradient):
        one, two = (gradient.explain("one bad film!", target=index) for index in (0, 1))
        assert [word.score for word in one.words] != [word.score for word in two.words]

    def test_the_scores_are_those_of_the_method_for_the_texts_windows(self, gradient):
        classifier = gradient.classifier
        encoding = classifier.encode([Text.of("good one")])
        scores = find_method("expnet_gradient").attribute(
            classifier, encoding, torch.tensor([2]), network=gradient.network
        )
        words = pool_words(scores, encoding, pool="max")[0].tolist()
        # float32, the same passes
        assert [word.score for word in gradient.explain("good one", target=2).words] == pytest.approx(words, abs=1e-5)

    def test_a_network_and_a_method_that_do_not_go_together_are_an_error(self, gradient):
        with pytest.raises(OptionError, match="on attention alone: choose the method 'expnet'"):
            tiny_explainer(tiny_classifier()).explain("bad", method="expnet_gradient")
        encoding = gradient.classifier.encode([Text.of("bad")])
        with pytest.raises(OptionError, match="with gradients: choose the method 'expnet_gradient'"):
            find_method("expnet").attribute(gradient.classifier, encoding, torch.tensor([0]), network=gradient.network)
