"""Scores of answers: by hand, against a plain computation, and what calibration must and must not change."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.formats.prompts import scoring

seeds = st.integers(0, 2**32 - 1)


def drawn(seed: int, *shape: int) -> np.ndarray:
    return -np.random.default_rng(seed).exponential(4, shape)


def test_sum_and_mean_by_hand() -> None:
    answers = [[np.log(np.array(p, np.float32)) for p in ([0.5], [0.5, 0.25])], [np.log(np.float32([0.1]))] * 2]
    np.testing.assert_allclose(np.exp(scoring.summed(answers)), [[0.5, 0.125], [0.1, 0.1]], rtol=1e-6)
    np.testing.assert_allclose(np.exp(scoring.averaged(answers)), [[0.5, math.sqrt(0.125)], [0.1, 0.1]], rtol=1e-6)


@given(seeds, st.integers(1, 5), st.integers(2, 4), st.integers(1, 3))
def test_calibration_is_that_of_its_paper(seed: int, examples: int, labels: int, inputs: int) -> None:
    """W = diag(p_cf)^-1 applied to the labels' probabilities, in plain numbers."""
    scores, content_free = drawn(seed, examples, labels), drawn(seed + 1, inputs, labels)
    p_cf = np.exp(content_free).mean(axis=0)
    p_cf /= p_cf.sum()
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    q = np.linalg.inv(np.diag(p_cf)) @ p.T
    np.testing.assert_allclose(np.exp(scoring.calibrated(scores, content_free)), (q / q.sum(axis=0)).T, rtol=1e-6)
    own = np.repeat(content_free[:, None], examples, axis=1)  # of every example its own, all the same here
    np.testing.assert_allclose(scoring.calibrated(scores, own), scoring.calibrated(scores, content_free))


@given(seeds, st.integers(2, 4))
def test_an_input_that_says_nothing_is_undecided_after_calibration(seed: int, labels: int) -> None:
    content_free = drawn(seed, 1, labels)
    np.testing.assert_allclose(np.exp(scoring.calibrated(content_free, content_free)), 1 / labels)
    np.testing.assert_allclose(scoring.pmi(content_free, content_free[0]), 0)


@given(seeds, st.integers(1, 6), st.integers(2, 4))
def test_pmi_and_calibration_with_one_input_predict_the_same(seed: int, examples: int, labels: int) -> None:
    scores, content_free = drawn(seed, examples, labels), drawn(seed + 1, labels)
    by_pmi = scoring.pmi(scores, content_free)
    by_calibration = scoring.calibrated(scores, content_free[None])
    assert (by_pmi.argmax(axis=1) == by_calibration.argmax(axis=1)).all()
    # What favours a label everywhere alike is taken out by both.
    bias = drawn(seed + 2, labels)
    np.testing.assert_allclose(scoring.pmi(scores + bias, content_free + bias), by_pmi, atol=1e-9)
    np.testing.assert_allclose(
        scoring.calibrated(scores + bias, (content_free + bias)[None]), by_calibration, atol=1e-9
    )


def test_very_small_probabilities_stay_finite() -> None:
    scores = np.array([[-9000.0, -9001.0]])
    np.testing.assert_allclose(np.exp(scoring.log_shares(scores)), [[1 / (1 + math.exp(-1)), 1 / (1 + math.e)]])
    assert np.isfinite(scoring.calibrated(scores, np.array([[-9e3, 0.0]]))).all()
