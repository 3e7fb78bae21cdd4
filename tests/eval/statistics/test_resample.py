"""Test sets drawn anew: what is computed by one product is what counting each drawn example gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from eval.statistics import resample
from eval.statistics.resample import Sample

KINDS = tuple(resample.PARTS)


def _sample(kind: resample.Kind, examples: int, runs: int, seed: int) -> Sample:
    random = np.random.default_rng(seed)
    values = random.random((examples, 1, runs), dtype=np.float32)
    if kind == "mean":
        return Sample("mean", values)
    gold = random.integers(0, 4, (examples, 1, 1)).repeat(runs, axis=2)
    predicted = random.integers(0, 4, (examples, 1, runs))
    right = np.minimum(gold, predicted)
    ratio = np.concatenate([2 * right, predicted + gold], axis=1).astype(np.float32)
    return Sample(kind, ratio if kind == "ratio" else np.concatenate([values, ratio], axis=1))


def _expected(kind: resample.Kind, parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """By the definitions. `parts`: (examples, parts, runs), each as often as it counts."""
    mean = 100 * parts[:, 0].sum(axis=0) / max(1, len(parts))
    numerator, denominator = parts[:, -2:].sum(axis=0) if kind != "mean" else (mean, mean)
    ratio = 100 * numerator / np.maximum(denominator, 1)
    return np.asarray({"mean": mean, "ratio": ratio, "mean_and_ratio": (mean + ratio) / 2}[kind])


@given(st.sampled_from(KINDS), st.integers(1, 40), st.integers(1, 4), st.integers(0, 99))
def test_one_product_is_counting(kind: resample.Kind, examples: int, runs: int, seed: int) -> None:
    sample = _sample(kind, examples, runs, seed)
    draws = resample.drawn(sample, 5, seed)
    (counts,) = resample._counts(examples, 5, np.random.Generator(np.random.SFC64(seed)))
    for draw, count in enumerate(counts.astype(int)):
        assert draws[draw] == pytest.approx(_expected(kind, sample.parts.repeat(count, axis=0).astype(float)), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_as_it_is(kind: resample.Kind) -> None:
    sample = _sample(kind, 50, 3, 1)
    assert resample.scores(sample) == pytest.approx(_expected(kind, sample.parts.astype(float)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits_however_the_sums_are_taken(kind: resample.Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples and runs in another order, fewer draws at a time: float32 would round otherwise each time."""
    sample = _sample(kind, 3000, 6, 8)
    draws = resample.drawn(sample, 30, 5)
    runs = np.array([3, 0, 5, 1, 4, 2])
    assert (resample.drawn(Sample(kind, sample.parts[:, :, runs]), 30, 5) == draws[:, runs]).all()
    matrix, unit = resample._whole_numbers(sample.parts.reshape(len(sample.parts), -1))
    (counts,) = resample._counts(3000, 30, np.random.Generator(np.random.SFC64(5)))
    order = np.random.default_rng(1).permutation(3000)
    assert ((counts[:, order] @ matrix[order]) == counts.astype(np.float64) @ matrix.astype(np.float64)).all()
    assert np.abs(matrix / unit - sample.parts.reshape(matrix.shape)).max() <= (0.5 / unit if unit > 1 else 0)
    assert (unit == 1) == (kind == "ratio")
    monkeypatch.setattr(resample, "_CHUNK", 3000 * 7)
    assert (resample.drawn(sample, 30, 5) == draws).all()


def test_each_example_counts_once_on_average() -> None:
    levels = resample._poisson(np.arange(1 << 16, dtype=np.uint16)).astype(float)
    assert (np.diff(levels) >= 0).all() and levels[0] == 0
    assert levels.mean() == pytest.approx(1, abs=1e-4)
    assert levels.var() == pytest.approx(1, abs=5e-4)


def test_the_spread_is_that_of_the_mean() -> None:
    sample = _sample("mean", 2000, 1, 5)
    spread = resample.drawn(sample, 4000, 7).std()
    assert spread == pytest.approx(100 * sample.parts.std() / np.sqrt(2000), rel=0.05)


def test_every_run_is_drawn_alike() -> None:
    """Two runs that answer alike differ in no draw, however a drawing comes out."""
    sample = _sample("mean", 100, 1, 2)
    twice = Sample("mean", sample.parts.repeat(2, axis=2))
    draws = resample.drawn(twice, 50, 3)
    assert (draws[:, 0] == draws[:, 1]).all() and len(set(draws[:, 0])) > 40


def test_translations_are_drawn_together() -> None:
    """With the same seed two languages with the same answers vary as one does; drawn apart, their mean varies less."""
    language = _sample("mean", 500, 1, 4)
    first, again, apart = (resample.drawn(language, 3000, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert ((first + apart) / 2).std() == pytest.approx(first.std() / np.sqrt(2), rel=0.06)


def test_large_sets_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = _sample("ratio", 64, 2, 6)
    whole = resample.drawn(sample, 40, 9)
    monkeypatch.setattr(resample, "_CHUNK", 64 * 7)
    assert (resample.drawn(sample, 40, 9) == whole).all()
