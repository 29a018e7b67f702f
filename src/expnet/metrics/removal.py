"""Check explanations in a few more passes: the prediction without their top words, and with these alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from expnet.explanation.result import Explanation
from expnet.methods.replacement import replacement_for_words
from expnet.metrics.faithfulness import (
    Curves,
    check_words,
    number_of_units,
    perturbation_curves,
    random_draws,
    unit_scores,
    word_units,
)
from expnet.metrics.plausibility import mark_top
from expnet.model.classifier import Classifier
from expnet.runtime.ambient import torch_defaults
from expnet.text.texts import Text

RANDOM = "random words"
DRAWS = 5  # of random words


@dataclass(frozen=True, slots=True)
class Checked:
    """The target's probability with all words, without the top words of a ranking, and with them alone.

    Of random words the figures are means of several draws, and no words are named.
    """

    name: str
    words: tuple[str, ...]
    full: float
    without: float
    alone: float


@torch_defaults()
def check(
    classifier: Classifier, text: Text, explanations: Sequence[Explanation], *, count: int
) -> tuple[Checked, ...]:
    """Remove the top words of explanations of a text, and everything but them.

    As many random words are removed for comparison: removing any words changes something. Words become [MASK], or are
    deleted if the tokenizer has none.

    Args:
        classifier: The classifier.
        text: The text, in one window.
        explanations: Of this text and one class.
        count: How many top words; all if there are fewer. Words that one token covers go together, and count as one.

    Returns:
        A row for each explanation and one for random words; none for a text without words.

    Raises:
        InputError: If the text is read in several windows, or the words of an explanation are not those of the text.
    """
    encoding = classifier.encode([text])
    check_words(encoding, {})
    (unit_of,) = word_units(encoding)
    units = number_of_units(unit_of)
    if not units:
        return ()
    share = min(count, units) / units
    scores = {
        explanation.method: [np.array([word.score for word in explanation.words])] for explanation in explanations
    }
    draws = random_draws(encoding, seed=0, draws=DRAWS)
    curves = perturbation_curves(
        classifier,
        encoding,
        torch.tensor([classifier.target_index(explanations[0].label)]),
        scores | draws,
        replacement=replacement_for_words(classifier),
        fractions=[share],
    )
    words = np.array([text.word(span) for span in text.words], dtype=object)
    chosen = {
        name: np.flatnonzero(mark_top(unit_scores(per_text[0], unit_of), share)) for name, per_text in scores.items()
    }
    top = {name: tuple(words[np.isin(unit_of, units)]) for name, units in chosen.items()}
    return (
        *(_checked(name, top[name], [curves[name]]) for name in scores),
        _checked(RANDOM, (), [curves[name] for name in draws]),
    )


def _checked(name: str, words: tuple[str, ...], curves: Sequence[Curves]) -> Checked:
    without = float(np.mean([curve.removed[0, 0] for curve in curves]))
    alone = float(np.mean([curve.kept[0, 0] for curve in curves]))
    return Checked(name, words, float(curves[0].full[0]), without, alone)
