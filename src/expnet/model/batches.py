"""Run many texts through a classifier in batches of similar length, with results in the order of the texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from expnet.errors import InputError
from expnet.model.classifier import Classifier
from expnet.model.prediction import Prediction
from expnet.runtime.ambient import torch_defaults
from expnet.text.encoding import Encoding
from expnet.text.texts import Text
from expnet.text.windows import TokenizedText, by_budget, in_chunks


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts that share a batch.

    Attributes:
        places: Index of each among all texts.
        texts: The texts, shortest first.
        readings: The tokens and windows of each.
    """

    places: list[int]
    texts: list[Text]
    readings: list[TokenizedText]

    def __len__(self) -> int:
        return len(self.places)


def in_batches(
    classifier: Classifier, texts: Sequence[Text], *, size: int | None = None, truncate: bool = False
) -> Iterator[Batch]:
    """Yield every text once, in batches of similar length, so that there is little padding.

    Args:
        classifier: It tokenizes the texts, and its `budget` limits the tokens in a batch.
        texts: In any order.
        size: Texts in a batch, whatever their length, instead of what the budget holds. Only training sets it: the last
            bits of features depend on padding, and a network on the order of its examples, so that with a fixed size a
            seed gives the same network whatever the budget is.
        truncate: Cut texts over the model's limit instead of reading them in overlapping windows.

    Raises:
        InputError: If a blank text meets a tokenizer that adds no special tokens.
        TextTooLongError: If both parts of a pair are too long.
    """
    for chunk in in_chunks(texts) if size is None else in_chunks(texts, size):
        of_chunk = [texts[place] for place in chunk]
        readings = classifier.read(of_chunk, truncate=truncate)
        lengths = [reading.length for reading in readings]
        for rows in by_budget(lengths, classifier.budget) if size is None else [range(len(chunk))]:
            yield Batch([chunk[row] for row in rows], [of_chunk[row] for row in rows], [readings[row] for row in rows])


def encoded(
    classifier: Classifier, texts: Sequence[Text], *, size: int | None = None, truncate: bool = False
) -> Iterator[tuple[list[int], Encoding]]:
    """Yield the places of the texts of each batch, and the batch encoded; the arguments are those of `in_batches`."""
    for batch in in_batches(classifier, texts, size=size, truncate=truncate):
        yield batch.places, classifier.pack(batch.texts, batch.readings)


@torch_defaults()
def predict_texts(classifier: Classifier, texts: Sequence[Text], *, truncate: bool = False) -> Prediction:
    """Return a classifier's outputs for texts, in their order.

    Args:
        classifier: The classifier.
        texts: At least one.
        truncate: As for `in_batches`.

    Raises:
        InputError: If there is no text, or as `in_batches` does.
        NonFiniteError: If the model returns NaN or infinity.
    """
    if not texts:
        raise InputError("Expected at least one text, got none.")
    outputs = torch.empty(len(texts), len(classifier.labels))
    for places, encoding in encoded(classifier, texts, truncate=truncate):
        outputs[places] = classifier.predict(encoding).outputs
    return Prediction(classifier.labels, outputs, classifier.multi_label, classifier.kind)
