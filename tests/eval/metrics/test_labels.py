"""F1 over labels and Matthews correlation against scikit-learn; calibration error against a slow reference."""

import random
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics import labels
from eval.metrics.calibration import BINS, calibration_error

PAIRS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcde")), min_size=1, max_size=40)
CONFIDENCES = st.sampled_from([number / 16 for number in range(17)])  # few values, so that many are equal


@pytest.mark.slow
@settings(max_examples=40)
@given(PAIRS)
def test_labels_are_scored_as_by_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    golds, predictions = map(list, zip(*pairs, strict=True))
    scores = labels.score(golds, predictions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "accuracy": sklearn.accuracy_score(golds, predictions),
            "macro_f1": sklearn.f1_score(golds, predictions, average="macro", zero_division=0),
            "micro_f1": sklearn.f1_score(golds, predictions, average="micro", zero_division=0),
            "mcc": sklearn.matthews_corrcoef(golds, predictions),
        }
    assert scores == pytest.approx({name: 100 * value for name, value in expected.items()}, abs=1e-9)


def test_two_labels_have_the_correlation_of_matthews() -> None:
    golds, predictions = (
        "yyyynnnnnn",
        "yyynnnnnny",
    )  # 3 true positives, 1 false negative, 5 true negatives, 1 false positive
    assert labels.mcc(golds, predictions) == pytest.approx((3 * 5 - 1 * 1) / np.sqrt(4 * 4 * 6 * 6))
    assert labels.mcc("nnnn", "nynn") == labels.mcc("nynn", "nnnn") == 0.0
    assert labels.mcc("yn", "ny") == -1.0 and labels.mcc("yn", "yn") == 1.0


def test_calibration_by_hand() -> None:
    confidences, right = np.array([0.6, 0.6, 0.9, 0.9]), np.array([True, False, True, True])
    assert calibration_error(confidences, right, bins=2) == pytest.approx(100 * (0.1 + 0.1) / 2)
    assert calibration_error(confidences, right, bins=1) == pytest.approx(0.0)
    # Of equal confidences each counts as right as they are on average: 2 of 3 here, in every bin.
    assert calibration_error(np.array([0.5] * 3), np.array([True, True, False]), bins=3) == pytest.approx(100 / 6)
    assert calibration_error(np.array([1.0]), np.array([True])) == 0.0


@given(st.lists(st.tuples(CONFIDENCES, st.booleans()), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_calibration_does_not_depend_on_the_order(pairs: list[tuple[float, bool]], shuffler: random.Random) -> None:
    shuffled = list(pairs)
    shuffler.shuffle(shuffled)
    value = calibration_error(*map(np.array, zip(*pairs, strict=True)))
    assert value == pytest.approx(calibration_error(*map(np.array, zip(*shuffled, strict=True))), abs=1e-9)
    assert 0.0 <= value <= 100.0


@given(st.sets(st.floats(0.01, 1), min_size=1, max_size=80), st.randoms(use_true_random=False))
def test_calibration_of_different_confidences_is_the_published_sum(
    confidences: set[float], shuffler: random.Random
) -> None:
    pairs = sorted((confidence, shuffler.random() < confidence) for confidence in confidences)
    n = len(pairs)
    # numpy splits n into bins of which the first n % 15 have one more.
    sizes = [n // BINS + (number < n % BINS) for number in range(BINS)]
    total, start = 0.0, 0
    for size in sizes:
        part = pairs[start : start + size]
        start += size
        if part:
            accuracy = sum(right for _, right in part) / size
            total += size / n * abs(accuracy - sum(confidence for confidence, _ in part) / size)
    assert calibration_error(*map(np.array, zip(*pairs, strict=True))) == pytest.approx(100 * total, abs=1e-9)


def test_who_is_as_sure_as_right_is_calibrated() -> None:
    generator = np.random.default_rng(1)
    confidences = generator.uniform(0.3, 1.0, 20_000)
    assert calibration_error(confidences, generator.uniform(size=20_000) < confidences) < 2
    assert calibration_error(confidences, np.zeros(20_000, bool)) == pytest.approx(65, abs=1)
