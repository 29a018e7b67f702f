"""How surrogates sample and fit, and what the tree of `partition_shap` splits."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import pairwise_distances
from torch.testing import assert_close

from expnet.methods.coalitions import Game, players, values
from expnet.methods.families import surrogate
from expnet.methods.families.partition import partition_shap
from expnet.methods.families.surrogate import kernel_shap, lime, shapley_sampling
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier

BERT = tiny_classifier()
EIGHT = "a good film, one bad text !"
LONG = "the first one long text, another good short film. bad text! one good film"


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def case(*texts):
    return BERT, BERT.encode([Text.of(text) for text in texts]), torch.zeros(len(texts), dtype=torch.long)


def game_of(given):
    return Game(*given, players(given[1], "token"), "mask", "logit")


@pytest.fixture
def seen(monkeypatch):
    """What coalitions a method of the module asks for, and what they are worth."""
    calls = []

    def spy(game, coalitions):
        calls.append((coalitions, values(game, coalitions)))
        return calls[-1][1]

    monkeypatch.setattr(surrogate, "values", spy)
    return calls


class TestLime:
    def test_it_is_scikit_learn_s_ridge_weighted_as_the_lime_package_does(self, seen):
        given = case(EIGHT)
        actual = lime(*given, generator=seeded(), samples=60)[0][given[1].real[0]]
        kept, worth = seen[0][0][0].double().numpy(), seen[0][1][0].double().numpy()
        distance = 100 * pairwise_distances(kept, kept[:1], metric="cosine").ravel()
        weight = np.sqrt(np.exp(-(distance**2) / 25**2))
        expected = Ridge(alpha=1).fit(kept, worth, sample_weight=weight).coef_
        assert_close(actual, torch.from_numpy(expected).float(), atol=1e-5, rtol=1e-4)

    def test_the_first_sample_is_the_whole_text_and_of_the_others_any_number_is_gone(self, seen):
        lime(*case(EIGHT), generator=seeded(), samples=8001)
        kept = seen[0][0][0]
        assert kept[0].all()
        gone = (~kept[1:]).sum(1)
        # 1000 of each number are expected, with a standard deviation of 30; a token is gone in (1 + 8) / 2 of 8.
        assert_close(torch.bincount(gone, minlength=9)[1:].float(), torch.full((8,), 1000.0), atol=150, rtol=0)
        assert_close((~kept[1:]).float().mean(0), torch.full((8,), 4.5 / 8), atol=0.03, rtol=0)


class TestKernelShap:
    def test_samples_are_pairs_of_opposites_and_no_single_token_comes_twice(self, seen):
        kernel_shap(*case(LONG), generator=seeded(), samples=200)
        kept = seen[0][0][0, 2:]
        assert torch.equal(kept[::2], ~kept[1::2])
        assert not kept.all(1).any()
        assert kept.any(1).all()
        single = kept[kept.sum(1) == 1]
        assert len(single.unique(dim=0)) == len(single) == kept.shape[1]

    def test_sizes_are_drawn_as_the_kernel_weighs_them(self, seen):
        given = case(LONG)
        n, samples = int(given[1].real.sum()), 20000
        kernel_shap(*given, generator=seeded(), samples=samples)
        size = torch.arange(1, n).double()
        kernel = 1 / (size * (n - size))
        counted = torch.bincount(seen[0][0][0, 2:].sum(1), minlength=n)[2 : n - 1].double()
        # Of 20,000 the rarest size gets about 500, with a standard deviation of 22.
        assert_close(counted / counted.sum(), kernel[1:-1] / kernel[1:-1].sum(), atol=0.006, rtol=0)

    def test_sampled_it_is_the_constrained_least_squares_fit(self, seen):
        """Solved a second time by Lagrange's conditions. Single tokens weigh their share of the kernel."""
        given = case(EIGHT)
        n, samples = 8, 200
        actual = kernel_shap(*given, generator=seeded(), samples=samples)[0][given[1].real[0]]
        kept, worth = (array[0].double().numpy() for array in seen[0])
        (nothing, everything), kept, worth = worth[:2], kept[2:], worth[2:]
        size = np.arange(1, n)
        share = round(samples / 2 * 2 / (n - 1) / (1 / (size * (n - size))).sum())
        weight = np.full(samples, (samples / 2 - share) / (samples / 2 - n))
        weight[: 2 * n] = share / n
        left = np.block([[2 * (kept.T * weight) @ kept, np.ones((n, 1))], [np.ones((1, n)), np.zeros((1, 1))]])
        right = np.append(2 * (kept.T * weight) @ (worth - nothing), everything - nothing)
        assert_close(actual, torch.from_numpy(np.linalg.solve(left, right)[:n]).float(), atol=1e-5, rtol=1e-4)

    def test_more_samples_come_nearer_to_what_all_coalitions_give(self):
        given = case(EIGHT)
        exact = kernel_shap(*given, generator=seeded(), samples=2**8)
        errors = []
        for samples in (20, 60, 200):
            estimates = [kernel_shap(*given, generator=seeded(seed), samples=samples) for seed in range(10)]
            errors.append(float((torch.stack(estimates) - exact).square().mean()))
        assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("method", [lime, kernel_shap, shapley_sampling])
