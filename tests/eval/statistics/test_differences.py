"""Intervals, p-values and power of differences, beside scipy where it has the same case."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from eval.statistics import intervals, power, seeds
from eval.statistics.differences import Compared, of_target
from eval.statistics.intervals import MeanDifference

numbers = st.floats(-20, 20).map(lambda value: round(value, 2))


@given(st.lists(numbers, min_size=2, max_size=8).filter(lambda values: len(set(values)) > 1))
def test_one_recipe_without_examples_is_a_t_test(differences: list[float]) -> None:
    (difference,) = of_target([Compared(np.array(differences), None)], 0)
    expected = stats.ttest_1samp(differences, 0)
    assert difference.mean is not None and difference.p is not None
    assert difference.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    interval = expected.confidence_interval(0.95)
    assert difference.mean.interval() == pytest.approx((interval.low, interval.high), rel=1e-6)


def test_a_single_seed_has_no_interval() -> None:
    (difference,) = of_target([Compared(np.array([1.5]), None)], 0)
    assert difference.value == 1.5
    assert difference.mean is difference.p is difference.detectable is None


def test_seeds_that_agree_exactly() -> None:
    (without_effect, certain) = of_target([Compared(np.zeros(3), None), Compared(np.full(3, 2.0), None)], 0)
    assert without_effect.p is certain.p is certain.better is None


@given(st.floats(0.01, 5), st.floats(0.01, 5), st.floats(1, 30), st.floats(-10, 10))
def test_p_is_where_the_interval_reaches_zero(of_seeds: float, of_examples: float, freedom: float, at: float) -> None:
    difference = MeanDifference(at, of_seeds, of_examples, freedom)
    low, high = difference.interval(1 - difference.p) if difference.p < 1 - 1e-9 else (0.0, 0.0)
    if difference.p > 1e-12:
        assert min(abs(low), abs(high)) == pytest.approx(0, abs=1e-4 * (1 + abs(at)))


def test_the_examples_part_is_what_the_seeds_do_not_show() -> None:
    """Crossed: of each example's own difference all seeds have the same, and each seed adds some of its own."""
    random = np.random.default_rng(0)
    of_all_seeds, of_each_seed = random.normal(0, 2, (40_000, 1)), random.normal(0, 3, (40_000, 4))
    assert intervals.examples_error(of_all_seeds + of_each_seed) == pytest.approx(2, rel=0.05)


def test_variances_that_agree_are_pooled_and_others_are_not() -> None:
    random = np.random.default_rng(1)
    alike = random.chisquare(2, 40) / 2
    pooled_variances = seeds.moderated(alike, np.full(40, 2.0))
    assert len({round(variance.value, 1) for variance in pooled_variances}) <= 3 and pooled_variances[0].freedom > 2
    unlike = alike * np.exp(random.normal(0, 4, 40))
    variances = seeds.moderated(unlike, np.full(40, 2.0))
    assert np.corrcoef(np.log(unlike), np.log([variance.value for variance in variances]))[0, 1] > 0.9
    assert variances[0].freedom < 3


def test_the_prior_by_its_own_law() -> None:
    """Variances drawn from a scaled inverse chi-square prior give its degrees of freedom and its scale back."""
    random = np.random.default_rng(2)
    true = 3.0 * 8 / random.chisquare(8, 20_000)
    common, prior = seeds._prior(true * random.chisquare(4, 20_000) / 4, np.full(20_000, 4.0))
    assert (common, prior) == (pytest.approx(3, rel=0.05), pytest.approx(8, rel=0.1))


def test_a_detectable_difference_is_detected_as_often_as_said() -> None:
    random, detections = np.random.default_rng(3), 0
    errors = MeanDifference(0, 1 / np.sqrt(20), 0, 19)
    true = power.detectable(errors)
    for _ in range(1000):
        detections += stats.ttest_1samp(random.normal(true, 1, 20), 0).pvalue < 0.05
    assert detections / 1000 == pytest.approx(0.8, abs=0.04)


def test_more_seeds_where_they_would_help() -> None:
    few = MeanDifference(1.0, 0.8, 0.1, 2)
    more_seeds = power.seeds_needed(few, 3)
    assert more_seeds is not None and more_seeds > 3
    assert power.seeds_needed(MeanDifference(0.1, 0.8, 1.0, 2), 3) is None  # the examples alone leave more doubt
