"""Coefficients with intervals and p-values, adjusted for all of a table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.statistics import correlations
from eval.statistics.correlations import Coefficient
from eval.statistics.several import holm
from eval.studies.correlation.pairs import Paired, log_sizes
from eval.studies.records import Measure

_SEED = 0  # of drawn orders and bootstraps


@dataclass(frozen=True)
class Correlation:
    """`value`: None where the metric or the outcome is the same for all recipes; then there is no test."""

    paired: Paired
    value: float | None
    interval: tuple[float, float] | None = None
    p: float | None = None
    adjusted_p: float | None = None


def of_pairs(kind: Coefficient, pairs: Sequence[Paired]) -> tuple[Correlation, ...]:
    """One table's."""
    return adjusted([_of_pair(kind, pair) for pair in pairs])


def given_size(
    pairs: Sequence[Paired], measures: Sequence[Measure], draws: int = correlations.DRAWS
) -> tuple[Correlation, ...]:
    """Pearson's, partial: of what the logarithm of the number of training examples leaves. Of recipes whose sizes are
    known; its interval is not computed."""
    partial_correlations = []
    for pair in pairs:
        sizes = log_sizes(pair.recipes, measures)
        partial = None if sizes is None else correlations.partial(*pair.values, sizes, _SEED, draws)
        if partial is not None:
            partial_correlations.append(Correlation(pair, partial[0], None, partial[1]))
    return adjusted(partial_correlations)


def adjusted(table: Sequence[Correlation]) -> tuple[Correlation, ...]:
    """With p-values for all of them together."""
    adjusted_values = iter(holm([row.p for row in table if row.p is not None]))
    return tuple(
        Correlation(row.paired, row.value, row.interval, row.p, None if row.p is None else next(adjusted_values))
        for row in table
    )


def _of_pair(kind: Coefficient, pair: Paired) -> Correlation:
    metric, outcome = pair.values
    value = correlations.coefficient(kind, metric, outcome)
    if value is None:
        return Correlation(pair, None)
    return Correlation(
        pair,
        value,
        correlations.interval(kind, pair.units, _SEED),
        correlations.p_value(kind, metric, outcome, _SEED),
    )


def strongest(table: Sequence[Correlation]) -> Correlation | None:
    """By p, then by size; None: nothing was tested."""
    tested_rows = [row for row in table if row.p is not None and row.value is not None]
    return min(tested_rows, key=lambda row: (row.p or 0.0, -abs(row.value or 0.0)), default=None)


def line(pair: Paired) -> tuple[float, float] | None:
    """Intercept and slope of the outcome on the metric, by least squares; None where the metric is the same for all."""
    metric, outcome = pair.values
    if np.ptp(metric) == 0:
        return None
    slope, intercept = np.polyfit(metric, outcome, 1)
    return float(intercept), float(slope)
