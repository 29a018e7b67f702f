"""Fused attention equals the softmax and its denominator, on every path, and rows that follow from it are exact."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from expnet.attention import kernels
from expnet.attention.kernels import BLOCK, CAUSAL, FAR, Band, Scores, fused_attention, mixed_columns, mixed_rows

# Sums of up to 300 float32 terms in another order.
TORCH = tuple(map(int, torch.__version__.split(".")[:2]))
SUMS = {"atol": 2e-5, "rtol": 1e-5}
LOW = torch.finfo(torch.float32).min
BANDS = {"all": Band(), "causal": CAUSAL, "window": Band(6, 6), "causal window": Band(9, 0), "ahead": Band(0, FAR)}


def dense(scores: Scores) -> Tensor:
    """The definition: the whole matrix of scores, each hidden entry by its own comparison."""
    full = scores.query @ scores.key.transpose(2, 3) * scores.scale
    if scores.cap is not None:
        full = torch.tanh(full / scores.cap) * scores.cap
    if scores.bias is not None:
        full = full + scores.bias
    i, j = torch.arange(full.shape[2])[:, None], torch.arange(full.shape[3])
    return full.masked_fill((j < i - scores.band.before) | (j > i + scores.band.after), -torch.inf)


def states(tokens: int, *, width: int = 8, device: str = "cpu", dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    drawn = [2 * torch.randn(2, 3, tokens, width, generator=generator) for _ in range(3)]
    return [each.to(device, dtype) for each in drawn]


def bias(kind: str, tokens: int) -> Tensor | None:
    """Padding on the right of the second text, alone or on top of a bias that differs by row."""
    hidden = torch.zeros(2, 1, 1, tokens)
    hidden[1, ..., tokens // 2 + 1 :] = LOW
    by_row = torch.randn(1, 3, tokens, tokens, generator=torch.Generator().manual_seed(tokens))
    return {"none": None, "padding": hidden, "by row": (hidden + by_row).clamp(min=LOW)}[kind]


def made(tokens: int, kind: str = "none", band: str = "all", cap: float | None = None) -> tuple[Scores, Tensor]:
    query, key, value = states(tokens)
    return Scores(query, key, 0.3, bias(kind, tokens), BANDS[band], cap), value


@pytest.mark.parametrize("tokens", [1, BLOCK + 1, 300])
@pytest.mark.parametrize("flash", [True, False])
class TestOnTheProcessor:
    @pytest.fixture(autouse=True)
    def _path(self, flash, monkeypatch):
        if not flash:
            monkeypatch.setattr(kernels, "_kernel_for", lambda scores, value: None)

    @pytest.mark.parametrize("cap", [None, 2.0])
    @pytest.mark.parametrize("band", BANDS)
    @pytest.mark.parametrize("kind", ["none", "padding", "by row"])
    def test_fused_attention_equals_the_softmax_and_its_denominator(self, tokens, kind, band, cap):
        scores, value = made(tokens, kind, band, cap)
        output, lse = fused_attention(scores, value)
        full = dense(scores)
        real = ~torch.isneginf(full.clamp(min=LOW / 2).masked_fill(full <= LOW / 2, -torch.inf)).all(-1)
        # A query that sees nothing but padding may attend as it likes.
        assert_close(output[real], (full.softmax(-1) @ value)[real], **SUMS)
        assert_close(lse[real], full.logsumexp(-1)[real], **SUMS)

    def test_queries_and_keys_may_differ_in_number_and_values_in_width(self, tokens):
        query, key, _ = states(tokens)
        value = torch.cat([key, key], dim=-1)
        output, lse = fused_attention(Scores(query[:, :, :1], key, 1.0), value)
        full = query[:, :, :1] @ key.transpose(2, 3)
        assert_close(output, full.softmax(-1) @ value, **SUMS)
        assert_close(lse, full.logsumexp(-1), **SUMS)

    @pytest.mark.parametrize("cap", [None, 2.0])
    @pytest.mark.parametrize("band", BANDS)
    @pytest.mark.parametrize("kind", ["none", "padding", "by row"])
    def test_mixed_rows_are_the_weighted_sum_of_rows(self, tokens, kind, band, cap):
        scores, value = made(tokens, kind, band, cap)
        weights = torch.rand(2, tokens, generator=torch.Generator().manual_seed(1)) - 0.3
        weights[1, tokens // 2 + 1 :] = 0  # padding counts for nothing
        _, lse = fused_attention(scores, value)
        expected = (dense(scores).softmax(-1) * weights[:, None, :, None]).nan_to_num().sum(2)
        assert_close(mixed_rows(scores, lse, weights), expected, **SUMS)

    @pytest.mark.parametrize("cap", [None, 2.0])
    @pytest.mark.parametrize("band", BANDS)
    @pytest.mark.parametrize("kind", ["none", "padding", "by row"])
    def test_mixed_columns_are_the_weighted_sum_of_columns(self, tokens, kind, band, cap):
        scores, value = made(tokens, kind, band, cap)
        weights = torch.rand(2, tokens, generator=torch.Generator().manual_seed(1)) - 0.3
        _, lse = fused_attention(scores, value)
        full = dense(scores)
        real = ~(full <= LOW / 2).all(-1)  # a query that sees nothing but padding may attend as it likes
        expected = torch.einsum("bhij,bj->bhi", full.softmax(-1), weights)
        assert_close(mixed_columns(scores, lse, weights)[real], expected[real], **SUMS)

    @pytest.mark.skipif(TORCH < (2, 13), reason="torch 2.7 misreads a bias of each head, which nothing here hands over")
    def test_mixed_rows_are_the_log_sum_exp_of_the_swapped_call(self, tokens):
        """With w > 0: sum_i w_i a_ij = exp(logsumexp_i(k_j · q_i * scale + log w_i - lse_i))."""
        scores, value = made(tokens)
        weights = torch.rand(2, tokens, generator=torch.Generator().manual_seed(1)) + 0.1
        _, lse = fused_attention(scores, value)
        rows = (weights.log()[:, None] - lse)[:, :, None]
        _, swapped = fused_attention(Scores(scores.key, scores.query, scores.scale, rows), scores.query)
        assert_close(mixed_rows(scores, lse, weights), swapped.exp(), **SUMS)


@pytest.mark.parametrize("after", [0, 5, 6, 7])
@pytest.mark.parametrize("before", [0, 5, 6, 7])
def test_a_band_hides_also_the_one_token_at_its_edge(before, after):
    """Seven tokens: a band of 6 on each side hides nothing, one of 5 hides the first token from the last or back."""
    query, key, value = states(7)
    scores = Scores(query, key, 0.3, band=Band(before, after))
    output, lse = fused_attention(scores, value)
    full = dense(scores)
    assert_close(output, full.softmax(-1) @ value, **SUMS)
    assert_close(lse, full.logsumexp(-1), **SUMS)


def test_rows_of_weight_zero_add_nothing_even_where_they_attend_infinitely():
    """Padding that sees nothing has a denominator of 0, whose rows are infinite; times 0 they would be NaN."""
    scores, value = made(5)
    weights = torch.tensor([[0.2, 0.2, 0.2, 0.2, 0.2], [0.5, 0.5, 0.0, 0.0, 0.0]])
    _, lse = fused_attention(scores, value)
    expected = torch.einsum("bhij,bi->bhj", dense(scores).softmax(-1), weights)
    lse[1, :, 2:] = -torch.inf
    assert_close(mixed_rows(scores, lse, weights), expected, **SUMS)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 12))
def test_the_keys_of_a_block_are_those_that_some_query_sees(before, after, tokens):
    band = Band(before, after)
    places = torch.arange(tokens)
    for first in range(tokens):
        for last in range(first, tokens):
            near = set(places[band.keys(first, last)].tolist())
            seen = {j for j in range(tokens) for i in range(first, last + 1) if i - before <= j <= i + after}
            assert seen == near


def test_a_kernel_counts_half_precision_in_full():
    """Blocks of bfloat16 states are as exact as their inputs: the same as float32 on the same numbers."""
    query, key, value = states(200, dtype=torch.bfloat16)
    scores, wide = Scores(query, key, 0.3), Scores(query.float(), key.float(), 0.3)
    weights = torch.full((2, 200), 1 / 200)
    _, lse = fused_attention(wide, value.float())
    assert_close(mixed_rows(scores, lse, weights), mixed_rows(wide, lse, weights), **SUMS)


def naive(query, key, value, bias, causal, scale):
    full = dense(Scores(query, key, scale, bias, CAUSAL if causal else Band()))
    return full.softmax(-1) @ value, full.logsumexp(-1)


def lacks(*_):
    raise RuntimeError("No available kernel")


def in_bits(*given):
    """A kernel with logarithms of base 2, as some have them."""
    output, lse = naive(*given)
    return output, lse / torch.log(torch.tensor(2.0))


def forgets_the_order(query, key, value, bias, _causal, scale):
    return naive(query, key, value, bias, False, scale)


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(
    ("kernels_there", "chosen"),
    [
        ([naive, in_bits], naive),
        ([lacks, in_bits, forgets_the_order, naive], naive),
        ([lacks, in_bits, forgets_the_order], None),
        ([], None),
    ],
)
def test_the_first_kernel_that_runs_and_gives_what_the_definition_gives_is_chosen(
    kernels_there, chosen, biased, monkeypatch
):
    monkeypatch.setattr(kernels, "_CUDA", tuple(kernels_there))
    kernels._offered.cache_clear()
    assert kernels._offered(torch.device("cpu"), torch.float32, 8, 8, biased) is chosen
    kernels._offered.cache_clear()


@pytest.mark.parametrize("tokens", [7, 37, 48])
def test_a_bias_is_aligned_without_being_repeated(tokens):
    query, key, _ = states(tokens)
    hidden = bias("padding", tokens)
    aligned = kernels._aligned(query, key, hidden)
    assert_close(aligned, hidden.expand(2, 3, tokens, tokens), atol=0, rtol=0)
    assert aligned.stride()[1:3] == (0, 0)
    assert aligned.stride(0) % 16 == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("tokens", [5, 129, 300])
@pytest.mark.parametrize("kind", ["none", "padding"])
@pytest.mark.parametrize("band", ["all", "causal", "window"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_cuda_attention_equals_the_softmax_and_its_denominator(tokens, kind, band, dtype):
    query, key, value = states(tokens, width=32, device="cuda", dtype=dtype)
    hidden = bias(kind, tokens)
    scores = Scores(query, key, 0.1, None if hidden is None else hidden.cuda().to(dtype), BANDS[band])
    output, lse = fused_attention(scores, value)
    cpu = Scores(query.cpu().float(), key.cpu().float(), 0.1, hidden, BANDS[band])
    tolerance = {"atol": 1e-4, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 3e-2, "rtol": 3e-2}
    seen = dense(cpu)
    real = (seen > LOW / 2).any(-1)
    assert_close(output.cpu().float()[real], (seen.softmax(-1) @ value.cpu().float())[real], **tolerance)
    assert_close(lse.cpu()[real], seen.logsumexp(-1)[real], **tolerance)


def test_attention_within_a_window_computes_only_what_is_near(monkeypatch):
    """The kernel gets each block of queries with the keys of the window, so that time is linear in the length."""
    pairs: list[int] = []

    def counted(query: Tensor, key: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
        pairs.append(query.shape[2] * key.shape[2])
        return kernels._flash_cpu(query, key, *rest)

    monkeypatch.setattr(kernels, "_kernel_for", lambda scores, value: counted)
    query, key, value = states(10 * BLOCK)
    fused_attention(Scores(query, key, 0.3, band=Band(20, 20)), value)
    assert sum(pairs) == 8 * BLOCK * (BLOCK + 40) + 2 * BLOCK * (BLOCK + 20)
