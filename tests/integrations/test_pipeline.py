"""`pipeline("token-attribution")` says what `Explainer.explain` says, one by one, in batches and streams."""

import logging

import pytest
from transformers import pipeline
from transformers.pipelines import PIPELINE_REGISTRY

import expnet
from expnet import Explainer, Text
from expnet.errors import InputError, MismatchError
from expnet.integrations.transformers import TASK, TokenAttributionPipeline, register
from expnet.model.classifier import Classifier
from expnet.network.universal import universal
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.models import DECODERS, build, save, tokenizer

TEXTS = ["a good film", "bad!", "", "the first short text, good or bad?"]
# Batches of other widths add up in another order.
TOLERANCE = 1e-5


@pytest.fixture(scope="module", autouse=True)
def registered():
    register()
    yield
    del PIPELINE_REGISTRY.supported_tasks[TASK]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("models")
    tiny_explainer(tiny_classifier()).network.save_pretrained(home / "explainer")
    return str(save(home / "classifier", build("bert"), typed=True)), str(home / "explainer")


@pytest.fixture(scope="module")
def attribute(folders):
    return pipeline(TASK, model=folders[0], explainer=folders[1], device="cpu")


@pytest.fixture(scope="module")
def explainer(folders):
    return expnet.load(folders[0], explainer=folders[1], device="cpu")


def assert_says(words, explanation):
    assert [(word["word"], word["start"], word["end"], word["segment"]) for word in words] == [
        (word.text, word.start, word.end, word.segment) for word in explanation.words
    ]
    assert [word["score"] for word in words] == pytest.approx([w.score for w in explanation.words], abs=TOLERANCE)
    assert {word["label"] for word in words} <= {explanation.label}


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("stream", [False, True])
def test_words_are_those_of_explain_in_any_batch(attribute, explainer, batch_size, stream):
    given = (text for text in TEXTS) if stream else TEXTS
    answers = list(attribute(given, batch_size=batch_size))
    for words, text in zip(answers, TEXTS, strict=True):
        assert_says(words, explainer.explain(text))


def test_one_text_gives_one_list_and_a_pair_says_which_part(attribute, explainer):
    assert_says(attribute("a good film"), explainer.explain("a good film"))
    pair = Text.of("a good film", "bad text")
    for given in (pair, {"text": pair.text, "text_pair": pair.pair}):
        assert_says(attribute(given), explainer.explain(pair))
    assert [word["segment"] for word in attribute(pair)] == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("batch_size", [1, 2])
def test_other_methods_and_their_settings_go_through_the_call_or_the_pipeline(
    folders, attribute, explainer, batch_size
):
    asked = {"method": "integrated_gradients", "options": {"steps": 4}, "target": "LABEL_2"}
    expected = explainer.explain(TEXTS, **asked)
    ready = pipeline(TASK, model=folders[0], device="cpu", **asked)
    for answers in (attribute(TEXTS, batch_size=batch_size, **asked), ready(TEXTS, batch_size=batch_size)):
        for words, explanation in zip(answers, expected, strict=True):
            assert_says(words, explanation)


def test_long_texts_are_read_in_windows(attribute, explainer):
    text = "good bad " * 200
    assert explainer.explain(text).windows > 1
    assert_says(attribute(text), explainer.explain(text))
    assert attribute(text, truncate=True)[-1]["score"] == 0


def test_without_an_explainer_the_universal_one_explains(folders):
    words = pipeline(TASK, model=folders[0], device="cpu")("a good film")
    assert_says(words, expnet.load(folders[0], device="cpu").explain("a good film"))


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("architecture", DECODERS)
def test_a_model_without_a_padding_token_explains_batches_as_each_text_alone(architecture, batch_size):
    model, plain = build(architecture, pad_token_id=None), tokenizer(pad_token=None)
    attribute = pipeline(TASK, model=model, tokenizer=plain, device="cpu")
    alone = Explainer(Classifier(model, plain), universal())
    texts = ["a good film", "bad", "one text , another one", "short text !"]
    for given in (texts, (text for text in texts)):
        for words, text in zip(attribute(given, batch_size=batch_size), texts, strict=True):
            assert_says(words, alone.explain(text))


def test_live_objects_serve_as_well(explainer):
    classifier = explainer.classifier
    attribute = pipeline(
        TASK, model=classifier.model, tokenizer=classifier.tokenizer, explainer=explainer.network, device="cpu"
    )
    assert_says(attribute("bad"), explainer.explain("bad"))


def test_a_saved_pipeline_comes_back_and_brings_no_code(attribute, tmp_path):
    attribute.save_pretrained(tmp_path)
    assert not list(tmp_path.rglob("*.py"))
    again = pipeline(TASK, model=str(tmp_path), explainer=tmp_path / "explainer", device="cpu")
    assert again(TEXTS) == attribute(TEXTS)


def test_registering_twice_is_silent(caplog):
    with caplog.at_level(logging.WARNING):
        register()
    assert caplog.text == ""
    assert PIPELINE_REGISTRY.supported_tasks[TASK]["impl"] is TokenAttributionPipeline


def test_what_is_no_text_or_does_not_fit_is_refused(attribute, folders, tmp_path):
    for wrong in ({"txt": "a"}, {"text": "a", "pair": "b"}):
        with pytest.raises(InputError, match="Expected a text, or 'text' with 'text_pair', got"):
            attribute(wrong)
    with pytest.raises(InputError, match="pass tokenizer="):
        TokenAttributionPipeline(model=attribute.model, device="cpu")
    other = save(tmp_path / "other", build("bert", num_hidden_layers=2), typed=True)
    with pytest.raises(MismatchError, match="layers 2 instead of 3"):
        pipeline(TASK, model=str(other), explainer=folders[1], device="cpu")
