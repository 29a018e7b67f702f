"""How sure a figure is: its mean with an interval, and whether two columns of figures differ."""

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from expnet.errors import InputError

# Up to here all 2ⁿ choices of signs are tried, 4,096 at most.
_EXACT_PAIRS = 12
# Tables ask for the same draws thousands of times; they are kept up to this number, which is 8 MB.
_REMEMBERED = 2**20
# Draws at once, so that thousands of texts need little memory.
_BLOCK = 500


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of a metric over the `n` texts on which it is defined, and its bootstrap interval."""

    mean: float
    n: int
    low: float
    high: float


def estimate(values: Float[ndarray, " texts"], *, seed: int = 0, draws: int = 1000, level: float = 0.95) -> Estimate:
    """Return mean, count and interval; NaN values are left out and not counted."""
    low, high = bootstrap(values, seed=seed, draws=draws, level=level)
    defined = values[~np.isnan(values)]
    return Estimate(float(defined.mean()) if len(defined) else float("nan"), len(defined), low, high)


def bootstrap(
    values: Float[ndarray, " texts"], *, seed: int = 0, draws: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean over texts; NaN values are left out."""
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    n = len(values)
    drawn = _remembered if draws * n <= _REMEMBERED else _drawn
    means = values[drawn(seed, draws, n)].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _drawn(seed: int, draws: int, n: int) -> Int[ndarray, "{draws} {n}"]:
    """Return which of `n` values each draw takes, with replacement."""
    return np.random.default_rng(seed).integers(0, n, (draws, n))


_remembered = lru_cache(maxsize=8)(_drawn)


def paired_test(
    a: Float[ndarray, " texts"], b: Float[ndarray, " texts"], *, seed: int = 0, draws: int = 10000
) -> float:
    """Return the two-sided p-value of a sign-flip permutation test on the mean difference.

    If both columns came from the same method, each difference would as likely have the other sign. Up to 12 pairs all
    signs are tried, and p is exact; beyond, p is (1 + as extreme draws) / (1 + draws), which is never 0.

    Args:
        a: A metric of one method, text by text.
        b: That of another on the same texts. Pairs with a NaN are left out.
        seed: Of the draws.
        draws: How many, beyond 12 pairs.

    Returns:
        NaN where no pair is left.

    Raises:
        InputError: If the columns differ in length.
    """
    if len(a) != len(b):
        raise InputError(f"Expected pairs of values on the same texts, got {len(a)} and {len(b)} values.")
    differences = (a - b)[~np.isnan(a - b)]
    n = len(differences)
    if not n:
        return float("nan")
    # Sums that are equal but for rounding are as extreme.
    least = abs(differences.sum()) - 1e-12 * np.abs(differences).sum()
    if n <= _EXACT_PAIRS:
        signs = np.array(list(itertools.product((-1, 1), repeat=n)))
        return float((np.abs(signs @ differences) >= least).mean())
    generator, extreme = np.random.default_rng(seed), 0
    for start in range(0, draws, _BLOCK):
        signs = generator.choice((-1.0, 1.0), (min(_BLOCK, draws - start), n))
        extreme += int((np.abs(signs @ differences) >= least).sum())
    return (1 + extreme) / (1 + draws)


def holm(p_values: Float[ndarray, " tests"]) -> Float[ndarray, " tests"]:
    """Adjust p-values for having made several tests (Holm 1979); NaN stays NaN and counts as no test.

    An adjusted value below α may be called significant; the chance of one such call in error is then at most α.
    """
    adjusted = np.full(len(p_values), np.nan)
    order = np.argsort(p_values, kind="stable")[: int((~np.isnan(p_values)).sum())]  # NaN is sorted to the end
    steps = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
