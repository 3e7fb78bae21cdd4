"""Coefficients, exact p-values and intervals of few units, beside scipy and brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from eval.statistics import correlations
from eval.statistics.correlations import COEFFICIENTS, Coefficient, Unit

SCIPY = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}
pairs = st.integers(4, 7).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(-9, 9).map(float), min_size=n, max_size=n)] * 2)
)
kinds = st.sampled_from(COEFFICIENTS)


@given(kinds, pairs)
def test_coefficients_as_scipy(kind: Coefficient, values: tuple[list[float], list[float]]) -> None:
    first, second = map(np.array, values)
    actual = correlations.coefficient(kind, first, second)
    if len(set(values[0])) == 1 or len(set(values[1])) == 1:
        assert actual is None
    else:
        assert actual == pytest.approx(SCIPY[kind](first, second)[0], abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(kinds, pairs.filter(lambda values: all(len(set(v)) > 1 for v in values) and len(values[0]) < 6))
def test_p_by_counting_every_order(kind: Coefficient, values: tuple[list[float], list[float]]) -> None:
    first, second = map(np.array, values)
    actual = abs(SCIPY[kind](first, second)[0])
    every = [abs(SCIPY[kind](first, np.array(order))[0]) for order in itertools.permutations(second)]
    expected = np.mean([value >= actual - 1e-9 for value in every])
    assert correlations.p_value(kind, first, second, 0) == pytest.approx(expected)


def test_orders_begin_with_the_one_there_is() -> None:
    for units in (1, 4, 10):
        orders = correlations.unit_orders(units, 3)
        assert (orders[0] == np.arange(units)).all() and (np.sort(orders, axis=1) == np.arange(units)).all()
    assert len({tuple(order) for order in correlations.unit_orders(5, 0).tolist()}) == 120


@pytest.mark.slow
@pytest.mark.parametrize("kind", COEFFICIENTS)
def test_drawn_orders_are_near_the_law_for_many(kind: Coefficient) -> None:
    random = np.random.default_rng(1)
    first = random.normal(size=20)
    second = first / 2 + random.normal(size=20)
    assert correlations.p_value(kind, first, second, 1) == pytest.approx(SCIPY[kind](first, second)[1], abs=0.01)


@given(st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_partial_is_what_three_coefficients_say(seed: int) -> None:
    random = np.random.default_rng(seed)
    first, second, given_values = random.normal(size=(3, 7))
    a, b, c = (stats.pearsonr(*pair)[0] for pair in ((first, second), (first, given_values), (second, given_values)))
    partial = correlations.partial(first, second, given_values, 0)
    assert partial is not None
    assert partial[0] == pytest.approx((a - b * c) / np.sqrt((1 - b**2) * (1 - c**2)))
    assert 0 < partial[1] <= 1


def test_partial_where_nothing_is_left() -> None:
    sizes = np.arange(6.0)
    assert correlations.partial(2 * sizes + 1, np.array([1.0, 5, 2, 4, 3, 6]), sizes, 0) is None
    assert correlations.partial(np.array([1.0, 5, 2, 4]), np.array([1.0, 2, 3, 5]), np.arange(4.0), 0) is None


def test_the_interval_as_scipys() -> None:
    """With one seed a unit it is scipy's percentile interval of a paired sample."""
    random = np.random.default_rng(2)
    first = random.normal(size=15)
    second = first + random.normal(size=15)
    units = [Unit(np.array([x]), np.array([y])) for x, y in zip(first, second, strict=True)]
    expected = stats.bootstrap(
        (first, second), lambda x, y, axis: correlations._coefficients("pearson", x, y), paired=True,
        vectorized=True, n_resamples=5000, method="percentile", rng=np.random.default_rng(3),
    ).confidence_interval  # fmt: skip
    assert correlations.interval("pearson", units, 3, draws=5000) == pytest.approx(tuple(expected))


def test_seeds_that_differ_in_number() -> None:
    random = np.random.default_rng(5)
    units = [Unit(random.normal(at, 0.1, count), random.normal(at, 0.1, count))
             for at, count in enumerate((1, 3, 2, 5, 3, 1, 2))]  # fmt: skip
    ends = correlations.interval("spearman", units, 0)
    assert ends is not None and 0.7 < ends[0] <= ends[1] <= 1
    means = correlations._drawn(units, 4000, np.random.default_rng(0))[0]
    assert means.mean() == pytest.approx(3, abs=0.05) and means.shape == (4000, 7)


def test_the_smallest_coefficient_that_could_be_shown() -> None:
    """Zar's table of Spearman's rho: two-sided p at most 0.05 needs 1.000 of five, 0.886 of six, 0.700 of nine."""
    assert correlations.smallest(6, 0.0501) == pytest.approx(0.886, abs=1e-3)
    assert correlations.smallest(9, 0.05) == pytest.approx(0.700, abs=1e-3)
    assert correlations.smallest(4, 0.05) is None  # the two ends of 24 orders are 8 %
    assert correlations.smallest(5, 0.05) == 1.0
