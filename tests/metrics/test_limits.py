"""The search for the best and the worst ranking, against trying all of them by hand."""

import itertools

import numpy as np
import pytest
import torch

from expnet.errors import InputError
from expnet.metrics.faithfulness import perturbation_curves, random_ranking, word_units
from expnet.metrics.limits import Losses, RemovalLimits, losses_of_rankings, removal_limits
from tests.classifiers import tiny_classifier

BERT = tiny_classifier()
TEXTS = ("good film the bad", "bad", "", "one text axe short", "A good film, bad")
CLOSE = {"rtol": 0, "atol": 1e-5}
WIDE = 100  # more sets than any step of these texts has, so that the search is exact


@pytest.fixture(scope="module")
def encoding():
    return BERT.encode(TEXTS)


@pytest.fixture(scope="module")
def target(encoding):
    return torch.arange(len(encoding)) % 3


def losses_of_orders(target, text, replacement):
    """What every order of a text's words loses, by one order at a time: [orders] without the top, [orders] with it."""
    row = BERT.encode([TEXTS[text]])
    number = len(row.texts[0].words)
    shares = [k / number for k in range(1, number + 1)]
    removed, kept = [], []
    for order in itertools.permutations(range(number)):
        scores = [-np.argsort(order).astype(float)]
        curves = perturbation_curves(
            BERT, row, target[text : text + 1], {"x": scores}, replacement=replacement, fractions=shares
        )["x"]
        removed.append((curves.full[0] - curves.removed[0]).mean())
        kept.append((curves.full[0] - curves.kept[0]).mean())
    return np.array(removed), np.array(kept)


@pytest.mark.parametrize("replacement", ["mask", "delete"])
def test_a_wide_search_meets_the_limits_of_all_orders(encoding, target, replacement):
    limits = removal_limits(BERT, encoding, target, replacement=replacement, width=WIDE)
    for text in (0, 1, 3):
        removed, kept = losses_of_orders(target, text, replacement)
        np.testing.assert_allclose((limits.least[text], limits.most[text]), (removed.min(), removed.max()), **CLOSE)
        losses = Losses(removed, kept, np.full(len(kept), len(encoding.texts[text].words)))
        one = RemovalLimits(
            *(np.full(len(kept), side[text]) for side in (limits.least, limits.most, limits.everything))
        )
        if text == 1:  # one word has one order
            assert np.isnan(one.sufficiency(losses)).all()
            continue
        spread = removed.max() - removed.min()
        for shares in (one.comprehensiveness(losses), one.sufficiency(losses)):
            # Rounding of 1e-6 in a probability counts for more the closer the limits are.
            np.testing.assert_allclose((shares.min(), shares.max()), (0, 1), rtol=0, atol=1e-5 / spread)


def test_rankings_lose_what_their_curves_lose(encoding, target):
    generator = np.random.default_rng(0)
    scores = [generator.random(len(text.words)).round(1) for text in encoding.texts]
    losses = losses_of_rankings(BERT, encoding, target, {"x": scores, "y": [-row for row in scores]})
    for text in (0, 1, 3, 4):
        number = int(losses["x"].words[text])
        row = BERT.encode([TEXTS[text]])
        shares = [k / number for k in range(1, number + 1)]
        curves = perturbation_curves(BERT, row, target[text : text + 1], {"x": [scores[text]]}, fractions=shares)["x"]
        np.testing.assert_allclose(losses["x"].removed[text], (curves.full - curves.removed[0]).mean(), **CLOSE)
        np.testing.assert_allclose(losses["x"].kept[text], (curves.full - curves.kept[0]).mean(), **CLOSE)
    assert np.isnan([losses["x"].removed[2], losses["y"].kept[2]]).all()


@pytest.mark.parametrize("seed", range(3))
def test_no_ranking_is_outside_the_limits(encoding, target, seed):
    limits = removal_limits(BERT, encoding, target, width=WIDE)
    losses = losses_of_rankings(BERT, encoding, target, {"random": random_ranking(encoding, seed=seed)})["random"]
    several = losses.words > 1
    for shares in (limits.comprehensiveness(losses), limits.sufficiency(losses)):
        assert np.isnan(shares[~several]).all()
        assert shares[several].min() >= -1e-3
        assert shares[several].max() <= 1 + 1e-3


def test_a_narrow_search_lies_within_a_wide_one(encoding, target):
    wide, narrow = (removal_limits(BERT, encoding, target, width=width) for width in (WIDE, 1))
    words = [number > 0 for number in map(len, word_units(encoding))]
    assert (narrow.most[words] <= wide.most[words] + 1e-6).all()
    assert (narrow.least[words] >= wide.least[words] - 1e-6).all()


def test_longer_texts_are_left_out_on_request(encoding, target):
    limits = removal_limits(BERT, encoding, target, most_words=4)
    assert np.isnan(limits.most).tolist() == [False, False, True, False, True]
    whole = removal_limits(BERT, encoding, target)
    np.testing.assert_allclose(limits.most[[0, 1, 3]], whole.most[[0, 1, 3]], **CLOSE)


def test_a_text_has_the_same_limits_alone(encoding, target):
    together = removal_limits(BERT, encoding, target)
    alone = removal_limits(BERT, BERT.encode([TEXTS[0]]), target[:1])
    np.testing.assert_allclose((together.least[0], together.most[0]), (alone.least[0], alone.most[0]), **CLOSE)


def test_a_beam_of_no_width_is_refused(encoding, target):
    with pytest.raises(InputError, match="width 1 or more, got 0"):
        removal_limits(BERT, encoding, target, width=0)
