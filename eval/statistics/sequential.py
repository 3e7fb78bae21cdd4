"""Looking at a difference after every seed, and stopping once it is decided, without losing the error rate.

An interval that holds the truth in 95 % of all cases does so at one look; who looks after each seed and stops when it
excludes 0 is wrong far more often. So every look has a nominal level of its own, and together they have alpha: repeated
confidence intervals (Jennison & Turnbull 1989, "Interim analyses: the repeated confidence interval approach"), which
hold the truth at all looks at once with probability 1 - alpha, whatever rule stops the seeds. They are Student's with
the pair's own variance: the ratio of a mean's error to its estimate has one law for all normal differences, so the
levels are right from two seeds on, for any variance, and however unlike the pairs are (the sequential t test of
Jennison & Turnbull 1991, "Exact calculations for sequential t, chi-squared and F tests"; here its law is simulated).
Variances moderated over recipes, as `seeds` has them, decide sooner, but find too much where pairs are unlike.

A pair is given up where more seeds would hardly decide it: predictive power (Spiegelhalter, Freedman & Blackburn 1986,
"Monitoring clinical trials: conditional or predictive power?"). That finds nothing, so it costs no error, only power.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special

from eval.statistics.intervals import MeanDifference

Conclusion = Literal["different", "equal", "open"]
_DRAWS = 200_000  # of the law: the level of 5 % is right to 1 % of itself
_BINS, _SLACK = 1 << 12, 1e-9  # of a table of p; the rounding of its entries and places
_ROUNDING = 1e-9  # points: what seeds that agree to the last digit may differ by
_LEAST_SEEDS = 3  # before a pair is given up: of two nobody knows how far others would lie apart
_LEAST_CHANCE = 0.25  # of being decided by the last seed: below it a pair is given up


@dataclass(frozen=True)
class Looks:
    """After how many seeds one looks: after `first`, which is 2 or more, and each one until `last`."""

    first: int
    last: int

    def level(self, seeds: int, alpha: float) -> float:
        """The nominal two-sided level of the look after so many seeds, where all together have `alpha`."""
        ratios = _smallest_ratios(self)
        return float(self._weight(seeds) * ratios[int(alpha * len(ratios))])

    def p(self, nominal_p: float, seeds: int) -> float:
        """The p-value, two-sided, of one who may have stopped at any look, from that of Student's test after `seeds`.

        Beyond what was simulated it is Bonferroni's.
        """
        ratio, ratios = nominal_p / self._weight(seeds), _smallest_ratios(self)
        return float(min(1.0, ratio, (np.searchsorted(ratios, ratio, "right") + 1) / (len(ratios) + 1)))

    def _weight(self, seeds: int) -> float:
        """The look's share: in proportion to its seeds, so that the last has most, and nearly the power of one look."""
        counts = range(self.first, self.last + 1)
        return min(max(seeds, self.first), self.last) / sum(counts)


@cache
def _smallest_ratios(looks: Looks) -> NDArray[np.float64]:
    """What chance alone gives as the smallest ratio of nominal p to share over all looks: `_DRAWS` of them, sorted."""
    random = np.random.default_rng(0)
    smallest, total, squares = np.full(_DRAWS, np.inf), np.zeros(_DRAWS), np.zeros(_DRAWS)
    for seeds in range(1, looks.last + 1):
        difference = random.standard_normal(_DRAWS)
        total += difference
        squares += difference**2
        if seeds >= looks.first:
            weight = looks._weight(seeds)
            # The law of t takes most of the time: only where the ratio may be less than at the looks before.
            places = np.flatnonzero(_least_p(total, squares, seeds) < smallest * weight)
            variance = (squares[places] - total[places] ** 2 / seeds) / (seeds - 1)
            p = 2 * special.stdtr(seeds - 1, -np.abs(total[places]) / np.sqrt(seeds * variance))
            smallest[places] = np.minimum(smallest[places], p / weight)
    return np.sort(smallest)


def _least_p(total: NDArray[np.float64], squares: NDArray[np.float64], seeds: int) -> NDArray[np.float64]:
    """Just below Student's p of so many seeds with this sum and this sum of squares, by a table: quick.

    t² is (seeds - 1) · x / (1 - x), where x = total² / (seeds · squares), of which the table has `_BINS` parts.
    """
    upper_ends = np.arange(1, _BINS) / _BINS
    t = np.sqrt((seeds - 1) * upper_ends / (1 - upper_ends))
    table = np.append(2 * special.stdtr(seeds - 1, -t) * (1 - _SLACK), 0.0)
    share = total**2
    share /= squares
    share *= _BINS * (1 - _SLACK) / seeds
    return table[share.astype(np.intp)]


