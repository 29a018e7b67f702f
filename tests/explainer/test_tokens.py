"""Scores of tokens instead of words: a text whose words are what the model reads."""

from dataclasses import dataclass

import pytest
import torch

import expnet
from expnet.text.words import Span
from tests.classifiers import tiny_classifier, tiny_explainer

TEXT = "a good zebra, bad"  # the tiny tokenizer spells what it does not know


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


def test_words_are_the_tokens_and_have_their_scores(explainer):
    text = expnet.as_tokens(explainer, TEXT)
    encoding = explainer.classifier.encode([TEXT])
    offsets = [tuple(one) for one in encoding.offsets[encoding.real].tolist()]
    assert [span[:2] for span in text.words] == offsets
    assert len(offsets) > len(expnet.Text.of(TEXT).words)
    made = explainer.explain(text, method="saliency")
    whole = explainer.explain(TEXT, method="saliency")
    # A word has the largest score of its tokens.
    for word in whole.words:
        inside = [one.score for one in made.words if word.start <= one.start and one.end <= word.end]
        assert max(inside) == pytest.approx(word.score, abs=1e-6)


def test_a_pair_has_the_tokens_of_both(explainer):
    text = expnet.as_tokens(explainer, expnet.Text.of("good", "bad good"))
    assert text.words == (Span(0, 4, 0), Span(0, 3, 1), Span(4, 8, 1))


@dataclass
class Read:
    """What a tokenizer of bytes says of "😀 ok": two tokens for one character, and a space before a word."""

    real = torch.ones(1, 3, dtype=torch.bool)
    segment = torch.zeros(1, 3, dtype=torch.long)
    offsets = torch.tensor([[[0, 1], [0, 1], [1, 4]]])


def test_tokens_of_one_character_are_one_and_space_is_none(explainer, monkeypatch):
    monkeypatch.setattr(type(explainer.classifier), "encode", lambda self, texts: Read())
    assert expnet.as_tokens(explainer, "😀 ok").words == (Span(0, 1), Span(2, 4))
