"""Errors on what was left out, beside scikit-learn and loops."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.statistics import prediction
from eval.statistics.prediction import Model


def _data(units: int, columns: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(3, 2, (units, columns)), random.normal(size=units)


@given(st.integers(4, 9), st.integers(0, 99))
def test_one_measure_is_a_straight_line(units: int, seed: int) -> None:
    measures, outcomes = _data(units, 1, seed)
    predictions = prediction.predicted(measures, outcomes[None], (Model((0,)),))[0]
    for at in range(units):
        line = np.polyfit(np.delete(measures[:, 0], at), np.delete(outcomes, at), 1)
        assert predictions[at] == pytest.approx(np.polyval(line, measures[at, 0]), abs=1e-8)


def test_ridge_as_scikit_learn() -> None:
    linear_model, preprocessing, pipeline, model_selection = (
        pytest.importorskip(f"sklearn.{name}")
        for name in ("linear_model", "preprocessing", "pipeline", "model_selection")
    )
    measures, outcomes = _data(8, 4, 1)
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.Ridge(alpha=0.5 * 7))
    expected = model_selection.cross_val_predict(model, measures, outcomes, cv=model_selection.LeaveOneOut())
    predictions = prediction.predicted(measures, outcomes[None], (Model((0, 1, 2, 3), 0.5),))[0]
    assert predictions == pytest.approx(expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(5, 7), st.integers(1, 3), st.integers(0, 99))
def test_the_model_is_chosen_without_the_unit(units: int, columns: int, seed: int) -> None:
    measures, outcomes = _data(units, columns, seed)
    models = prediction.single(columns) + prediction.ridge(columns)
    chosen_predictions = prediction.predicted(measures, outcomes[None], models)[0]
    for at in range(units):
        rest = np.delete(np.arange(units), at)
        inner = [prediction.predicted(measures[rest], outcomes[rest][None], (model,))[0] for model in models]
        errors = [((predictions - outcomes[rest]) ** 2).sum() for predictions in inner]
        best = models[int(np.argmin(errors))]
        assert chosen_predictions[at] == pytest.approx(prediction.predicted(measures, outcomes[None], (best,))[0][at])


def test_p_is_the_share_of_orders_predicted_as_well() -> None:
    measures, outcomes = _data(5, 2, 3)
    outcomes += measures[:, 0]
    left_out = prediction.left_out(measures, outcomes, prediction.single(2), 0)
    errors = [
        np.sqrt(((prediction.predicted(measures, np.array([order]), prediction.single(2))[0] - order) ** 2).mean())
        for order in itertools.permutations(outcomes)
    ]
    assert left_out.error == pytest.approx(errors[0])
    assert left_out.p == pytest.approx(np.mean(np.array(errors) <= errors[0] + 1e-9))
    means = [np.delete(outcomes, at).mean() for at in range(5)]
    assert left_out.error_of_mean == pytest.approx(np.sqrt(((outcomes - means) ** 2).mean()))


def test_a_measure_that_is_the_same_for_all_is_the_mean() -> None:
    outcomes = np.array([1.0, 4.0, 2.0, 6.0])
    left_out = prediction.left_out(np.full((4, 1), 7.0), outcomes, prediction.single(1), 0)
    assert left_out.error == pytest.approx(left_out.error_of_mean) and left_out.p == 1.0
