"""Correlation of two values over few units, such as ten recipes: coefficients, exact tests, intervals.

Pearson's r, Spearman's rho and Kendall's tau-b are each the cosine of two vectors: of values less their mean, of ranks
less theirs, of the signs of all pairs' differences. So one function serves all three, and many rows at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import factorial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Coefficient = Literal["pearson", "spearman", "kendall"]
COEFFICIENTS: tuple[Coefficient, ...] = ("pearson", "spearman", "kendall")
Vector = NDArray[np.float64]
Orders = NDArray[np.intp]  # (orders, units)
LEAST = 4  # units; below that a coefficient says nothing
DRAWS = 100_000  # of orders, where they are more: those of nine units and up
_CLOSE = 1e-9  # the same numbers in another order


@dataclass(frozen=True)
class Unit:
    """One unit, each value by seed: (seeds,) both, the same seeds in the same order."""

    first: Vector
    second: Vector


def coefficient(kind: Coefficient, first: Vector, second: Vector) -> float | None:
    """Between -1 and 1; None where one of them is the same for all."""
    value = float(_coefficients(kind, first, second))
    return None if np.isnan(value) else value


def p_value(kind: Coefficient, first: Vector, second: Vector, seed: int, draws: int = DRAWS) -> float:
    """Two-sided, by permutation of the units: exact up to eight of them, else over 100,000 drawn orders."""
    if kind == "kendall":
        lower, upper = np.triu_indices(len(first), 1)
        signs = np.sign(second[:, None] - second).astype(np.float32)
        first_signs = np.sign(first[lower] - first[upper]).astype(np.float32)
        concordances = signs.ravel().take(_pairs_of_orders(len(first), seed, draws)) @ first_signs
        return share(np.abs(concordances), abs(float(concordances[0])))
    first_features, second_features = _features(kind, first), _features(kind, second)
    lengths = max(float(np.linalg.norm(first_features) * np.linalg.norm(second_features)), 1e-300)
    products = second_features[unit_orders(len(first), seed, draws)] @ first_features / lengths
    return share(np.abs(products), abs(products[0]))


def partial(
    first: Vector, second: Vector, covariate: Vector, seed: int, draws: int = DRAWS
) -> tuple[float, float] | None:
    """Pearson's coefficient of what a straight line on `covariate` leaves of both values, and its p by permuting
    the second's residuals (Freedman & Lane 1983). None where nothing is left, or units are fewer than five."""
    if len(covariate) <= LEAST:
        return None
    line = np.column_stack([np.ones(len(covariate)), covariate])
    off = np.eye(len(covariate)) - line @ np.linalg.pinv(line)
    first_residuals, second_residuals = off @ first, off @ second
    if any(np.linalg.norm(off @ values) < _CLOSE * np.linalg.norm(values) for values in (first, second)):
        return None
    shuffled_residuals = second_residuals[unit_orders(len(covariate), seed, draws)]
    lengths = np.linalg.norm(shuffled_residuals @ off, axis=1) * np.linalg.norm(first_residuals)
    values = shuffled_residuals @ first_residuals / np.maximum(lengths, 1e-300)
    return float(values[0]), share(np.abs(values), abs(values[0]))


def interval(kind: Coefficient, units: Sequence[Unit], seed: int, draws: int = 2000) -> tuple[float, float] | None:
    """95 %, by percentiles of the bootstrap over units, and seeds within each. None where units are too few or alike.

    Bias-corrected and accelerated (Efron 1987) it would be too narrow: what seeds that are drawn again add draws
    coefficients towards 0, which it takes for a bias of the value itself. `make study-simulations` has the numbers.
    """
    drawn_values = _coefficients(kind, *_drawn(units, draws, np.random.default_rng(seed)))
    drawn_values = drawn_values[~np.isnan(drawn_values)]
    if len(units) < LEAST or len(drawn_values) < draws / 2:
        return None
    low, high = np.quantile(drawn_values, [0.025, 0.975])
    return float(low), float(high)


