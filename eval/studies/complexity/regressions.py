"""Measures against gain: one at a time, the best one, and all together, by the error on a task that was left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.statistics import prediction
from eval.statistics.correlations import DRAWS
from eval.statistics.intervals import MeanDifference
from eval.statistics.prediction import LeftOut, Model
from eval.statistics.several import holm
from eval.studies.complexity.table import GroupGains, MeasureColumn

LEAST = 5  # tasks: of four, three would have to tell a line
_SEED = 0  # of drawn orders


@dataclass(frozen=True)
class Regression:
    """Of one measure, or of several under a model's name. `slope`: points for a standard deviation of the measure over
    tasks; None of several measures. `adjusted_p`: over all of a table."""

    group: str
    name: str
    tasks: tuple[str, ...]
    values: NDArray[np.float64]  # (tasks, measures)
    gains: NDArray[np.float64]  # (tasks,)
    slope: MeanDifference | None
    left_out: LeftOut
    adjusted_p: float = 1.0


def singles(
    groups: Sequence[GroupGains], measures: Sequence[MeasureColumn], draws: int = DRAWS
) -> tuple[Regression, ...]:
    """Every measure alone, of the tasks that have it, where it differs between them."""
    rows = []
    for group in groups:
        for measure in measures:
            tasks = tuple(task for task in group.tasks if task in measure.values)
            values = np.array([[measure.values[task]] for task in tasks])
            if len(tasks) >= LEAST and np.ptp(values) > 0:
                rows.append(_regression(group, measure.label, tasks, values, (Model((0,)),), draws))
    return _adjusted(rows)


def together(
    groups: Sequence[GroupGains], measures: Sequence[MeasureColumn], draws: int = DRAWS
) -> tuple[Regression, ...]:
    """The best single measure, and ridge regression on all, of those that all tasks of a group have."""
    rows = []
    for group in groups:
        common_measures = [measure for measure in measures if all(task in measure.values for task in group.tasks)]
        if len(group.tasks) >= LEAST and len(common_measures) > 1:
            values = np.array([[measure.values[task] for measure in common_measures] for task in group.tasks])
            count = f"of {len(common_measures)} measures"
            rows += [
                _regression(
                    group, f"the best {count}", group.tasks, values, prediction.single(len(common_measures)), draws
                ),
                _regression(
                    group, f"ridge {count}", group.tasks, values, prediction.ridge(len(common_measures)), draws
                ),
            ]
    return _adjusted(rows)


def _regression(
    group: GroupGains,
    name: str,
    tasks: tuple[str, ...],
    values: NDArray[np.float64],
    models: Sequence[Model],
    draws: int,
) -> Regression:
    gains = np.array([group.gains[group.tasks.index(task)] for task in tasks])
    slope = _slope(values[:, 0], gains) if values.shape[1] == 1 else None
    return Regression(
        group.group, name, tasks, values, gains, slope, prediction.left_out(values, gains, models, _SEED, draws)
    )


def _slope(values: NDArray[np.float64], gains: NDArray[np.float64]) -> MeanDifference:
    """By least squares, with Student's error."""
    standard_values = (values - values.mean()) / values.std(ddof=1)
    length = float(standard_values @ standard_values)
    slope = float(standard_values @ gains) / length
    residuals = gains - gains.mean() - slope * standard_values
    freedom = len(gains) - 2
    return MeanDifference(slope, float(np.sqrt(residuals @ residuals / freedom / length)), 0.0, float(freedom))


def _adjusted(rows: Sequence[Regression]) -> tuple[Regression, ...]:
    p_values = holm([row.left_out.p for row in rows])
    return tuple(
        Regression(row.group, row.name, row.tasks, row.values, row.gains, row.slope, row.left_out, p)
        for row, p in zip(rows, p_values, strict=True)
    )
