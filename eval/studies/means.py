"""The mean of a few seeds' values, with its interval and p: Student's, over seeds alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.statistics.intervals import MeanDifference, of_seeds
from eval.statistics.seeds import Variance


@dataclass(frozen=True)
class Mean:
    """`error`: None of one seed, and of seeds that agree to the last digit."""

    value: float
    seeds: int
    error: MeanDifference | None

    @property
    def interval(self) -> tuple[float, float] | None:
        return self.error.interval() if self.error else None

    @property
    def p(self) -> float | None:
        return self.error.p if self.error else None


def mean(values: Sequence[float]) -> Mean | None:
    """Of at least one value; None of nothing."""
    if not values:
        return None
    numbers = np.array(values, float)
    variance = float(numbers.var(ddof=1)) if len(numbers) > 1 else 0.0
    if variance <= 1e-18 * float(np.abs(numbers).max()) ** 2:
        return Mean(float(numbers.mean()), len(numbers), None)
    return Mean(
        float(numbers.mean()),
        len(numbers),
        of_seeds(numbers, Variance(variance, float(len(numbers) - 1)), examples=0.0),
    )
