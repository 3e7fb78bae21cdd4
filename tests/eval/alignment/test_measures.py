"""Measures of alignment: against their published definitions written out, and where the answer is known."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression

from eval.alignment import measures, probe
from eval.alignment.cka import linear_cka
from eval.alignment.cosines import cosine_gap
from eval.alignment.hubness import skewness
from eval.alignment.isotropy import iso_score
from eval.alignment.measures import Sides
from eval.alignment.retrieval import Nearest, by_cosine, by_margin

Matrix = NDArray[np.float64]
seeds = st.integers(0, 10**6)


def normal(seed: int, rows: int, width: int) -> Matrix:
    return np.random.default_rng(seed).normal(size=(rows, width))


def rotation(seed: int, width: int) -> Matrix:
    return np.linalg.qr(normal(seed, width, width))[0]


def unit(x: Matrix) -> Matrix:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def nearest(queries: Matrix, index: Matrix, k: int = 10) -> Nearest:
    """By sorting all cosines."""
    cosines = queries @ index.T
    places = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return Nearest(np.take_along_axis(cosines, places, 1).astype(np.float32), places)


# --- CKA


def gram_cka(x: Matrix, y: Matrix) -> tuple[float, float]:
    """By Gram matrices: HSIC as Kornblith et al. have it, and Song et al.'s unbiased estimate."""
    n = len(x)
    centring, ones = np.eye(n) - 1 / n, np.ones(n)

    def hsic(k: Matrix, l_: Matrix) -> float:
        return float(np.trace(k @ centring @ l_ @ centring)) / (n - 1) ** 2

    def unbiased(k: Matrix, l_: Matrix) -> float:
        k, l_ = k - np.diag(np.diag(k)), l_ - np.diag(np.diag(l_))
        sums = (ones @ k @ ones) * (ones @ l_ @ ones) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (ones @ k @ l_ @ ones)
        return float((np.trace(k @ l_) + sums) / (n * (n - 3)))

    def ratio(f: Callable[[Matrix, Matrix], float]) -> float:
        return f(x @ x.T, y @ y.T) / float(np.sqrt(f(x @ x.T, x @ x.T) * f(y @ y.T, y @ y.T)))

    return ratio(hsic), ratio(unbiased)


@given(seeds, st.integers(5, 30), st.integers(2, 12), st.integers(2, 12), st.floats(-5, 5))
def test_cka_is_that_of_gram_matrices(seed: int, n: int, width: int, other_width: int, shift: float) -> None:
    x, y = normal(seed, n, width) + shift, normal(seed + 1, n, other_width)
    y[:, 0] += x[:, 0]
    cka = linear_cka(x, y)
    assert (cka.linear, cka.debiased) == pytest.approx(gram_cka(x, y), abs=1e-9)


def test_cka_of_what_is_known() -> None:
    x = normal(0, 200, 20)
    moved = 3 * x @ rotation(1, 20) + 7
    for y in (x, moved):
        assert (linear_cka(x, y).linear, linear_cka(x, y).debiased) == pytest.approx((1, 1))
    single = linear_cka(x.astype(np.float32), moved.astype(np.float32))
    assert (single.linear, single.debiased) == pytest.approx((1, 1), abs=1e-5)
    for y in (np.ones((200, 20)), np.full((200, 20), 0.1, np.float32)):
        assert (linear_cka(x.astype(y.dtype), y).linear, linear_cka(x.astype(y.dtype), y).debiased) == (0, 0)


def test_of_unrelated_vectors_only_the_debiased_cka_is_near_0() -> None:
    """Of as many dimensions as rows the other one is about ½."""
    both = [linear_cka(normal(seed, 60, 60), normal(seed + 1000, 60, 60)) for seed in range(40)]
    assert np.mean([cka.linear for cka in both]) > 0.45
    assert abs(np.mean([cka.debiased for cka in both])) < 0.01


# --- cosine gap, isotropy, hubness


@given(seeds, st.integers(2, 20), st.integers(2, 6))
def test_the_cosine_gap_is_over_all_pairs(seed: int, n: int, width: int) -> None:
    x, y = unit(normal(seed, n, width)), unit(normal(seed + 1, n, width))
    cosines = x @ y.T
    expected = np.diag(cosines).mean() - cosines[~np.eye(n, dtype=bool)].mean()
    assert cosine_gap(x, y) == pytest.approx(expected, abs=1e-12)
    assert cosine_gap(np.eye(4), np.eye(4)) == 1


def published_iso_score(x: Matrix) -> float:
    """The steps of Rudman et al. 2022, algorithm 1."""
    d = x.shape[1]
    variances = np.linalg.eigvalsh(np.cov(x.T))  # the diagonal, after rotation to principal components
    scaled = np.sqrt(d) * variances / np.linalg.norm(variances)
    defect = np.linalg.norm(scaled - 1) / np.sqrt(2 * (d - np.sqrt(d)))
    share = (d - defect**2 * (d - np.sqrt(d))) ** 2 / d**2
    return float((d * share - 1) / (d - 1))


@given(seeds, st.integers(3, 40), st.integers(2, 8), st.floats(0.01, 100))
def test_isotropy_is_the_published_score(seed: int, n: int, width: int, stretch: float) -> None:
    x = normal(seed, n, width)
    x[:, 0] *= stretch
    assert iso_score(x) == pytest.approx(published_iso_score(x), abs=1e-9)


