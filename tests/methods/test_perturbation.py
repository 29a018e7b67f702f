"""Perturbation and surrogate methods: known numbers, brute force, captum, scikit-learn."""

import itertools
import math

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, Occlusion
from captum.attr import ShapleyValues as CaptumShapley
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from torch.testing import assert_close

from expnet.errors import MissingExtraError, OptionError
from expnet.methods.coalitions import Game, players, values
from expnet.methods.families.partition import partition_shap
from expnet.methods.families.perturbation import leave_one_out, occlusion, rise
from expnet.methods.families.surrogate import kernel_shap, lime, shapley_sampling, weighted_ridge
from expnet.methods.replacement import baseline_embedding
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier
from tests.linear import contributions, linear_classifier

TEXTS = ("A good film.", "bad", "one text, short")
REPLACEMENTS = ["mask", "pad", "zero", "delete"]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def case(classifier, texts=TEXTS):
    return classifier, classifier.encode([Text.of(text) for text in texts]), torch.arange(len(texts)) % 3


@pytest.fixture(scope="module")
def bert():
    return case(tiny_classifier())


@pytest.fixture(scope="module")
def linear():
    return case(linear_classifier())


def game_of(given, replacement="mask"):
    classifier, encoding, target = given
    return Game(classifier, encoding, target, players(encoding, "token"), replacement, "logit")


def known(given, replacement):
    """What each token of a linear classifier adds beyond what replaces it."""
    classifier, encoding, target = given
    own = contributions(classifier, encoding.ids, target)
    if replacement != "delete":
        base = baseline_embedding(classifier, replacement)
        own = own - (classifier.model.head.weight.detach()[target] @ base)[:, None]
    return own.masked_fill(~encoding.real, 0)


def brute_force(given, row, replacement="mask"):
    """Shapley values of one window by their definition: a sum over all coalitions without the player."""
    game = game_of(given, replacement)
    n, width = int(game.count[row]), game.everyone.shape[1]
    every = list(itertools.product([False, True], repeat=n))
    kept = torch.zeros(len(given[1]), len(every), width, dtype=torch.bool)
    kept[row, :, :n] = torch.tensor(every)
    worth = dict(zip(every, values(game, kept)[row].double().tolist(), strict=True))
    scores = []
    for player in range(n):
        total = 0.0
        for coalition in every:
            if not coalition[player]:
                size = sum(coalition)
                joined = (*coalition[:player], True, *coalition[player + 1 :])
                weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
                total += weight * (worth[joined] - worth[coalition])
        scores.append(total)
    return torch.tensor(scores, dtype=torch.float32)


def as_function_of_tokens(given, row):
    """One window's worth as a function of which tokens are there, for captum."""
    game = game_of(given)
    n, width = int(game.count[row]), game.everyone.shape[1]

    def worth(there):
        kept = torch.zeros(len(given[1]), len(there), width, dtype=torch.bool)
        kept[row, :, :n] = there > 0.5
        return values(game, kept)[row]

    return worth, n


