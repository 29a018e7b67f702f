"""Many texts through one classifier: each once, those of like length together, and back in their places."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expnet.errors import InputError
from expnet.model.batches import encoded, in_batches, predict_texts
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier

CLASSIFIER = tiny_classifier()
SIZES = st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=30)


def texts_of(sizes: list[tuple[int, bool]]) -> list[Text]:
    """Texts of so many words, some with a pair."""
    return [Text.of("good " * size, "bad film" if paired else None) for size, paired in sizes]


@given(SIZES, st.integers(1, 100))
def test_every_text_is_in_one_batch_and_only_a_text_alone_exceeds_the_budget(sizes, budget):
    texts = texts_of(sizes)
    CLASSIFIER.budget = budget
    batches = list(in_batches(CLASSIFIER, texts))
    assert sorted(place for batch in batches for place in batch.places) == list(range(len(texts)))
    for batch in batches:
        assert batch.texts == [texts[place] for place in batch.places]
        lengths = [reading.length for reading in batch.readings]
        assert lengths == sorted(lengths)
        assert len(batch) == 1 or max(lengths) * len(lengths) <= budget


@pytest.mark.parametrize("tokens", [0, -1])
def test_a_budget_of_no_tokens_is_refused_and_the_one_before_stays(tokens):
    classifier = tiny_classifier()
    with pytest.raises(InputError, match=f"budget is {tokens} tokens, expected 1 or more"):
        classifier.budget = tokens
    assert classifier.budget == 1024


@given(SIZES, st.integers(1, 7))
def test_with_a_size_batches_are_as_training_has_always_made_them(sizes, size):
    """A second way, naively: sorted by characters, texts of one length in their order, and cut."""
    texts = texts_of(sizes)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i].text) + len(texts[i].pair or ""))
    batches = list(encoded(CLASSIFIER, texts, size=size))
    assert [places for places, _ in batches] == [order[at : at + size] for at in range(0, len(order), size)]
    for places, encoding in batches:
        alike = CLASSIFIER.encode([texts[place] for place in places])
        assert torch.equal(encoding.ids, alike.ids)
        assert torch.equal(encoding.mask, alike.mask)
        assert torch.equal(encoding.covers, alike.covers)


@pytest.mark.parametrize("budget", [4, 24, 1024])
def test_predictions_are_in_the_order_of_the_texts_whatever_is_read_together(budget):
    texts = [Text.of(text) for text in ("one two good good good", "bad", "", "film good bad", "two " * 40, "good")]
    CLASSIFIER.budget = budget
    predicted = predict_texts(CLASSIFIER, texts)
    alone = torch.cat([CLASSIFIER.predict(CLASSIFIER.encode([text])).outputs for text in texts])
    torch.testing.assert_close(predicted.outputs, alone, atol=1e-5, rtol=0)  # float32 sums in another order
    assert predicted.labels == CLASSIFIER.labels
    assert not torch.allclose(alone[0], alone[1], atol=1e-3), "so that another order would show"


def test_a_long_text_is_cut_only_where_that_is_asked_for():
    long = [Text.of("good bad " * CLASSIFIER.max_length)]
    windows = [len(encoding) for _, encoding in encoded(CLASSIFIER, long)]
    assert windows[0] > 1
    assert [len(encoding) for _, encoding in encoded(CLASSIFIER, long, truncate=True)] == [1]


def test_no_text_is_an_error():
    with pytest.raises(InputError, match="at least one text, got none"):
        predict_texts(CLASSIFIER, [])


def test_a_budget_that_nobody_set_suits_the_device():
    assert tiny_classifier().budget == 1024
