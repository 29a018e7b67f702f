"""Models that need several tokens, or wrap a text's last one to its front, read short texts or say why not."""

import pytest
import torch
from tokenizers import processors
from torch.testing import assert_close

from expnet import Classifier
from expnet.errors import InputError, UnsupportedModelError
from expnet.methods.registry import find_method
from tests.models import VOCABULARY, build, tokenizer

ONE_PASS = ("saliency", "leave_one_out")


def multilingual():
    """A tokenizer that ends a text as mBART's does: with [SEP] and the token of a language."""
    made = tokenizer()
    language = VOCABULARY.index("first")
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A [SEP] first",
        pair="$A $B [SEP] first",
        special_tokens=[("[SEP]", VOCABULARY.index("[SEP]")), ("first", language)],
    )
    return made


@pytest.mark.parametrize("make", [tokenizer, multilingual])
def test_mbart_reads_texts_of_three_tokens_alone_and_in_a_batch(make):
    classifier = Classifier(build("mbart"), make())
    texts = ["a", "good", "a bad film", ""]
    together = classifier.predict(classifier.encode(texts)).outputs
    for name in ONE_PASS:
        scores = find_method(name).attribute(classifier, classifier.encode(texts), torch.tensor([1, 0, 2, 1]))
        for row, text in enumerate(texts):
            encoding = classifier.encode([text])
            inputs = encoding.inputs()
            with torch.no_grad():
                plain = classifier.model(**inputs).logits.softmax(-1)
            assert_close(together[row], plain[0], atol=1e-5, rtol=1e-4)
            alone = find_method(name).attribute(classifier, encoding, torch.tensor([[1, 0, 2, 1][row]]))[0]
            assert_close(scores[row, : len(alone)], alone, atol=1e-5, rtol=1e-3)
            assert bool(alone.any()) == bool(text)


def test_attention_of_mbart_is_refused_where_a_language_follows_the_end():
    assert Classifier(build("mbart"), tokenizer()).support.anchor == "last"
    with pytest.raises(UnsupportedModelError, match="MBartForSequenceClassification pools the tokens"):
        Classifier(build("mbart"), multilingual()).support  # noqa: B018


# 2 special tokens and as many letters as there are spaces, plus 1.
@pytest.mark.parametrize(("text", "tokens"), [("", 2), ("a", 3), ("a b", 4)])
def test_funnel_refuses_texts_that_it_cannot_halve(text, tokens):
    classifier = Classifier(build("funnel"), tokenizer())
    with pytest.raises(InputError, match=f"reads 5 tokens or more, special tokens included; got {tokens}"):
        classifier.predict(classifier.encode([text]))
    if not text:
        return  # nothing to take away
    with pytest.raises(InputError, match=f"got {tokens}"):
        find_method("leave_one_out").attribute(classifier, classifier.encode([text]), torch.tensor([1]))


def test_funnel_reads_texts_of_five_tokens_as_without_padding():
    classifier = Classifier(build("funnel"), tokenizer())
    texts = ["a b c", "a good film, long"]
    together = classifier.predict(classifier.encode(texts)).outputs
    for row, text in enumerate(texts):
        with torch.no_grad():
            plain = classifier.model(**classifier.encode([text]).inputs()).logits.softmax(-1)
        assert_close(together[row], plain[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("changes", [{"separate_cls": False}, {"block_sizes": [1, 1]}])
def test_the_least_tokens_of_a_funnel_are_those_that_it_can_run(changes):
    classifier = Classifier(build("funnel", **changes), tokenizer())
    for letters in range(6):
        encoding = classifier.encode([" ".join("abcdef"[:letters])])
        try:
            with torch.no_grad():
                classifier.model(**encoding.inputs())
        except (RuntimeError, IndexError):
            with pytest.raises(InputError, match="tokens or more"):
                classifier.predict(encoding)
        else:
            classifier.predict(encoding)