def test_isotropy_of_what_is_known() -> None:
    corners = np.vstack([np.eye(5), -np.eye(5)])
    assert iso_score(corners) == pytest.approx(1)
    assert iso_score(100 + 3 * corners @ rotation(2, 5)) == pytest.approx(1)
    line = np.outer(np.arange(6.0), np.arange(1, 4))
    assert iso_score(line) == pytest.approx(0, abs=1e-12)
    assert iso_score(np.ones((6, 3))) == 0
    half = normal(3, 5000, 10) * ([1] * 5 + [0] * 5)  # 5 of 10 dimensions: (5 - 1) / (10 - 1)
    assert iso_score(half) == pytest.approx(4 / 9, abs=0.01)


@given(st.lists(st.lists(st.integers(0, 7), min_size=3, max_size=3, unique=True), min_size=1, max_size=12))
def test_hubness_is_the_skewness_of_occurrences(places: list[list[int]]) -> None:
    occurrences = [sum(place in row for row in places) for place in range(8)]
    expected = stats.skew(occurrences) if len(set(occurrences)) > 1 else 0.0
    assert skewness(np.array(places), 8) == pytest.approx(expected, abs=1e-12)


# --- retrieval


@settings(deadline=None)
@given(seeds, st.integers(1, 12))
def test_margin_is_its_definition(seed: int, n: int) -> None:
    x, y = unit(np.abs(normal(seed, n, 4))), unit(np.abs(normal(seed + 1, n, 4)))
    forward, back = nearest(x, y), nearest(y, x)
    cosines, k = (x @ y.T).astype(np.float32), min(4, n)
    x_mean = [np.sort(row)[-k:].mean() for row in cosines]
    y_mean = [np.sort(column)[-k:].mean() for column in cosines.T]
    for row, place in enumerate(by_margin(forward, back)):
        margins = {j: 2 * cosines[row, j] / (x_mean[row] + y_mean[j]) for j in forward.places[row, :4]}
        assert margins[place] == pytest.approx(max(margins.values()))
    assert by_cosine(forward).tolist() == cosines.argmax(axis=1).tolist()


def test_a_hub_takes_all_by_cosine_and_nothing_by_margin() -> None:
    x = np.eye(8)[:6]
    y = unit(0.6 * x + np.eye(8)[6])
    hub = unit(np.ones((1, 8)) - np.eye(8)[7])
    y[0] = hub  # nearer to x[2] to x[5] than some are: make all of them far
    y[1:] = unit(0.3 * x[1:] + np.eye(8)[7])
    forward, back = nearest(x, y), nearest(y, x)
    assert by_cosine(forward).tolist() == [0] * 6
    assert by_margin(forward, back).tolist() == [0, 1, 2, 3, 4, 5]
    assert skewness(nearest(x, y, 1).places, 6) > 1.7


# --- probe


def test_the_probe_is_logistic_regression() -> None:
    random = np.random.default_rng(4)
    rows, signs = random.normal(size=(120, 6)), np.repeat([-1.0, 1.0], 60)
    rows[:, 0] += 0.8 * signs
    weights, bias = probe.fit(rows, signs)
    theirs = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(rows, signs)
    assert weights == pytest.approx(theirs.coef_[0], abs=1e-3) and bias == pytest.approx(theirs.intercept_[0], abs=1e-3)


def test_the_probe_tells_languages_apart_where_they_differ() -> None:
    x = normal(5, 600, 8)
    assert probe.language_accuracy(x, x) == pytest.approx(0.5, abs=0.02)
    assert probe.language_accuracy(x, normal(6, 600, 8)) == pytest.approx(0.5, abs=0.05)
    apart = normal(6, 600, 8) + np.eye(8)[0] * 2.0  # the best line is right for Φ(1) of them
    assert probe.language_accuracy(x, apart) == pytest.approx(0.841, abs=0.03)
    assert probe.language_accuracy(x, x + 100) == 1
    assert probe.language_accuracy(np.ones((30, 4)), np.ones((30, 4))) == 0.5  # `<s>` of layer 0


# --- all


def sides(english: Matrix, other: Matrix) -> Sides:
    english, other = english.astype(np.float32), other.astype(np.float32)
    return Sides(english, other, unit(english), unit(other))  # type: ignore[arg-type]


def test_measures_of_equal_and_of_unrelated_spaces() -> None:
    x = normal(7, 100, 16)
    for other, low, high in ((x, 99, 100.1), (normal(8, 100, 16), -15, 15)):
        vectors = sides(x, other)
        forward, backward = (
            nearest(a, b)
            for a, b in ((vectors.unit_english, vectors.unit_other), (vectors.unit_other, vectors.unit_english))
        )
        values = measures.of_vectors(vectors, forward, backward)
        accuracies = measures.of_choices(measures.choices(forward, backward))
        for name, value in (*accuracies.items(), ("cka", values["cka_debiased"]), ("gap", values["cosine_gap"])):
            assert low <= value <= high, (name, value)
        assert values["language_probe"] == pytest.approx(50, abs=10)
        assert values["isotropy"] == pytest.approx(values["isotropy_english"], abs=6) and values["isotropy"] > 80