def means(units: Sequence[Unit]) -> tuple[Vector, Vector]:
    """Over seeds: (units,) each."""
    return np.array([unit.first.mean() for unit in units]), np.array([unit.second.mean() for unit in units])


def smallest(units: int, alpha: float) -> float | None:
    """The smallest |rho| of Spearman, no ties, whose p is below alpha. None: not even 1 or -1 would do."""
    ranks = np.arange(units) - (units - 1) / 2
    values = np.sort(np.abs(ranks[unit_orders(units, 0, draws=factorial(9))] @ ranks)) / float(ranks @ ranks)
    if alpha <= 2 / factorial(units):
        return None
    distinct = np.unique(np.round(values, 9))
    p_values = 1 - np.searchsorted(values, distinct - _CLOSE) / len(values)
    low_enough = distinct[p_values < alpha]
    return float(low_enough[0]) if len(low_enough) else 1.0


@lru_cache(maxsize=4)
def unit_orders(units: int, seed: int, draws: int = DRAWS) -> Orders:
    """All orders of so many units, or drawn ones where they are more than `draws`; the first is the order they have."""
    if factorial(units) > draws:
        shuffled_orders = np.random.default_rng(seed).permuted(np.tile(np.arange(units), (draws, 1)), axis=1)
        return np.concatenate([np.arange(units)[None], shuffled_orders])
    orders = np.zeros((1, 1), np.intp)
    for size in range(1, units):
        orders = np.concatenate([np.insert(orders, at, size, axis=1) for at in range(size, -1, -1)])
    return orders


@lru_cache(maxsize=2)
def _pairs_of_orders(units: int, seed: int, draws: int) -> NDArray[np.int16]:
    """Of each order its pairs, as places in a raveled (units, units) matrix."""
    lower, upper = np.triu_indices(units, 1)
    orders = unit_orders(units, seed, draws)
    return (orders[:, lower] * units + orders[:, upper]).astype(np.int16)


def share(distances: NDArray[np.floating], actual: float) -> float:
    """Of all orders how many lie at least as far as the actual one, which is the first of them: never none."""
    return float(np.mean(distances >= actual - _CLOSE))


def _features(kind: Coefficient, values: Vector) -> Vector:
    """What the coefficient is the cosine of: (..., units) or, of pairs, (..., units²)."""
    if kind == "kendall":
        signs = np.sign(values[..., :, None] - values[..., None, :])
        return np.asarray(signs.reshape(*values.shape[:-1], -1))
    numbers = stats.rankdata(values, axis=-1) if kind == "spearman" else values
    return np.asarray(numbers - numbers.mean(axis=-1, keepdims=True))


def _coefficients(kind: Coefficient, first: Vector, second: Vector) -> Vector:
    """(..., units) both; NaN where one of them is constant."""
    first_features, second_features = _features(kind, first), _features(kind, second)
    lengths = np.sqrt((first_features**2).sum(axis=-1) * (second_features**2).sum(axis=-1))
    scale = np.abs(first).max(axis=-1) * np.abs(second).max(axis=-1) if kind == "pearson" else 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(
            lengths > 1e-12 * scale, np.clip((first_features * second_features).sum(axis=-1) / lengths, -1, 1), np.nan
        )


def _drawn(units: Sequence[Unit], draws: int, generator: np.random.Generator) -> tuple[Vector, Vector]:
    """Means of units drawn anew with their seeds drawn anew: (draws, units) each."""
    counts = np.array([len(unit.first) for unit in units])
    values = np.zeros((len(units), counts.max(), 2))
    for at, unit in enumerate(units):
        values[at, : counts[at]] = np.column_stack([unit.first, unit.second])
    units_chosen = generator.integers(0, len(units), (draws, len(units)))
    of_units = counts[units_chosen][..., None]
    seeds_chosen = (generator.random((*units_chosen.shape, counts.max())) * of_units).astype(int)
    is_seed = np.arange(counts.max()) < of_units
    again = values[units_chosen[..., None], seeds_chosen] * is_seed[..., None]
    sums = again.sum(axis=2) / of_units
    return sums[..., 0], sums[..., 1]
