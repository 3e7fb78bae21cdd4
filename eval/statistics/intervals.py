"""The interval of a mean difference whose error has two sources: the few seeds, and the examples of the test sets.

Seeds and examples are crossed: every seed answers the same examples. With v the variance of the seeds' differences, the
variance of their mean is v / seeds + e, where e is what the examples alone add: the variance over draws of the mean
over seeds, less the part of it that v holds already (how seeds differ on examples). The two parts have different
degrees of freedom, so the quantile lies between theirs, weighted by the parts (Cochran 1964, "Approximate significance
levels of the Behrens-Fisher test"), which never promises more than it holds for long.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import special

from eval.statistics.seeds import Variance


@dataclass(frozen=True)
class MeanDifference:
    """The mean of some seeds' differences and its standard errors, in points; `freedom` of the seeds' part."""

    value: float
    of_seeds: float
    of_examples: float
    freedom: float

    @property
    def error(self) -> float:
        return float(np.hypot(self.of_seeds, self.of_examples))

    def with_seeds(self, seeds: int, of: int) -> Self:
        """What it would be after so many seeds, if those to come lie apart as its own do, `of` them."""
        freedom = max(1.0, self.freedom * (seeds - 1) / max(1, of - 1))
        return replace(self, of_seeds=self.of_seeds * float(np.sqrt(of / seeds)), freedom=freedom)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The lower and the upper end."""
        half = self._quantile((1 + level) / 2) * self.error
        return self.value - half, self.value + half

    @property
    def p(self) -> float:
        """Two-sided, of no difference: the level whose interval just reaches 0."""
        if self.error == 0:
            return 1.0 if self.value == 0 else 0.0
        ratio = abs(self.value) / self.error
        low, high = 0.0, 60.0  # of -log p: p falls as the quantile grows
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self._quantile(1 - np.exp(-middle) / 2) < ratio else (low, middle)
        return float(np.exp(-low))

    def _quantile(self, at: float) -> float:
        if self.error == 0:
            return 0.0
        # A part that is 0 stays so where its quantile is infinite.
        of_seeds = special.stdtrit(self.freedom, at) * self.of_seeds if self.of_seeds else 0.0
        of_examples = special.ndtri(at) * self.of_examples if self.of_examples else 0.0
        return float(np.hypot(of_seeds, of_examples) / self.error)


def examples_error(drawn_differences: NDArray[np.float64]) -> float:
    """The standard error that the examples alone add to the mean over seeds. `drawn_differences`: (draws, seeds)."""
    seeds = drawn_differences.shape[1]
    of_mean = float(drawn_differences.mean(axis=1).var(ddof=1))
    if seeds == 1:
        return float(np.sqrt(of_mean))
    of_one = float(drawn_differences.var(axis=0, ddof=1).mean())
    interaction = max(0.0, (of_one - of_mean) * seeds / (seeds - 1))  # how seeds differ on examples
    return float(np.sqrt(max(0.0, of_mean - interaction / seeds)))


def of_seeds(differences: NDArray[np.float64], variance: Variance, examples: float) -> MeanDifference:
    """`differences`: (seeds,) in points; `examples`: as `examples_error` says."""
    seeds_error = float(np.sqrt(variance.value / len(differences)))
    return MeanDifference(float(differences.mean()), seeds_error, examples, variance.freedom)
