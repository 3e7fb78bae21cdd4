"""Exact and sampled permutation tests. Where all arrangements are few they are counted, else 100,000 are drawn."""

from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

_MOST = 100_000
_CLOSE = 1e-9  # sums of the same numbers in another order


def signs(differences: NDArray[np.float64], seed: int) -> float:
    """Two-sided p of paired differences (n,): under no effect each might as well have had the other sign.

    With n pairs no p is below 2 / 2^n: five seeds cannot show p < 0.05.
    """
    n = len(differences)
    if 2**n <= _MOST:
        flips = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(np.abs(flips @ differences) >= abs(differences.sum()) - _CLOSE))
    flips = 1 - 2 * np.random.default_rng(seed).integers(0, 2, (_MOST, n))
    return _sampled(np.abs(flips @ differences) >= abs(differences.sum()) - _CLOSE)


def two_groups(first: NDArray[np.float64], second: NDArray[np.float64], seed: int) -> float:
    """Two-sided p of the difference of two means, values exchanged between the groups."""
    values, size = np.concatenate([first, second]), len(first)
    total = values.sum()

    def distances(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.abs(sums / size - (total - sums) / (len(values) - size)))

    actual = float(distances(np.array([first.sum()]))[0])
    if comb(len(values), size) <= _MOST:
        sums = np.array([values[list(subset)].sum() for subset in combinations(range(len(values)), size)])
        return float(np.mean(distances(sums) >= actual - _CLOSE))
    generator = np.random.default_rng(seed)
    sums = np.array([generator.permutation(values)[:size].sum() for _ in range(_MOST)])
    return _sampled(distances(sums) >= actual - _CLOSE)


def _sampled(as_far: NDArray[np.bool_]) -> float:
    """The actual arrangement counts as one of those drawn, so that p is never 0 (Phipson & Smyth 2010)."""
    return float((as_far.sum() + 1) / (len(as_far) + 1))
