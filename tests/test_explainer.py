"""From a text to its explanation: the facade, over every kind of text."""

import threading

import jaxtyping
import pytest
import torch

import expnet
from expnet.attention.capture import capture
from expnet.errors import InputError, MismatchError, NonFiniteError, TextTooLongError
from expnet.explainer import Explainer
from expnet.features import attention_features
from expnet.texts import Text
from tests.classifiers import tiny_classifier, tiny_explainer

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
    with pytest.raises(InputError, match="did you mean 'LABEL_2'"):
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


@pytest.fixture
def unchecked():
    """What a user gets, for whom nobody checks types."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (3, "a list of texts, got int"),
        (None, "a list of texts, got NoneType"),
        (b"bytes", "Expected a string, got int"),
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


def test_a_model_without_an_explainer_says_how_to_get_one():
    with pytest.raises(InputError, match="expnet fit"):
        expnet.load("some/model")
    with pytest.raises(InputError, match="did you mean 'demo/hate-speech'"):
        expnet.load("demo/hate-speach")
