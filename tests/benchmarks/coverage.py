"""How often the 95 % intervals of `eval.statistics` hold the true difference, and how often a test finds one where
there is none: by simulation, `make coverage`.

A target of 300 examples and its recipes, each with the same few seeds: an example is answered rightly where its ease,
the recipe's skill, the seed's luck and chance together reach a bound. The truth is the same arithmetic over 400,000
examples and the law of the seeds. What varies: the number of recipes and seeds, how much luck there is, whether recipes
differ in it.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from eval.statistics.differences import Compared, of_target
from eval.statistics.resample import Sample, drawn
from eval.statistics.several import holm

_EXAMPLES, _DRAWS = 300, 300
_EASE, _CROSSED = 1.0, 0.4  # standard deviations: of examples, and of how seeds differ on them


@dataclass(frozen=True)
class World:
    """What is true. `luck`: standard deviation of a seed's skill; `uneven`: of its logarithm over recipes."""

    recipes: int
    seeds: int
    luck: float
    uneven: float
    effect: float = 0.0

    def __str__(self) -> str:
        return f"{self.recipes:>7} {self.seeds:>5} {self.luck:>6.2f} {self.uneven:>7.1f}"


@dataclass(frozen=True)
class Rates:
    """Shares of all intervals and tables."""

    covered: float
    by_bootstrap: float  # by the plain percentile bootstrap over seeds and examples
    false_alone: float  # p < 0.05 of a recipe that does nothing
    false_in_table: float  # after Holm, any in a table where no recipe does anything
    width: float  # mean half width, points


def _right_answers(world: World, skills: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float32]:
    """(examples, runs) of 0 and 1; `skills`: (runs,)."""
    ease = random.normal(0, _EASE, (_EXAMPLES, 1))
    recipes_own = random.normal(0, _EASE / 2, (_EXAMPLES, world.recipes + 1)).repeat(world.seeds, axis=1)
    crossed = random.normal(0, _CROSSED, (_EXAMPLES, len(skills)))
    return (ease + recipes_own + crossed + skills > 0).astype(np.float32)


def _truth(skill: NDArray[np.float64], luck: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expected accuracy, in percent: all that is normal adds up to one normal law."""
    spread = np.sqrt(_EASE**2 + (_EASE / 2) ** 2 + _CROSSED**2 + luck**2)
    return np.asarray(100 * stats.norm.cdf(skill / spread))


def measure(world: World, tables: int, seed: int) -> Rates:
    """Simulate `tables` tables of this world."""
    random = np.random.default_rng(seed)
    covered_count, by_bootstrap, false_alone, false_tables, widths = 0, 0, 0, 0, 0.0
    for table in range(tables):
        luck = world.luck * np.exp(random.normal(0, world.uneven, world.recipes + 1))
        skill = np.concatenate([[0.3], 0.3 + random.normal(0, world.effect, world.recipes)])
        runs = (skill[:, None] + luck[:, None] * random.normal(size=(world.recipes + 1, world.seeds))).reshape(-1)
        sample = Sample("mean", _right_answers(world, runs, random)[:, None, :])
        by_seed = (100 * sample.parts.mean(axis=(0, 1), dtype=np.float64)).reshape(-1, world.seeds)
        again = drawn(sample, _DRAWS, table).reshape(_DRAWS, -1, world.seeds)
        compared = [Compared(by_seed[at] - by_seed[0], again[:, at] - again[:, 0]) for at in range(1, len(by_seed))]
        truth = _truth(skill, luck)
        p_values = []
        for at, difference in enumerate(of_target(compared, table), start=1):
            assert difference.mean is not None and difference.p is not None
            low, high = difference.mean.interval()
            covered_count += low <= truth[at] - truth[0] <= high
            widths += (high - low) / 2
            p_values.append(difference.p)
            false_alone += difference.p < 0.05
            by_bootstrap += _bootstrap_holds(compared[at - 1], truth[at] - truth[0], random)
        false_tables += min(holm(p_values)) < 0.05
    intervals = tables * world.recipes
    return Rates(
        covered_count / intervals,
        by_bootstrap / intervals,
        false_alone / intervals,
        false_tables / tables,
        widths / intervals,
    )


def _bootstrap_holds(recipe: Compared, truth: float, random: np.random.Generator) -> bool:
    """Whether the percentile interval of seeds drawn anew, then examples, holds the truth."""
    assert recipe.drawn is not None
    draws, seeds = recipe.drawn.shape
    chosen = random.integers(0, seeds, (draws, seeds))
    low, high = np.percentile(np.take_along_axis(recipe.drawn, chosen, axis=1).mean(axis=1), [2.5, 97.5])
    return bool(low <= truth <= high)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--tables", type=int, default=1000, help="simulated for each row")
    tables = parser.parse_args().tables
    print(f"{tables} tables a row, {_EXAMPLES} examples, {_DRAWS} draws; standard error of a share about"
          f" {100 * (0.05 * 0.95 / tables / 3) ** 0.5:.1f} %")  # fmt: skip
    print("recipes seeds   luck  uneven  covered  bootstrap  false  false in table  half width")
    for recipes in (1, 3, 13):
        for seeds in (2, 3, 5, 10):
            for luck, uneven in ((0.0, 0.0), (0.05, 0.0), (0.05, 0.5), (0.2, 0.5)):
                world = World(recipes, seeds, luck, uneven)
                rates = measure(world, max(100, tables // recipes), seed=1)
                print(f"{world}  {rates.covered:>7.1%}  {rates.by_bootstrap:>9.1%}  {rates.false_alone:>5.1%}"
                      f"  {rates.false_in_table:>14.1%}  {rates.width:>10.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
