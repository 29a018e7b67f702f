"""How much the prediction loses without the words that a method ranks first, and how much it keeps with them alone.

Compare each figure with that of a `random_ranking`: removing any words changes something.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from expnet.errors import InputError
from expnet.methods.coalitions import Game, players, values
from expnet.methods.passes import generator_of
from expnet.methods.replacement import Replacement
from expnet.metrics.plausibility import check_scores, mark_top
from expnet.metrics.stability import kendall_tau, rank_correlation
from expnet.model.capacity import batches
from expnet.model.classifier import Classifier
from expnet.runtime.ambient import torch_defaults
from expnet.text.encoding import Encoding, overlaps

TENTHS = tuple(tenth / 10 for tenth in range(11))


@dataclass(frozen=True, slots=True)
class Curves:
    """The target's probability while words are removed, in the order in which a method ranks them.

    `removed` is without the top share of the words, `kept` with them alone, `full` with all. NaN in `removed` and
    `kept` for a text without words. `words` counts the units that can be removed; see `word_units`.
    """

    fractions: Float[ndarray, " fractions"]
    removed: Float[ndarray, "texts fractions"]
    kept: Float[ndarray, "texts fractions"]
    full: Float[ndarray, " texts"]
    words: Int[ndarray, " texts"]


@torch_defaults()
def perturbation_curves(
    classifier: Classifier,
    encoding: Encoding,
    target: Int[Tensor, " batch"],
    scores: Mapping[str, Sequence[Float[ndarray, " _"]]],
    *,
    replacement: Replacement = "mask",
    fractions: Sequence[int | float] = TENTHS,
    kept: bool = True,
) -> dict[str, Curves]:
    """Remove the top words of each text, and everything but them; the same remainder of a text is run once.

    Args:
        classifier: The classifier.
        encoding: Texts, each in one window.
        target: A class for each text.
        scores: For each method, the word scores of each text.
        replacement: What stands for the tokens of a word; "delete" closes the gap. Special tokens, and tokens that
            are on no word, always stay. Words of one token go together, ranked by the highest of their scores.
        fractions: Shares of the words, ascending in [0, 1]. Of n words `round(fraction * n)` go, but one at least
            unless the fraction is 0; of equal scores the first in the text, as in `mark_top`.
        kept: Whether to run what is left of the text with the top words alone, too; else `kept` is NaN.

    Raises:
        InputError: If the classifier is a regression, a text is read in several windows, fractions do not ascend in [0,
            1], a score is NaN, or scores and words differ in number.
        OptionError: If the tokenizer has no mask token and `replacement` is "mask".
    """
    classifier.check_probabilities("Faithfulness")
    shares = np.array(fractions, dtype=float)
    if not len(shares) or shares[0] < 0 or not 0 < shares[-1] <= 1 or (np.diff(shares) <= 0).any():
        raise InputError(f"Expected ascending fractions from 0 to 1, got {list(fractions)}.")
    check_words(encoding, scores)
    units = word_units(encoding)
    words = np.array([number_of_units(unit_of) for unit_of in units])
    remains = []
    for text, unit_of in enumerate(units):
        rows = [np.ones((1, words[text]), dtype=bool)]
        for of_method in scores.values():
            tops = _tops(unit_scores(of_method[text], unit_of), shares)
            rows += [~tops, tops] if kept else [~tops]
        remains.append(np.concatenate(rows))
    worth = np.stack(values_of_remainders(classifier, encoding, target, remains, replacement))
    curves = np.full((len(words), len(scores), 2, len(shares)), np.nan)
    curves[:, :, : 1 + kept] = worth[:, 1:].reshape(len(words), len(scores), 1 + kept, len(shares))
    curves[words == 0] = np.nan
    return {
        name: Curves(shares, curves[:, at, 0], curves[:, at, 1], worth[:, 0], words) for at, name in enumerate(scores)
    }


def comprehensiveness(curves: Curves) -> Float[ndarray, " texts"]:
    """Return the probability lost without the top words, as mean over the fractions above 0; more is better.

    The AOPC of DeYoung et al. 2020 as ERASER's code computes it (its fractions: 0.01, 0.05, 0.1, 0.2, 0.5); the
    paper's formula also divides by the bin of no words, which adds nothing. ferret's is the same where each token is
    a word, no scores are equal, and the fractions are all k / n; but it ranks tokens, and decodes what is left and
    tokenizes it again.
    """
    return _mean_loss(curves, curves.removed)


def sufficiency(curves: Curves) -> Float[ndarray, " texts"]:
    """Return the probability lost with the top words alone, as mean over the fractions above 0; less is better.

    See `comprehensiveness`. Negative where the top words alone convince the model more than the text.
    """
    return _mean_loss(curves, curves.kept)


def deletion_area(curves: Curves) -> Float[ndarray, " texts"]:
    """Return the area under `removed` by trapezoids, in [0, 1]; less is better (Petsiuk et al. 2018).

    Raises:
        InputError: If the fractions do not reach from 0 to 1.
    """
    return _area(curves.removed, curves.fractions)


def insertion_area(curves: Curves) -> Float[ndarray, " texts"]:
    """Return the area under `kept` by trapezoids, in [0, 1]; more is better (Petsiuk et al. 2018).

    Raises:
        InputError: If the fractions do not reach from 0 to 1.
    """
    return _area(curves.kept, curves.fractions)


@torch_defaults()
def leave_one_out_deltas(
    classifier: Classifier, encoding: Encoding, target: Int[Tensor, " batch"], *, replacement: Replacement = "mask"
) -> list[Float[ndarray, " _"]]:
    """Return for each word how much the target's probability falls without it; NaN for a word without a token.

    Words that share a token are removed together and get the same value. For a regression, how much its value falls.

    Raises:
        InputError: If a text is read in several windows.
        OptionError: If the tokenizer has no mask token and `replacement` is "mask".
    """
    check_words(encoding, {})
    units = word_units(encoding)
    numbers = [number_of_units(unit_of) for unit_of in units]
    # The last row takes no unit away.
    remains = [~np.eye(number + 1, number, dtype=bool) for number in numbers]
    worths = values_of_remainders(classifier, encoding, target, remains, replacement)
    losses = [np.append(worth[-1] - worth[:-1], np.nan) for worth in worths]  # -1 points at the last
    return [loss[unit_of] for loss, unit_of in zip(losses, units, strict=True)]


def leave_one_out_correlation(scores: Float[ndarray, " words"], deltas: Float[ndarray, " _"]) -> tuple[float, float]:
    """Return Kendall's tau-b and Spearman's correlation of a text's scores with its leave-one-out deltas.

    Words whose delta is NaN are left out; NaN where fewer than two are left or one side is constant. The first is
    ferret's taucorr_loo where each token is a word.

    Raises:
        InputError: If a score is NaN, or scores and deltas differ in number.
    """
    if len(scores) != len(deltas):
        raise InputError(f"Expected a delta for each of {len(scores)} words, got {len(deltas)}.")
    known = ~np.isnan(deltas)
    return kendall_tau(scores[known], deltas[known]), rank_correlation(scores[known], deltas[known])


@torch_defaults()
def random_ranking(encoding: Encoding, *, seed: int) -> list[Float[ndarray, " _"]]:
    """Return a random score for each word: the control. The same text gets the same scores in every batch.

    Drawn for words, because the largest of several random token scores would favour long words; words that are removed
    together get the same score.
    """
    check_words(encoding, {})
    drawn = [
        torch.rand(len(text.words), generator=generator_of(encoding, row, seed)).numpy()
        for row, text in enumerate(encoding.texts)
    ]
    return [
        np.where(unit_of < 0, scores, scores[unit_of])
        for scores, unit_of in zip(drawn, word_units(encoding), strict=True)
    ]


def random_draws(encoding: Encoding, *, seed: int, draws: int) -> dict[str, list[Float[ndarray, " _"]]]:
    """Return several random rankings under names of their own; one alone may hit the right words.

    The first has the seed, the others those after it; see `random_ranking`.
    """
    return {f"random {draw}": random_ranking(encoding, seed=seed + draw) for draw in range(draws)}


def check_words(encoding: Encoding, scores: Mapping[str, Sequence[ndarray]]) -> None:
    """Raise unless each text is in one window and has a score for each of its words.

    Raises:
        InputError: If a text is read in several windows or none, a score is NaN, or there is not one for each word.
    """
    if wrong := [number for number, windows in enumerate(encoding.windows()) if windows != 1]:
        raise InputError(
            f"{len(wrong)} of {len(encoding.texts)} texts are not in one window, first number {wrong[0]}: a word in "
            "several windows cannot be removed at once. Leave them out, or encode with truncate=True."
        )
    wanted = [len(text.words) for text in encoding.texts]
    for name, per_text in scores.items():
        if [len(words) for words in per_text] != wanted:
            raise InputError(
                f"The scores of {name!r} do not fit the words: the first texts have {wanted[:10]} words, "
                f"but {[len(words) for words in per_text][:10]} scores."
            )
        for words in per_text:
            check_scores(words)


def word_units(encoding: Encoding) -> list[Int[ndarray, " _"]]:
    """Return, for each word of each text, the unit that it is removed with; -1 for a word without a token.

    A unit is a word, or several that a token covers together; units are numbered from 0 in reading order.
    """
    units = [np.full(len(text.words), -1) for text in encoding.texts]
    row, token, word = overlaps(encoding.covers)
    player = players(encoding, "word")[row, token]
    for index, unit_of in enumerate(units):
        here = row == index
        unit_of[word[here].numpy()] = player[here].numpy()
        with_token = unit_of >= 0
        unit_of[with_token] = np.unique(unit_of[with_token], return_inverse=True)[1]
    return units


def number_of_units(unit_of: Int[ndarray, " words"]) -> int:
    """Return how many units `word_units` numbered."""
    return int(unit_of.max(initial=-1)) + 1


def unit_scores(scores: Float[ndarray, " words"], unit_of: Int[ndarray, " words"]) -> Float[ndarray, " units"]:
    """Return the highest score of the words of each unit."""
    highest = np.full(number_of_units(unit_of), -np.inf)
    np.maximum.at(highest, unit_of[unit_of >= 0], scores[unit_of >= 0])
    return highest


def _tops(scores: Float[ndarray, " units"], shares: ndarray) -> Bool[ndarray, "fractions units"]:
    tops = np.zeros((len(shares), len(scores)), dtype=bool)
    for top, share in zip(tops, shares, strict=True):
        if share > 0:
            top[:] = mark_top(scores, float(share))
    return tops


def values_of_remainders(
    classifier: Classifier,
    encoding: Encoding,
    target: Tensor,
    remains: Sequence[Bool[ndarray, "_ _"]],
    replacement: Replacement,
) -> list[Float[ndarray, " _"]]:
    """Return the target's probability for each remainder of each text, given as [remainders, units]."""
    worths: list[ndarray] = []
    for part in batches(encoding):
        start, stop = len(worths), len(worths) + len(part)
        game = Game(classifier, part, target[start:stop], players(part, "word"), replacement, "probability")
        # Who has fewer remainders than others gets the whole text, which is run anyway or once.
        width = max(len(remain) for remain in remains[start:stop])
        coalitions = game.everyone[:, None].repeat(1, width, 1)
        on_word = part.covers[..., 1] > 0
        for row, remain in enumerate(remains[start:stop]):
            # Ascending, as the units are.
            coalitions[row, : len(remain), game.player_of[row, on_word[row]].unique()] = torch.from_numpy(remain)
        worth = values(game, coalitions).double().numpy()
        worths += [worth[row, : len(remain)] for row, remain in enumerate(remains[start:stop])]
    return worths


def _mean_loss(curves: Curves, left: ndarray) -> ndarray:
    loss: ndarray = (curves.full[:, None] - left)[:, curves.fractions > 0].mean(1)
    return loss


def _area(curve: ndarray, fractions: ndarray) -> ndarray:
    if fractions[0] != 0 or fractions[-1] != 1:
        raise InputError(f"An area needs a curve from 0 to 1, got one from {fractions[0]} to {fractions[-1]}.")
    area: ndarray = ((curve[:, 1:] + curve[:, :-1]) / 2 * np.diff(fractions)).sum(1)
    return area
