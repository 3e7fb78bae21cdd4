"""Looking after every seed: levels, p-values and intervals that hold at all looks, and when a difference is decided."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special, stats

from eval.statistics import sequential
from eval.statistics.differences import Compared, of_target
from eval.statistics.sequential import Looks, RepeatedDifference, Rule

LOOKS = Looks(2, 6)
RULE = Rule(LOOKS, 0.5)
_POINTS = st.floats(-5, 5, allow_nan=False).map(lambda points: round(points, 2))
_SEEDS = st.lists(_POINTS, min_size=2, max_size=6)


def test_a_single_look_is_student_s() -> None:
    once = Looks(5, 5)
    assert once.level(5, 0.05) == pytest.approx(0.05, rel=0.03)
    assert once.p(0.05, 5) == pytest.approx(0.05, rel=0.03)


@pytest.mark.parametrize(("first", "last"), [(2, 3), (2, 10), (4, 20)])
def test_all_looks_together_have_the_level(first: int, last: int) -> None:
    """By scipy, one pair at a time, of other draws than the law was made from."""
    looks = Looks(first, last)
    draws = np.random.default_rng(7).normal(1.5, 3.0, (20_000, last))
    p_values = np.stack([stats.ttest_1samp(draws[:, :n], 1.5, axis=1).pvalue for n in range(first, last + 1)])
    levels = np.array([looks.level(n, 0.05) for n in range(first, last + 1)])
    assert (p_values < levels[:, None]).any(axis=0).mean() == pytest.approx(0.05, abs=0.006)
    assert levels.sum() > 0.05 and levels.max() < 0.05 and (np.diff(levels) > 0).all()
    least = np.array([[looks.p(p, n) for p in p_values[n - first, :300]] for n in range(first, last + 1)]).min(axis=0)
    assert stats.kstest(least, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("looks", [Looks(2, 3), Looks(3, 8), Looks(5, 5)])
def test_the_law_is_the_least_ratio_of_every_look_to_the_last_digit(
    looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of them are not computed, since a table says that they are not the least."""
    monkeypatch.setattr(sequential, "_DRAWS", 20_000)
    draws = np.stack([*_random_rows(looks.last)])
    totals, squares = np.cumsum(draws, axis=0), np.cumsum(draws**2, axis=0)
    ratios = []
    for seeds in range(looks.first, looks.last + 1):
        variance = (squares[seeds - 1] - totals[seeds - 1] ** 2 / seeds) / (seeds - 1)
        t = np.abs(totals[seeds - 1]) / np.sqrt(seeds * variance)
        ratios.append(2 * special.stdtr(seeds - 1, -t) / looks._weight(seeds))
    assert np.array_equal(sequential._smallest_ratios.__wrapped__(looks), np.sort(np.min(ratios, axis=0)))


def _random_rows(count: int) -> Iterator[NDArray[np.float64]]:
    random = np.random.default_rng(0)
    return (random.standard_normal(20_000) for _ in range(count))


def test_p_beyond_what_was_simulated_is_bonferroni_s() -> None:
    assert 0 < LOOKS.p(1e-12, 6) == pytest.approx(1e-12 * 20 / 6)
    assert LOOKS.p(1.0, 2) == 1.0 and LOOKS.p(0.0, 2) == 0.0


@given(_SEEDS)
def test_a_look_decides_as_its_interval_says(differences: list[float]) -> None:
    look = RULE.last_look(differences)
    assert look is not None and 2 <= look.seeds <= len(differences)
    if look.conclusion == "different":
        assert look.low > 0 or look.high < 0
    else:
        assert look.low <= 0 <= look.high
    if look.conclusion == "equal":
        assert look.at_most <= 0.5
    assert abs(look.value) < look.at_most < max(-look.low, look.high) or look.high == np.inf
    if look.seeds == 6:
        assert look.conclusion is not None
    if look.seeds < len(differences):  # it decided, and what came later has no say
        assert look.conclusion is not None and RULE.last_look(differences[: look.seeds]) == look


@given(_SEEDS)
def test_p_and_interval_and_the_rule_agree(differences: list[float]) -> None:
    (difference,) = of_target([Compared(np.array(differences), None)], 0, LOOKS)
    assert isinstance(difference.mean, RepeatedDifference)
    if np.ptp(differences) == 0:
        return
    low, high = difference.mean.interval()
    assert difference.p is not None
    if abs(difference.p - 0.05) > 1e-4:
        assert (difference.p < 0.05) == (low > 0 or high < 0)
    look = RULE.last_look(differences)
    if look is not None and look.seeds == len(differences):
        assert (look.low, look.high) == pytest.approx((low, high))


def test_the_seeds_that_it_would_take_are_told_by_the_level_of_their_own_look() -> None:
    """The last look has most of the error rate, so it takes no more seeds than at the first look's level."""
    (difference,) = of_target([Compared(np.array([0.2, 1.2]), None)], 0, LOOKS)
    assert isinstance(difference.mean, RepeatedDifference) and difference.seeds_needed is not None
    later = difference.mean.with_seeds(LOOKS.last, 2)
    low, high = later.interval()
    half = special.stdtrit(LOOKS.last - 1, 1 - LOOKS.level(LOOKS.last, 0.05) / 2) * later.of_seeds
    assert (high - low) / 2 == pytest.approx(half)


def test_each_recipe_of_a_race_has_its_own_variance() -> None:
    """Moderated ones find too much where recipes are unlike and looks are many."""
    quiet, loud = Compared(np.array([1.0, 1.1, 0.9]), None), Compared(np.array([1.0, 9.0, -7.0]), None)
    assert of_target([quiet, loud], 0, LOOKS) == [of_target([recipe], 0, LOOKS)[0] for recipe in (quiet, loud)]
    assert of_target([Compared(np.array([1.0]), None)], 0, LOOKS)[0].p is None


def test_seeds_that_agree_to_the_last_digit_decide_nothing() -> None:
    for value in (1.0, 0.1):  # of the second the mean is rounded
        look = RULE.last_look([value] * 3)
        assert look is not None and look.conclusion is None and look.high == np.inf
    assert of_target([Compared(np.array([1.0, 1.0]), None)], 0, LOOKS)[0].p is None


def test_what_more_seeds_would_hardly_tell_is_given_up() -> None:
    look = RULE.last_look([2.0, -2.1, 1.9, -2.0, 2.0, -1.9])
    assert look is not None and look.conclusion == "open" and 3 <= look.seeds < 6


@given(_POINTS, _POINTS)
def test_two_seeds_give_nothing_up(first: float, second: float) -> None:
    look = RULE.last_look([first, second])
    assert look is not None and look.conclusion != "open"
