"""Faithfulness between the limits that any ranking of a text's words could reach, so that models can be compared.

How much a removal of words can change at all depends on the model and the text: a mean over texts says as much about
them as about the method. Normalised by the limits it is that of the ranking alone (Edin et al. 2025, arXiv:2408.08137).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from expnet.errors import InputError
from expnet.methods.replacement import Replacement
from expnet.metrics.faithfulness import check_words, number_of_units, unit_scores, values_of_remainders, word_units
from expnet.model.classifier import Classifier
from expnet.runtime.ambient import torch_defaults
from expnet.text.encoding import Encoding


@dataclass(frozen=True, slots=True)
class Losses:
    """The target's probability lost by a ranking, as mean over taking 1, 2, ... and all words; NaN without words.

    `removed` without the top words (comprehensiveness, more is better), `kept` with them alone (sufficiency, less is
    better). `words` counts the units that can be taken away; see `word_units`.
    """

    removed: Float[ndarray, " texts"]
    kept: Float[ndarray, " texts"]
    words: Int[ndarray, " texts"]


@dataclass(frozen=True, slots=True)
class RemovalLimits:
    """The least and the most that `Losses.removed` can be on each text, and what is lost without any word.

    NaN for texts without words, or with more than were to be searched.
    """

    least: Float[ndarray, " texts"]
    most: Float[ndarray, " texts"]
    everything: Float[ndarray, " texts"]

    def comprehensiveness(self, losses: Losses) -> Float[ndarray, " texts"]:
        """Return where `removed` lies between the limits: 0 for the worst ranking, 1 for the best; more is better.

        Slightly outside where the search missed the limit. NaN where all rankings are alike.
        """
        return self._share(losses.removed - self.least)

    def sufficiency(self, losses: Losses) -> Float[ndarray, " texts"]:
        """Return where `kept` lies between its limits: 0 for the best ranking, 1 for the worst; less is better.

        Keeping the top words is taking the others away, the last one first: the limits are those of `removed`, but for
        the step without any word, which it has instead of the one with all. NaN where all rankings are alike.
        """
        words = np.maximum(losses.words, 1)
        return self._share(losses.kept + self.everything / words - self.least)

    def _share(self, above: ndarray) -> ndarray:
        width = self.most - self.least
        share: ndarray = np.divide(above, width, out=np.full_like(width, np.nan), where=width > 0)
        return share


@torch_defaults()
def losses_of_rankings(
    classifier: Classifier,
    encoding: Encoding,
    target: Int[Tensor, " batch"],
    scores: Mapping[str, Sequence[Float[ndarray, " _"]]],
    *,
    replacement: Replacement = "mask",
) -> dict[str, Losses]:
    """Take the words of each text away one by one, as each method ranks them, and all but them.

    The arguments and errors are those of `perturbation_curves`; of equal scores the first in the text goes first.
    """
    classifier.check_probabilities("Faithfulness")
    check_words(encoding, scores)
    units = word_units(encoding)
    words = np.array([number_of_units(unit_of) for unit_of in units])
    remainders = []
    for text, (unit_of, number) in enumerate(zip(units, words, strict=True)):
        rows = [np.ones((1, number), dtype=bool)]
        for of_method in scores.values():
            rank = np.argsort(np.argsort(-unit_scores(of_method[text], unit_of), kind="stable"))
            top = rank < np.arange(1, number + 1)[:, None]
            rows += [~top, top]
        remainders.append(np.concatenate(rows))
    values = values_of_remainders(classifier, encoding, target, remainders, replacement)
    lost = np.full((len(words), len(scores), 2), np.nan)
    for text, number in enumerate(words):
        if number:
            lost[text] = values[text][0] - values[text][1:].reshape(len(scores), 2, number).mean(-1)
    return {name: Losses(lost[:, at, 0], lost[:, at, 1], words) for at, name in enumerate(scores)}


@torch_defaults()
def removal_limits(
    classifier: Classifier,
    encoding: Encoding,
    target: Int[Tensor, " batch"],
    *,
    replacement: Replacement = "mask",
    width: int = 5,
    most_words: int | None = None,
) -> RemovalLimits:
    """Search for the rankings of each text's words that lose the least and the most.

    A beam search keeps the best few sets of removed words at each step. It is exact where it keeps all, that is up to 4
    words with a width of 6, and runs the model up to about width × words² times a text.

    Args:
        classifier: The classifier.
        encoding: Texts, each in one window.
        target: A class for each text.
        replacement: What stands for the tokens of a word; "delete" closes the gap.
        width: Sets of words kept at each step, for each of the two limits.
        most_words: Texts with more words than this are not searched; by default all are.

    Raises:
        InputError: If the classifier is a regression, a text is read in several windows, or the width is below 1.
        OptionError: If the tokenizer has no mask token and `replacement` is "mask".
    """
    classifier.check_probabilities("Faithfulness")
    if width < 1:
        raise InputError(f"Expected a beam of width 1 or more, got {width}.")
    check_words(encoding, {})
    numbers = [number_of_units(unit_of) for unit_of in word_units(encoding)]
    searched = [0 if most_words is not None and number > most_words else number for number in numbers]

    def values(removed: Sequence[Sequence[int]]) -> list[ndarray]:
        remainders = [_remainders(sets, number) for sets, number in zip(removed, numbers, strict=True)]
        return values_of_remainders(classifier, encoding, target, remainders, replacement)

    search = _Search(searched, values)
    return RemovalLimits(search.extreme(-1, width), search.extreme(1, width), search.everything())


class _Search:
    """Beams over sets of removed words, the bits of integers; no set of a text is valued twice."""

    def __init__(self, words: Sequence[int], values: Callable[[Sequence[Sequence[int]]], list[ndarray]]) -> None:
        self.words = words
        self.values = values
        self.known: list[dict[int, float]] = [{} for _ in words]
        self.learn([{0, (1 << number) - 1} for number in words])

    def everything(self) -> Float[ndarray, " texts"]:
        """What each text loses without any of its words."""
        lost = [self.lost(text, (1 << number) - 1) if number else np.nan for text, number in enumerate(self.words)]
        return np.array(lost)

    def extreme(self, sign: int, width: int) -> Float[ndarray, " texts"]:
        """Return the largest mean loss that was met, or the least where the sign is -1."""
        beams: list[dict[int, float]] = [{0: 0.0} for _ in self.words]
        for step in range(max(self.words, default=0)):
            going = [text for text, number in enumerate(self.words) if step < number]
            for text in going:
                beams[text] = _grown(beams[text], self.words[text], sign)
            self.learn([set(beam) for beam in beams])
            for text in going:
                totals = {removed: total + self.lost(text, removed) for removed, total in beams[text].items()}
                kept = sorted(totals, key=lambda removed: sign * totals[removed], reverse=True)[:width]
                beams[text] = {removed: totals[removed] for removed in kept}
        means = [
            max(beam.values(), key=lambda total: sign * total) / (number or np.nan)
            for beam, number in zip(beams, self.words, strict=True)
        ]
        return np.array(means)

    def lost(self, text: int, removed: int) -> float:
        return self.known[text][0] - self.known[text][removed]

    def learn(self, wanted: Sequence[set[int]]) -> None:
        new = [sorted(sets - seen.keys()) for sets, seen in zip(wanted, self.known, strict=True)]
        if any(new):
            for seen, removed, worth in zip(self.known, new, self.values(new), strict=True):
                seen.update(zip(removed, worth.tolist(), strict=True))


def _grown(beam: Mapping[int, float], number: int, sign: int) -> dict[int, float]:
    """Take one more word away in all ways; of several ways to one set keep the best."""
    grown: dict[int, float] = {}
    for removed, total in beam.items():
        for larger in {removed | 1 << unit for unit in range(number)} - {removed}:
            if larger not in grown or sign * total > sign * grown[larger]:
                grown[larger] = total
    return grown


def _remainders(removed: Sequence[int], number: int) -> ndarray:
    bits = [[not some >> unit & 1 for unit in range(number)] for some in removed]
    return np.array(bits, dtype=bool).reshape(len(removed), number)
