"""How well numbers known of a unit predict its outcome: each unit is left out once, the choice of a model included.

Few units and many measures fit anything, so what counts is the error on the unit that was left out, beside that of
the mean of the others, and how often outcomes in another order are predicted as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.statistics.correlations import DRAWS, share, unit_orders

Vector = NDArray[np.float64]
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, np.inf)


@dataclass(frozen=True)
class Model:
    """Linear in some columns, which are standardised. `penalty`: of ridge regression (Hoerl & Kennard 1970), per unit;
    0: least squares; infinite: the mean."""

    columns: tuple[int, ...]
    penalty: float = 0.0


@dataclass(frozen=True)
class LeftOut:
    """Root mean squared errors, in the outcome's unit. `p`: how often outcomes in another order give as small an
    error."""

    error: float
    error_of_mean: float
    p: float


def single(columns: int) -> tuple[Model, ...]:
    """One column each: the best one is chosen."""
    return tuple(Model((column,)) for column in range(columns))


def ridge(columns: int) -> tuple[Model, ...]:
    """All columns, the penalty is chosen; the largest leaves the mean."""
    return tuple(Model(tuple(range(columns)), penalty) for penalty in PENALTIES)


def left_out(measures: Vector, outcomes: Vector, models: Sequence[Model], seed: int, draws: int = DRAWS) -> LeftOut:
    """`measures`: (units, columns); `outcomes`: (units,). Of several models the one is taken that predicts best among
    the units that are not left out, each of them left out in turn. At least four units."""
    rows = (outcomes - outcomes.mean())[unit_orders(len(outcomes), seed, draws)]
    errors = _root(predicted(measures, rows, models) - rows)
    of_mean = _root(predicted(measures, rows[:1], (Model((), np.inf),)) - rows[:1])
    return LeftOut(float(errors[0]), float(of_mean[0]), share(-errors, -float(errors[0])))


def predicted(measures: Vector, outcomes: Vector, models: Sequence[Model]) -> Vector:
    """Of each unit what the others predict: (rows, units), as `outcomes`, whose rows are predicted apart."""
    columns = [_of_unit(measures, outcomes, models, at) for at in range(len(measures))]
    return np.stack(columns, axis=1)


def _of_unit(measures: Vector, outcomes: Vector, models: Sequence[Model], at: int) -> Vector:
    training_units = np.delete(np.arange(len(measures)), at)
    training_outcomes = outcomes[:, training_units]
    weights = [_weights(measures[training_units], measures[at], model) for model in models]
    candidates = training_outcomes @ np.column_stack(weights)
    if len(models) == 1:
        return np.asarray(candidates[:, 0])
    errors = _inner_errors(measures[training_units], training_outcomes, models)
    return np.take_along_axis(candidates, errors.argmin(axis=1)[:, None], axis=1)[:, 0]


def _inner_errors(measures: Vector, outcomes: Vector, models: Sequence[Model]) -> Vector:
    """The squared error of each row over all units, each left out: (rows, models). It is a quadratic form of the
    outcomes, so all rows and models are one product."""
    lower, upper = np.triu_indices(len(measures))
    forms = np.stack([_inner_form(measures, model)[lower, upper] for model in models], axis=1)
    return np.asarray((outcomes[:, lower] * outcomes[:, upper]) @ (forms * np.where(lower == upper, 1, 2)[:, None]))


def _inner_form(measures: Vector, model: Model) -> Vector:
    errors = -np.eye(len(measures))  # of each unit, by column: what each outcome adds to it
    for at in range(len(measures)):
        training_units = np.delete(np.arange(len(measures)), at)
        errors[training_units, at] = _weights(measures[training_units], measures[at], model)
    return np.asarray(errors @ errors.T)


def _weights(measures: Vector, at: Vector, model: Model) -> Vector:
    """What each outcome adds to the prediction at a point: (units,)."""
    units = len(measures)
    weights = np.full(units, 1 / units)
    if np.isinf(model.penalty) or not model.columns:
        return weights
    columns = measures[:, list(model.columns)]
    deviations = columns.std(axis=0)
    varies = deviations > 1e-12 * np.abs(columns).max(
        axis=0
    )  # one that is the same for all the others predicts nothing
    standard_scores = (columns - columns.mean(axis=0))[:, varies] / deviations[varies]
    point = (at[list(model.columns)] - columns.mean(axis=0))[varies] / deviations[varies]
    inner = standard_scores.T @ standard_scores + model.penalty * units * np.eye(int(varies.sum()))
    return np.asarray(weights + standard_scores @ np.linalg.solve(inner, point))


def _root(errors: Vector) -> Vector:
    return np.asarray(np.sqrt((errors**2).mean(axis=-1)))