@dataclass(frozen=True)
class Look:
    """What so many seeds say of a difference, in points: its mean and its interval at 1 - alpha; `at_most`: how large
    it is in either direction, by two tests at alpha. `conclusion` None: go on."""

    seeds: int
    value: float
    low: float
    high: float
    at_most: float
    conclusion: Conclusion | None


@dataclass(frozen=True)
class Rule:
    """When a difference is decided: its interval excludes 0 (`different`), or it is shown to be within ±`until` points
    (`equal`), by two one-sided tests, that is by the interval at 1 - 2 alpha (Schuirmann 1987, "A comparison of the two
    one-sided tests procedure and the power approach").

    It is `open` where there are no more seeds, or these would hardly decide it. `alpha`: of each of the two decisions,
    of one comparison.
    """

    looks: Looks
    until: float
    alpha: float = 0.05

    def last_look(self, differences: Sequence[float] | NDArray[np.float64]) -> Look | None:
        """The look that decided, else the newest; None before the first. `differences`: seed by seed, in points; what
        comes after the look that decided has no say, so that a decision stays."""
        look = None
        for look in self._all_looks(np.asarray(differences, np.float64)):
            if look.conclusion is not None:
                break
        return look

    def _all_looks(self, differences: NDArray[np.float64]) -> Iterator[Look]:
        for seeds in range(self.looks.first, min(len(differences), self.looks.last) + 1):
            yield self._look(differences[:seeds])

    def _look(self, differences: NDArray[np.float64]) -> Look:
        seeds, value = len(differences), float(differences.mean())
        variance = float(differences.var(ddof=1))
        if variance < _ROUNDING**2:  # they agree: how far others would lie apart is not known at all
            end: Conclusion | None = "open" if seeds == self.looks.last else None
            return Look(seeds, value, -np.inf, np.inf, np.inf, end)
        half = self._half_width(seeds, variance, self.alpha)
        at_most = abs(value) + self._half_width(seeds, variance, 2 * self.alpha)
        conclusion: Conclusion | None = None
        if abs(value) > half:
            conclusion = "different"
        elif at_most <= self.until:
            conclusion = "equal"
        elif seeds == self.looks.last or (
            seeds >= _LEAST_SEEDS and self._chance(seeds, value, variance) < _LEAST_CHANCE
        ):
            conclusion = "open"
        return Look(seeds, value, value - half, value + half, at_most, conclusion)

    def _half_width(self, seeds: int, variance: float, alpha: float) -> float:
        """Of the interval at 1 - alpha after so many seeds."""
        level = self.looks.level(seeds, alpha)
        return float(special.stdtrit(seeds - 1, 1 - level / 2) * np.sqrt(variance / seeds))

    def _chance(self, seeds: int, value: float, variance: float) -> float:
        """That the interval after the last seed decides, if the seeds to come are like those before."""
        last = self.looks.last
        half, freedom = self._half_width(last, variance, self.alpha), seeds - 1
        room = self.until - self._half_width(last, variance, 2 * self.alpha)
        spread = np.sqrt(variance * (1 / seeds - 1 / last))  # of the last mean about this one

        def below(bound: float) -> float:
            return float(special.stdtr(freedom, (bound - value) / spread))

        equal = below(min(room, half)) - below(-min(room, half)) if room > 0 else 0.0
        return 1 - below(half) + below(-half) + equal


@dataclass(frozen=True)
class RepeatedDifference(MeanDifference):
    """A mean difference of one who may have stopped at any of some looks: its interval and p hold at all of them."""

    looks: Looks
    seeds: int

    def with_seeds(self, seeds: int, of: int) -> Self:
        """The same, at the look after so many seeds; more than the last look's are taken for as many."""
        return replace(super().with_seeds(seeds, of), seeds=seeds)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The lower and the upper end."""
        return super().interval(1 - self.looks.level(self.seeds, 1 - level))

    @property
    def p(self) -> float:
        """Two-sided, of no difference."""
        return self.looks.p(super().p, self.seeds)
