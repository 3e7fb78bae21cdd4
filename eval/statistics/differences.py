"""Recipes against the baseline on one target: by how much, how sure, and what the seeds could have shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.statistics import intervals, permutation, power, seeds
from eval.statistics.intervals import MeanDifference
from eval.statistics.sequential import Looks, RepeatedDifference

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """A recipe's score less the baseline's, in points. Where there is one seed only its spread is unknown, and so are
    the interval and what follows from it: None."""

    value: float
    seeds: int
    mean: MeanDifference | None
    p: float | None  # two-sided, of this difference alone; None too where seeds agree exactly: how sure is that?
    p_permuted: float | None  # by the signs of the seeds' differences, beside it
    effect: float | None  # in standard deviations between seeds (Hedges' g)
    better: float | None  # how sure it is that the recipe is better, 0 to 1
    detectable: float | None  # the smallest difference that these seeds would show with power 0.8
    seeds_needed: int | None  # to show one as large as this


@dataclass(frozen=True)
class Compared:
    """A recipe's seeds beside the baseline's. `differences`: (seeds,) in points; `drawn`: (draws, seeds), the same on
    test sets drawn anew; None: what the examples add is not known, and the interval is for these test sets."""

    differences: Points
    drawn: Points | None


def of_target(recipes: Sequence[Compared], seed: int, looks: Looks | None = None) -> list[Difference]:
    """The differences of several recipes to one baseline, each with at least one seed.

    looks: after how many seeds somebody may have looked and stopped; intervals and p then hold for that, and each
    recipe has its own variance.
    """
    if looks is not None:
        return [_repeated(recipe, seed, looks) for recipe in recipes]
    several = [at for at, recipe in enumerate(recipes) if len(recipe.differences) > 1]
    sample_variances = np.array([recipes[at].differences.var(ddof=1) for at in several])
    freedom = np.array([len(recipes[at].differences) - 1.0 for at in several])
    variances = dict(zip(several, seeds.moderated(sample_variances, freedom), strict=True)) if several else {}
    return [_of_recipe(recipe, variances.get(at), seed) for at, recipe in enumerate(recipes)]


def _repeated(recipe: Compared, seed: int, looks: Looks) -> Difference:
    count = len(recipe.differences)
    variance = seeds.Variance(float(recipe.differences.var(ddof=1)), count - 1.0) if count > 1 else None
    return _of_recipe(recipe, variance, seed, looks)


def _of_recipe(recipe: Compared, variance: seeds.Variance | None, seed: int, looks: Looks | None = None) -> Difference:
    value, count = float(recipe.differences.mean()), len(recipe.differences)
    if variance is None:
        return Difference(value, count, None, None, None, None, None, None, None)
    examples = intervals.examples_error(recipe.drawn) if recipe.drawn is not None else 0.0
    mean = intervals.of_seeds(recipe.differences, variance, examples)
    if looks is not None:
        mean = RepeatedDifference(mean.value, mean.of_seeds, mean.of_examples, mean.freedom, looks, count)
    # Seeds that agree exactly say nothing of others, and examples alone are not what was looked at again and again.
    is_tested = mean.error > 0 and (looks is None or mean.of_seeds > 0)
    return Difference(
        value,
        count,
        mean,
        mean.p if is_tested else None,
        permutation.signs(recipe.differences, seed),
        _hedges(value, variance),
        _better(mean) if is_tested else None,
        power.detectable(mean),
        power.seeds_needed(mean, count),
    )


def _hedges(value: float, variance: seeds.Variance) -> float | None:
    """Hedges & Olkin 1985: Cohen's d without its bias, which below two degrees of freedom is all there is of it."""
    if variance.value == 0 or variance.freedom < 2:
        return None
    return value / float(np.sqrt(variance.value)) * (1 - 3 / (4 * max(1.0, variance.freedom) - 1))


def _better(mean: MeanDifference) -> float:
    """The level of the one-sided interval that just stays above 0, which is the probability under a flat prior."""
    return 1 - mean.p / 2 if mean.value > 0 else mean.p / 2
