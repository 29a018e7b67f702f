"""Controls by hand, and inverse document frequency against scikit-learn."""

import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from torch.testing import assert_close

from expnet.errors import OptionError
from expnet.methods.families.controls import inverse_document_frequency, length, position, random, uniform
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier


@pytest.fixture
def case():
    classifier = tiny_classifier()
    encoding = classifier.encode([Text.of("good film"), Text.of("one ax.")])
    return classifier, encoding, torch.tensor([0, 1])


def test_uniform_marks_every_token_that_stands_for_text(case):
    assert uniform(*case).tolist() == [[0, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 0]]


def test_length_counts_the_characters_of_the_token_not_of_the_word(case):
    assert length(*case).tolist() == [[0, 4, 4, 0, 0, 0], [0, 3, 1, 1, 1, 0]]


@pytest.mark.parametrize(
    ("order", "expected"),
    [("first", [[0, 1, 0.5, 0, 0, 0], [0, 1, 0.75, 0.5, 0.25, 0]]),
     ("last", [[0, 0.5, 1, 0, 0, 0], [0, 0.25, 0.5, 0.75, 1, 0]])],
)  # fmt: skip
def test_position_goes_down_from_one_end_in_equal_steps(case, order, expected):
    assert position(*case, order=order).tolist() == expected


def test_random_scores_belong_to_the_text_and_the_seed(case):
    classifier = case[0]
    encoding = classifier.encode([Text.of(text) for text in ("good film", "one ax.", "good film")])
    scores = random(classifier, encoding, torch.tensor([0, 1, 2]), generator=torch.Generator().manual_seed(3))
    assert torch.equal(scores[0], scores[2])
    assert 0 < scores[encoding.real].min() < scores[encoding.real].max() < 1
    other = random(classifier, encoding, torch.tensor([0, 1, 2]), generator=torch.Generator().manual_seed(4))
    assert not torch.equal(scores, other)


def test_inverse_document_frequency_is_scikit_learn_s():
    documents = ["good film", "bad film", "the first film is good"]
    classifier = tiny_classifier()
    encoding = classifier.encode([Text.of("the good bad film")])
    scores = inverse_document_frequency(classifier, encoding, torch.tensor([0]), documents=documents)
    reference = TfidfVectorizer(token_pattern=r"\w+").fit(documents)
    expected = [reference.idf_[reference.vocabulary_[word]] for word in ("the", "good", "bad", "film")]
    assert_close(scores[0, 1:5], torch.tensor(expected, dtype=torch.float32))


def test_a_token_in_no_document_is_rarest():
    classifier = tiny_classifier()
    encoding = classifier.encode([Text.of("another film")])
    scores = inverse_document_frequency(classifier, encoding, torch.tensor([0]), documents=["film"])
    assert scores[0, 1] == pytest.approx(torch.tensor(2.0).log().item() + 1)
    assert scores[0, 2] == 1


def test_counting_in_no_document_is_refused(case):
    with pytest.raises(OptionError, match="documents is empty"):
        inverse_document_frequency(*case, documents=[])
