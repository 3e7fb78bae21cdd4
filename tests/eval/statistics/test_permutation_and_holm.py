"""Permutation tests and Holm's correction, beside scipy and brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from eval.statistics import permutation
from eval.statistics.several import holm

values = st.lists(st.integers(-50, 50).map(lambda tenths: tenths / 10), min_size=1, max_size=5)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@given(values)
def test_all_signs_are_counted(differences: list[float]) -> None:
    actual = abs(sum(differences))
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
            for signs in itertools.product((1, -1), repeat=len(differences))]  # fmt: skip
    assert permutation.signs(np.array(differences), 0) == pytest.approx(np.mean([s >= actual - 1e-9 for s in sums]))


def test_few_seeds_can_show_little() -> None:
    assert permutation.signs(np.full(5, 3.0), 0) == 2 / 2**5


@settings(max_examples=20)
@given(values.filter(lambda v: len(v) > 1), values.filter(lambda v: len(v) > 1))
def test_two_groups_as_scipy(first: list[float], second: list[float]) -> None:
    def difference(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(np.round(a.mean(axis=axis) - b.mean(axis=axis), 9))

    expected = stats.permutation_test(
        (np.array(first), np.array(second)), difference, vectorized=True, n_resamples=np.inf, alternative="two-sided"
    )
    actual = permutation.two_groups(np.array(first), np.array(second), 0)
    if len(first) == len(second):  # scipy doubles the smaller tail, which is the same where the law is symmetric
        assert actual == pytest.approx(min(1.0, float(expected.pvalue)))
    assert 0 < actual <= 1


def test_a_sampled_test_is_near_the_exact_one() -> None:
    differences = np.random.default_rng(3).normal(0.4, 1.0, 20)  # 2^20 arrangements: too many to count
    t = stats.ttest_1samp(differences, 0).pvalue
    assert permutation.signs(differences, 1) == pytest.approx(t, abs=0.02)
    assert permutation.signs(differences, 1) == permutation.signs(differences, 1)  # by its seed alone


@given(p_values)
def test_holm_by_its_definition(alone: list[float]) -> None:
    order = np.argsort(alone, kind="stable")
    stepped = [min(1.0, (len(alone) - rank) * alone[at]) for rank, at in enumerate(order)]
    expected = np.empty(len(alone))
    expected[order] = np.maximum.accumulate(stepped)
    assert holm(alone) == pytest.approx(expected)
