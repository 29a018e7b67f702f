"""Classifiers without a padding token: one text, and many of any lengths, score as each does alone."""

import pytest
import torch
from torch.testing import assert_close

from expnet import Text
from expnet.attention.anchor import anchor_weights
from expnet.errors import ExpnetError, InputError, OptionError
from expnet.explainer import Explainer
from expnet.export import export
from expnet.methods.registry import TABLE
from expnet.model.capacity import batches
from expnet.model.classifier import Classifier
from expnet.network.universal import named
from tests.models import DECODERS, PAD, build, tokenizer

TEXTS = ["a good film", "bad", "the first one is long, but another one is short and good!", "good text"]
FEW = {"samples": 12, "steps": 4, "documents": TEXTS}
CLOSE = {"atol": 1e-5, "rtol": 1e-4}
decoders = pytest.mark.parametrize("architecture", DECODERS)


def explainer_of(architecture, network="universal/attention", *, declared=None, **settings):
    classifier = Classifier(build(architecture, pad_token_id=declared), tokenizer(**{"pad_token": None, **settings}))
    return Explainer(classifier, named(network))


@decoders
@pytest.mark.parametrize("declared", [None, -1])
def test_logits_are_the_models_own_of_each_text_alone(architecture, declared):
    classifier = explainer_of(architecture, declared=declared).classifier
    encoding = classifier.encode(TEXTS)
    probabilities = classifier.predict(encoding).probabilities
    model = build(architecture, pad_token_id=None)
    for row, text in zip(probabilities, TEXTS, strict=True):
        alone = model(**classifier.encode([text]).inputs()).logits
        assert_close(row, alone.softmax(-1)[0], **CLOSE)
    assert classifier.model.config.pad_token_id == declared
    assert {len({*part.mask.sum(1).tolist()}) for part in batches(encoding)} == {1}


@pytest.mark.parametrize("method", TABLE, ids=lambda method: method.name)
@decoders
def test_every_method_scores_many_texts_as_each_alone_or_is_refused(architecture, method):
    network = "universal/gradient" if method.uses_target else "universal/attention"
    explainer = explainer_of(architecture, network)
    heads = explainer.classifier.support.layers * explainer.classifier.support.heads
    few = {**FEW, "weights": [0.5 - head / heads for head in range(heads)]}
    options = {name: value for name, value in few.items() if name in method.options}

    def scores(texts):
        explanations = explainer.explain(texts, method=method.name, options=options)
        return [torch.tensor([word.score for word in explanation.words]) for explanation in explanations]

    try:
        together = scores(TEXTS)
    except ExpnetError as error:
        with pytest.raises(type(error)):
            scores(TEXTS[:1])
        return
    for ours, text in zip(together, TEXTS, strict=True):
        assert_close(ours, scores([text])[0], **CLOSE)


@decoders
@pytest.mark.parametrize("replacement", ["mask", "pad", "zero", "delete"])
def test_replacements_that_need_no_padding_token_work_and_the_others_say_what_does(architecture, replacement):
    explainer = explainer_of(architecture, mask_token=None)
    if replacement in ("zero", "delete"):
        explanations = explainer.explain(TEXTS, method="leave_one_out", options={"replacement": replacement})
        assert all(any(word.score for word in explanation.words) for explanation in explanations)
    else:
        with pytest.raises(OptionError, match=r"no (mask|padding) token.*use (replacement=)?'zero'"):
            explainer.explain(TEXTS, method="leave_one_out", options={"replacement": replacement})


@decoders
def test_a_text_that_ends_with_the_padding_token_is_pooled_where_transformers_pools_it(architecture):
    model, words = build(architecture), tokenizer()
    explainer = Explainer(Classifier(model, words), named("universal/attention"))
    encoding = explainer.classifier.encode(["a good film", "bad"])
    ids = encoding.ids.clone()
    ids[0, -1] = PAD  # as where a tokenizer ends each text with the token that also pads
    assert explainer.classifier.support.anchor == "last"
    weights = anchor_weights(ids, encoding.mask, "last", PAD)
    lengths = encoding.mask.sum(1).tolist()
    assert weights.sum(1).tolist() == [1, 1]
    assert weights.argmax(1).tolist() == [lengths[0] - 2, lengths[1] - 1]


def test_a_model_whose_every_text_ends_with_the_padding_token_is_explained():
    explainer = Explainer(Classifier(build("gpt2", pad_token_id=3), tokenizer()), named("universal/attention"))  # [SEP]
    assert explainer.classifier.support.anchor == "last"
    single, several = explainer.explain("a good film"), explainer.explain(TEXTS)[0]
    assert [w.score for w in single.words] == pytest.approx([w.score for w in several.words], abs=1e-5)


def test_a_graph_is_not_written_as_it_could_not_read_texts_together(tmp_path):
    pytest.importorskip("onnxscript", reason="onnxscript (extra onnx) is not installed")
    with pytest.raises(InputError, match="names no padding token"):
        export(explainer_of("gpt2"), tmp_path)


def test_a_model_that_says_minus_one_for_any_length_reads_texts():
    classifier = Classifier(build("xlnet"), tokenizer())
    assert classifier.model.config.max_position_embeddings == -1
    assert classifier.max_length == 1_000_000
    assert len(classifier.predict(classifier.encode(TEXTS)).probabilities) == len(TEXTS)


def test_pairs_and_windows_are_read_too():
    explainer = explainer_of("llama")
    long = " ".join(["good film"] * 300)
    assert explainer.explain([long, Text.of("good", "bad film")])[0].windows > 1
