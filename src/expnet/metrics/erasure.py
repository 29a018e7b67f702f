"""Soft erasure: set random elements of word embeddings to zero, as often as the scores say, not whole words.

Zhao and Aletras 2023, arXiv:2305.10496.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from expnet.attention.intercept import run
from expnet.errors import InputError
from expnet.methods.coalitions import players
from expnet.methods.passes import generator_of
from expnet.metrics.faithfulness import check_words, number_of_units, unit_scores, word_units
from expnet.model.capacity import budget
from expnet.model.classifier import Classifier
from expnet.runtime.ambient import torch_defaults
from expnet.text.encoding import Encoding


@dataclass(frozen=True, slots=True)
class Erasure:
    """The target's probability of texts whose embeddings were partly erased, sample by sample.

    `retained` keeps elements by their word's importance, `erased` drops them by it; `full` is the whole text,
    `nothing` the one with all words erased. NaN for texts without words, except in `full`.
    """

    full: Float[ndarray, " texts"]
    nothing: Float[ndarray, " texts"]
    retained: Float[ndarray, "texts samples"]
    erased: Float[ndarray, "texts samples"]


@torch_defaults()
def soft_erasure(
    classifier: Classifier,
    encoding: Encoding,
    target: Int[Tensor, " batch"],
    scores: Mapping[str, Sequence[Float[ndarray, " _"]]],
    *,
    samples: int = 10,
    seed: int = 0,
) -> dict[str, Erasure]:
    """Set random elements of the embeddings of words to zero, with probabilities that follow from the scores.

    The importance of a word is its score, scaled so that the smallest of its text is 0 and the largest 1; 1/2 where all
    are equal (the paper leaves the scale open). Special tokens, and tokens outside words, stay whole. All methods get
    the same random numbers, which depend on the text and the seed alone.

    Args:
        classifier: The classifier.
        encoding: Texts, each in one window.
        target: A class for each text.
        scores: For each method, the word scores of each text.
        samples: Random erasures of each text, method and direction.
        seed: Seed of the random numbers.

    Raises:
        InputError: If the classifier is a regression, a text is read in several windows, there is no sample, a score is
            NaN or infinite, or scores and words differ in number.
    """
    classifier.check_probabilities("Soft erasure")
    if samples < 1:
        raise InputError(f"Expected 1 sample or more, got {samples}.")
    check_words(encoding, scores)
    if infinite := [name for name, texts in scores.items() if not all(np.isfinite(words).all() for words in texts)]:
        raise InputError(
            f"The scores of {infinite[0]!r} are infinite for some words; erasure needs finite differences."
        )
    lengths, units = encoding.mask.sum(1).tolist(), word_units(encoding)
    numbers = [number_of_units(unit_of) for unit_of in units]
    probabilities = []
    for row, (unit_of, number) in enumerate(zip(units, numbers, strict=True)):
        part = encoding.rows(row, row + 1, lengths[row])
        importance = [_importance(unit_scores(per_text[row], unit_of)) for per_text in scores.values()]
        chances = [chance for share in importance for chance in (share, 1 - share)]
        keep = torch.tensor(np.array([*chances, np.zeros(number), np.ones(number)])).float()
        probabilities.append(_probabilities(classifier, part, target[row], keep, samples, seed))
    full = np.array([of_text[-1, 0] for of_text in probabilities])
    curves = np.stack(probabilities)[:, :-1]
    curves[[not number for number in numbers]] = np.nan
    return {
        name: Erasure(full, curves[:, -1, 0], curves[:, 2 * at], curves[:, 2 * at + 1])
        for at, name in enumerate(scores)
    }


def soft_sufficiency(erasure: Erasure) -> Float[ndarray, " texts"]:
    """Return the normalised soft sufficiency (Soft-NS): 1 if important elements alone lose nothing; more is better.

    With S = 1 - max(0, loss), it is (S - S of nothing) / (1 - S of nothing); so it may be far below 0 where even the
    text without words loses little, and is NaN where that loses nothing.
    """
    return 1 - _share_of_loss(erasure.full, erasure.retained, erasure.nothing)


def soft_comprehensiveness(erasure: Erasure) -> Float[ndarray, " texts"]:
    """Return the normalised soft comprehensiveness (Soft-NC): max(0, loss) / (1 - S of nothing); more is better.

    See `soft_sufficiency`: here the loss is without the important elements, and may exceed that of nothing.
    """
    return _share_of_loss(erasure.full, erasure.erased, erasure.nothing)


def _share_of_loss(full: ndarray, some: ndarray, nothing: ndarray) -> ndarray:
    whole = np.maximum(full - nothing, 0)
    loss = np.maximum(full[:, None] - some, 0).mean(1)
    share: ndarray = np.divide(loss, whole, out=np.full_like(loss, np.nan), where=whole > 0)
    return share


def _importance(scores: Float[ndarray, " units"]) -> Float[ndarray, " units"]:
    """Scale the scores of a text's units to [0, 1]."""
    low, high = scores.min(initial=np.inf), scores.max(initial=-np.inf)
    if high <= low:
        return np.full(len(scores), 0.5)
    # Halved, because the difference of the largest numbers would overflow.
    importance: ndarray = (scores / 2 - low / 2) / (high / 2 - low / 2)
    return importance


def _probabilities(
    classifier: Classifier, part: Encoding, target: Tensor, keep: Tensor, samples: int, seed: int
) -> Float[ndarray, "chances samples"]:
    """Run one text for each row of `keep`, the probabilities with which elements of a unit's embeddings stay."""
    model, on_word = classifier.model, part.covers[0, :, 1] > 0
    chance = torch.ones(len(keep), len(on_word))
    chance[:, on_word] = keep[:, players(part, "word")[0, on_word].unique(return_inverse=True)[1]]
    drawn = torch.rand(samples, len(on_word), classifier.embeddings.shape[1], generator=generator_of(part, 0, seed))
    rows = torch.cartesian_prod(torch.arange(len(keep)), torch.arange(samples))

    def logits(window: Encoding) -> Tensor:
        length, parts = int(window.mask.sum()), list[Tensor]()  # a zero-shot label's hypothesis may be a shorter one
        for some in rows.split(max(1, budget(model.device, copies=True) // length)):
            kept = (drawn[some[:, 1], :length] < chance[some[:, 0], :length, None]).to(model.device)
            whole = window.rows(0, 1, length).inputs(model.device)
            inputs = {name: tensor.expand(len(some), -1) for name, tensor in whole.items()}
            with torch.inference_mode():
                parts.append(run(model, inputs, embed=kept.mul).logits.float().cpu())
        return torch.cat(parts)

    every = classifier.of_every_label(part, logits)
    return classifier.outputs(every)[:, int(target)].double().reshape(len(keep), samples).numpy()
