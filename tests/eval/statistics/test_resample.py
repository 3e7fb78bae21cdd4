"""Test sets drawn anew: what is computed by one product is what counting each drawn example gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.statistics import resample
from eval.statistics.resample import Sample


def _sample(family: resample.Family, examples: int, runs: int, seed: int) -> Sample:
    random = np.random.default_rng(seed)
    if family == "mean":
        return Sample("mean", random.random((examples, 1, runs), dtype=np.float32))
    gold = random.integers(0, 4, (examples, 1, 1)).repeat(runs, axis=2)
    predicted = random.integers(0, 4, (examples, 1, runs))
    right = np.minimum(gold, predicted)
    return Sample("f1", np.concatenate([right, predicted, gold], axis=1).astype(np.float32))


@given(st.sampled_from(["mean", "f1"]), st.integers(1, 40), st.integers(1, 4), st.integers(0, 99))
def test_one_product_is_counting(family: resample.Family, examples: int, runs: int, seed: int) -> None:
    sample = _sample(family, examples, runs, seed)
    draws = resample.drawn(sample, 5, seed)
    (counts,) = resample._counts(examples, 5, np.random.Generator(np.random.SFC64(seed)))
    for draw, count in enumerate(counts.astype(int)):
        parts = sample.parts.repeat(count, axis=0).astype(float)
        if family == "mean":
            expected = 100 * parts[:, 0].sum(axis=0) / max(1, len(parts))
        else:
            right, predicted, gold = parts.sum(axis=0)
            expected = 200 * right / np.maximum(predicted + gold, 1)
        assert draws[draw] == pytest.approx(expected, rel=1e-4)


def test_a_sample_as_it_is() -> None:
    sample = _sample("f1", 50, 3, 1)
    right, predicted, gold = sample.parts.sum(axis=0)
    assert resample.scores(sample) == pytest.approx(200 * right / (predicted + gold))


def test_each_example_counts_once_on_average() -> None:
    levels = resample._POISSON
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
    sample = _sample("f1", 64, 2, 6)
    whole = resample.drawn(sample, 40, 9)
    monkeypatch.setattr(resample, "_CHUNK", 64 * 7)
    assert resample.drawn(sample, 40, 9) == pytest.approx(whole)
