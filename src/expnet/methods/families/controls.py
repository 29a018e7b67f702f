"""Scores that know nothing of the model: what every method must beat."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expnet.errors import OptionError
from expnet.methods.method import Method
from expnet.methods.passes import by_part, generator_of, seed_of
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding, TextTokenizer


@by_part()
def random(
    classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"], *, generator: torch.Generator
) -> Float[Tensor, "batch tokens"]:
    """Draw a score in [0, 1) for each token; the same text gets the same scores in every batch."""
    seed = seed_of(generator)
    width = part.ids.shape[1]
    rows = []
    for row, length in enumerate(part.mask.sum(1).tolist()):
        drawn = torch.rand(length, generator=generator_of(part, row, seed))
        rows.append(torch.nn.functional.pad(drawn, (0, width - length)))
    return torch.stack(rows)


RANDOM = Method(
    name="random",
    family="control",
    measures="A random number: a control, which knows nothing of the classifier",
    function=random,
    paper="",
    forward="0",
    signed=False,
    uses_target=False,
    deterministic=False,
)


def uniform(classifier: Classifier, encoding: Encoding, target: Int[Tensor, " batch"]) -> Float[Tensor, "batch tokens"]:
    """Score every token 1: what marking everything is worth."""
    return encoding.real.float()


UNIFORM = Method(
    name="uniform",
    family="control",
    measures="The same for every word: a control, which knows nothing of the classifier",
    function=uniform,
    paper="",
    forward="0",
    signed=False,
    uses_target=False,
)


def length(classifier: Classifier, encoding: Encoding, target: Int[Tensor, " batch"]) -> Float[Tensor, "batch tokens"]:
    """Score each token by the characters it covers: long tokens carry more content than short ones."""
    return (encoding.offsets[..., 1] - encoding.offsets[..., 0]).float().masked_fill(~encoding.real, 0.0)


LENGTH = Method(
    name="length",
    family="control",
    measures="How long the word is: a control, which knows nothing of the classifier",
    function=length,
    paper="",
    forward="0",
    signed=False,
    uses_target=False,
)


def position(
    classifier: Classifier,
    encoding: Encoding,
    target: Int[Tensor, " batch"],
    *,
    order: Literal["first", "last"] = "first",
) -> Float[Tensor, "batch tokens"]:
    """Score tokens by their place in the window, from 1 down, in equal steps to above 0.

    Args:
        classifier: Not used.
        encoding: Windows.
        target: Not used.
        order: Which end scores 1.
    """
    rank = encoding.real.int().cumsum(1) - 1
    count = encoding.real.sum(1, keepdim=True).clamp(min=1)
    place = count - rank if order == "first" else rank + 1
    return (place / count).masked_fill(~encoding.real, 0.0)


POSITION = Method(
    name="position",
    family="control",
    measures="How near the word stands to one end of the text: a control, which knows nothing of the classifier",
    function=position,
    paper="",
    forward="0",
    signed=False,
    uses_target=False,
)


def inverse_document_frequency(
    classifier: Classifier, encoding: Encoding, target: Int[Tensor, " batch"], *, documents: Sequence[str]
) -> Float[Tensor, "batch tokens"]:
    """Score rare tokens high: ln((1 + documents) / (1 + documents with the token)) + 1.

    Args:
        classifier: Its tokenizer cuts the documents.
        encoding: Windows.
        target: Not used.
        documents: Texts to count in, such as the training texts.

    Raises:
        OptionError: If there is no document.
    """
    if not documents:
        raise OptionError("documents is empty; give some texts to count in.")
    frequency, count = _document_frequencies(classifier.text_tokenizer, tuple(documents))
    scores = [math.log((1 + count) / (1 + frequency[token])) + 1 for token in encoding.ids.flatten().tolist()]
    return torch.tensor(scores).reshape(encoding.ids.shape).masked_fill(~encoding.real, 0.0)


INVERSE_DOCUMENT_FREQUENCY = Method(
    name="inverse_document_frequency",
    family="control",
    measures="How rare the word is in other texts: a control, which knows nothing of the classifier",
    function=inverse_document_frequency,
    paper="Spärck Jones 1972, doi:10.1108/eb026526",
    forward="0",
    signed=False,
    uses_target=False,
)


@lru_cache(maxsize=4)
def _document_frequencies(tokenizer: TextTokenizer, documents: tuple[str, ...]) -> tuple[Counter[int], int]:
    frequency: Counter[int] = Counter()
    for encoded in tokenizer.backend.encode_batch(list(documents), add_special_tokens=False):
        frequency.update(set(encoded.ids))
    return frequency, len(documents)