class TestOnALinearClassifier:
    """Every order and every coalition says the same, so that all methods must find the known numbers."""

    @pytest.mark.parametrize("replacement", REPLACEMENTS)
    def test_leaving_one_out(self, linear, replacement):
        assert_close(leave_one_out(*linear, replacement=replacement), known(linear, replacement), atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize("replacement", REPLACEMENTS)
    @pytest.mark.parametrize("window", [1, 2, 30])
    def test_sliding_windows_average_the_sums_they_hold(self, linear, replacement, window):
        adds = known(linear, replacement)
        expected = torch.zeros_like(adds)
        for row, real in enumerate(linear[1].real):
            tokens = real.nonzero().flatten().tolist()
            runs = [tokens[at : at + window] for at in range(max(1, len(tokens) - window + 1))]
            for token in tokens:
                holding = [float(adds[row, run].sum()) for run in runs if token in run]
                expected[row, token] = sum(holding) / len(holding)
        assert_close(occlusion(*linear, replacement=replacement, window=window), expected, atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize("replacement", REPLACEMENTS)
    def test_shapley_values_however_found(self, linear, replacement):
        expected = known(linear, replacement)
        for actual in (
            kernel_shap(*linear, replacement=replacement, generator=seeded()),
            shapley_sampling(*linear, replacement=replacement, generator=seeded(), permutations=1),
            partition_shap(*linear, replacement=replacement),
        ):
            assert_close(actual, expected, atol=1e-4, rtol=1e-3)

    def test_lime_finds_them_up_to_its_penalty(self):
        """Where some samples are near: of one token, the only remainder is far from the text."""
        given = case(linear_classifier(), [TEXTS[0], TEXTS[2]])
        actual, expected = lime(*given, generator=seeded(), samples=4000), known(given, "mask")
        assert_close(actual, expected, atol=0.02 * float(expected.abs().max()), rtol=0)


class TestShapleyValues:
    @pytest.mark.parametrize("replacement", REPLACEMENTS)
    def test_kernel_shap_is_exact_where_all_coalitions_fit(self, bert, replacement):
        actual = kernel_shap(*bert, generator=seeded(), samples=2**6, replacement=replacement)
        for row, real in enumerate(bert[1].real):
            assert_close(actual[row, real], brute_force(bert, row, replacement), atol=1e-4, rtol=1e-3)

    def test_sampled_ones_come_near(self, bert):
        for row, real in enumerate(bert[1].real):
            exact = brute_force(bert, row)
            scale = float(exact.abs().max())
            sampled = shapley_sampling(*bert, generator=seeded(), permutations=400)[row, real]
            assert_close(sampled, exact, atol=0.05 * scale, rtol=0)

    def test_kernel_shap_with_fewer_samples_than_coalitions_comes_near(self):
        given = case(tiny_classifier(), ["a good film, one bad"])  # 6 tokens, 62 proper coalitions
        exact = brute_force(given, 0)
        actual = kernel_shap(*given, generator=seeded(), samples=60)[0][given[1].real[0]]
        assert float((actual - exact).abs().max()) < 0.25 * float(exact.abs().max())

    def test_captum_finds_the_same(self, bert):
        worth, n = as_function_of_tokens(bert, 0)
        expected = CaptumShapley(worth).attribute(torch.ones(1, n), torch.zeros(1, n))[0]
        actual = kernel_shap(*bert, generator=seeded(), samples=64)[0][bert[1].real[0]]
        assert_close(actual, expected.float(), atol=1e-4, rtol=1e-3)

    @pytest.mark.parametrize("samples", [1, 2, 3, 7])
    def test_fewer_samples_than_tokens_still_add_up(self, bert, samples):
        actual = kernel_shap(*bert, generator=seeded(), samples=samples)
        game = game_of(bert)
        ends = values(game, torch.stack([torch.zeros_like(game.everyone), game.everyone], dim=1))
        assert_close(actual.sum(1), ends[:, 1] - ends[:, 0], atol=1e-4, rtol=1e-4)

    def test_partition_shap_of_two_tokens_is_exact(self):
        given = case(tiny_classifier(), ["good film"])
        actual = partition_shap(*given)[0][given[1].real[0]]
        assert_close(actual, brute_force(given, 0), atol=1e-4, rtol=1e-3)

    def test_partition_shap_leaves_numpy_s_randomness_as_it_was(self, bert):
        before = np.random.get_state()[1].tolist()
        partition_shap(*bert, samples=10)
        assert np.random.get_state()[1].tolist() == before

    def test_without_shap_the_command_that_installs_it_is_named(self, bert, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(MissingExtraError, match=r"pip install 'expnet\[methods\]'"):
            partition_shap(*bert)


class TestPerturbation:
    @pytest.mark.parametrize("row", range(len(TEXTS)))
    def test_captum_ablates_and_occludes_the_same(self, bert, row):
        worth, n = as_function_of_tokens(bert, row)
        real = bert[1].real[row]
        there, gone = torch.ones(1, n), torch.zeros(1, n)
        expected = FeatureAblation(worth).attribute(there, gone)[0]
        assert_close(leave_one_out(*bert)[row, real], expected.float(), atol=1e-4, rtol=1e-3)
        if n >= 2:
            slid = Occlusion(worth).attribute(there, sliding_window_shapes=(2,), baselines=gone)[0]
            assert_close(occlusion(*bert, window=2)[row, real], slid.float(), atol=1e-4, rtol=1e-3)

    def test_rise_is_the_mean_probability_over_the_remainders_that_hold_a_token(self):
        """Of one token: nothing but the whole text holds it."""
        given = case(tiny_classifier(), ["bad"])
        with torch.no_grad():
            probability = given[0].model(**given[1].inputs()).logits.softmax(-1)[0, 0]
        assert_close(rise(*given, generator=seeded())[0, 1], probability, atol=1e-5, rtol=1e-4)

    def test_rise_of_two_tokens_in_the_limit(self):
        given = case(tiny_classifier(), ["good film"])
        game = Game(*given, players(given[1], "token"), "mask", "probability")
        both, first, second = values(game, torch.tensor([[[True, True], [True, False], [False, True]]]))[0]
        expected = torch.stack([0.7 * both + 0.3 * first, 0.7 * both + 0.3 * second])
        actual = rise(*given, generator=seeded(), samples=20000, keep=0.7)[0, 1:3]
        assert_close(actual, expected, atol=0.01 * float(expected.max()), rtol=0)

    def test_a_word_goes_as_a_whole_and_its_tokens_share(self):
        given = case(tiny_classifier(), ["good ax"])
        actual = leave_one_out(*given, unit="word")[0]
        game = game_of(given)
        whole, without = values(game, torch.tensor([[[True] * 3, [True, False, False]]]))[0]
        assert_close(actual[2:4], ((whole - without) / 2).expand(2), atol=1e-4, rtol=1e-3)


@given(st.integers(2, 12), st.integers(1, 6), st.integers(0, 2**31))
def test_weighted_ridge_is_scikit_learn_s(samples, count, seed):
    source = torch.Generator().manual_seed(seed)
    features = torch.rand(2, samples, count, generator=source) < 0.5
    wanted, weight = torch.rand(2, samples, generator=source), torch.rand(2, samples, generator=source) + 0.1
    actual = weighted_ridge(features, wanted, weight, penalty=1.0)
    for row in range(2):
        reference = Ridge(alpha=1.0).fit(features[row].numpy(), wanted[row].numpy(), sample_weight=weight[row].numpy())
        np.testing.assert_allclose(actual[row].numpy(), reference.coef_, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (lime, {"samples": 1}, "samples is 1, expected 2 or more"),
        (kernel_shap, {"samples": 0}, "samples is 0"),
        (shapley_sampling, {"permutations": 0}, "permutations is 0"),
        (rise, {"keep": 1.0}, r"keep is 1\.0, expected a probability"),
    ],
)
def test_impossible_options_are_refused(bert, method, options, message):
    with pytest.raises(OptionError, match=message):
        method(*bert, generator=seeded(), **options)


@pytest.mark.parametrize("method", [leave_one_out, occlusion, partition_shap])
def test_a_blank_text_scores_nothing(method):
    given = case(tiny_classifier(), ["", "good"])
    actual = method(*given)
    assert not actual[0].any()
    assert actual[1].any()