def test_the_generator_alone_decides_and_texts_beside_change_nothing(method):
    alone, beside = case(LONG), case("bad", LONG, "")
    torch.manual_seed(1)
    actual = method(*alone, generator=seeded(3))
    torch.manual_seed(2)
    assert torch.equal(method(*alone, generator=seeded(3)), actual)
    assert not torch.equal(method(*alone, generator=seeded(4)), actual)
    width = alone[1].ids.shape[1]
    assert_close(method(*beside, generator=seeded(3))[1, :width], actual[0], atol=1e-4, rtol=1e-3)


class TestPartition:
    @pytest.mark.parametrize("text", ["a good film, bad", "one bad ax. good, short", EIGHT])
    def test_scores_are_owen_values_of_the_tree_that_shap_makes_of_the_tokens(self, text):
        """What a token adds to any choice of the branches that stand beside its way to the root, on average."""
        given = case(text)
        pieces = given[0].tokenizer.convert_ids_to_tokens(given[1].ids[0][given[1].real[0]])
        expected = []
        for token, branches in enumerate(branches_beside(shap_tree(pieces))):
            chosen = itertools.product([False, True], repeat=len(branches))
            without = torch.zeros(2 ** len(branches), len(pieces), dtype=torch.bool)
            for row, choice in enumerate(chosen):
                without[row, [leaf for branch in itertools.compress(branches, choice) for leaf in branch]] = True
            joined = without.clone()
            joined[:, token] = True
            before, after = values(game_of(given), torch.cat([without, joined])[None])[0].chunk(2)
            expected.append((after - before).mean())
        actual = partition_shap(*given, samples=1000)[0][given[1].real[0]]
        assert_close(actual, torch.stack(expected), atol=1e-4, rtol=1e-3)

    def test_the_parts_of_a_pair_have_branches_of_their_own(self):
        encoding = BERT.encode([Text.of("good film", "bad text")])
        given = BERT, encoding, torch.zeros(1, dtype=torch.long)
        (first, second), real = ([True, True, False, False], [False, False, True, True]), encoding.real[0]
        ends = torch.tensor([[False] * 4, first, second, [True] * 4])
        nothing, one, other, both = values(game_of(given), ends[None])[0]
        expected = torch.stack([one - nothing + both - other, other - nothing + both - one]) / 2
        actual = partition_shap(*given)[0][real].view(2, 2).sum(1)
        assert_close(actual, expected, atol=1e-4, rtol=1e-3)

    @pytest.mark.parametrize("samples", [2, 3, 10])
    def test_what_is_not_split_is_shared(self, samples):
        given = case(LONG)
        game = game_of(given)
        nothing, everything = values(game, torch.stack([~game.everyone, game.everyone], dim=1))[0]
        actual = partition_shap(*given, samples=samples)[0][given[1].real[0]]
        assert_close(actual.sum(), everything - nothing, atol=1e-4, rtol=1e-4)
        if samples == 2:
            assert_close(actual, actual.mean().expand_as(actual), atol=1e-6, rtol=1e-4)


def shap_tree(pieces):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from shap.maskers._text import partition_tree
    return partition_tree(pieces, [])[:, :2].astype(int).tolist()


def branches_beside(tree):
    """Return for each leaf the leaves of each branch that stands beside its way to the root."""
    leaves = [[leaf] for leaf in range(len(tree) + 1)]
    beside = [[] for _ in leaves]
    for left, right in tree:
        for near, far in ((left, right), (right, left)):
            for leaf in leaves[near]:
                beside[leaf].append(leaves[far])
        leaves.append(leaves[left] + leaves[right])
    return beside
