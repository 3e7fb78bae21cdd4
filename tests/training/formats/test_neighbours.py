"""Nearest neighbours: the definition, whatever the tiles, by numpy and by torch; and faiss."""

from collections.abc import Callable
from functools import partial
from typing import Any

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eval.prediction import search as neighbours_torch
from training.formats.neighbours import Floats, neighbours

small = st.lists(st.lists(st.integers(1, 3), min_size=3, max_size=3), min_size=1, max_size=9)
by_torch = partial(neighbours_torch.neighbours, torch.device("cpu"))
both = pytest.mark.parametrize("search", [neighbours, by_torch], ids=["numpy", "torch"])


@both
@given(queries=small, index=small, k=st.integers(1, 5), tile=st.integers(1, 5))
def test_neighbours_are_the_best_and_the_first_of_equals(
    search: Callable[..., Any], queries: Any, index: Any, k: int, tile: int
) -> None:
    values, places = search(np.array(queries, np.float32), np.array(index, np.float32), k, tile)
    assert values.dtype == np.float32 and places.dtype == np.int64
    for query, row, at in zip(queries, values, places, strict=True):
        scores = [sum(a * b for a, b in zip(query, other, strict=True)) for other in index]
        order = sorted(range(len(index)), key=lambda place: (-scores[place], place))[:k]
        assert list(at) == order
        assert list(row) == [scores[place] for place in order]


def unit_vectors(*sizes: int) -> list[Floats]:
    generator = np.random.default_rng(1)
    drawn = (generator.normal(size=(size, 24)).astype(np.float32) for size in sizes)
    return [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in drawn]


@both
@pytest.mark.parametrize("tile", [64, 300, 4096])
def test_neighbours_are_those_of_faiss(search: Callable[..., Any], tile: int) -> None:
    x, y = unit_vectors(500, 800)
    index = faiss.IndexFlatIP(24)
    index.add(y)
    values, places = index.search(x, 4)
    mine, at = search(x, y, 4, tile)
    assert (at == places).all()
    np.testing.assert_allclose(mine, values, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_finds_the_same() -> None:
    x, y = unit_vectors(500, 800)
    values, places = neighbours_torch.neighbours_on(torch.device("cuda"), x, y, 20)
    expected, at = neighbours(x, y, 20)
    assert (places == at).all()
    np.testing.assert_allclose(values, expected, atol=1e-6)


@given(x=small, y=small, k=st.integers(1, 5), tile=st.integers(1, 5))
def test_both_ways_find_what_each_way_finds(x: Any, y: Any, k: int, tile: int) -> None:
    """With many ties, and tiles that part them."""
    x, y = np.array(x, np.float32), np.array(y, np.float32)
    forward, backward = neighbours_torch.both_ways(torch.device("cpu"), x, y, k, tile)
    for (values, places), expected in ((forward, neighbours(x, y, k)), (backward, neighbours(y, x, k))):
        assert places.tolist() == expected[1].tolist() and values.tolist() == expected[0].tolist()


@pytest.mark.parametrize("tile", [64, 300, 4096])
def test_both_ways_of_many(tile: int) -> None:
    x, y = unit_vectors(500, 800)
    (_, forward), (_, backward) = neighbours_torch.both_ways(torch.device("cpu"), x, y, 10, tile)
    assert (forward == neighbours(x, y, 10)[1]).all() and (backward == neighbours(y, x, 10)[1]).all()
