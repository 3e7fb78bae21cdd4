"""Permutations that leave shared trainings together, beside brute force over all permutations."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.statistics import branches
from eval.statistics.branches import Block

ORDERS = list(itertools.permutations("abc"))
some_orders = st.lists(st.sampled_from(ORDERS), min_size=2, max_size=6, unique=True)


def _automorphisms(paths: Sequence[tuple[str, ...]]) -> set[tuple[int, ...]]:
    """Of all permutations of runs those after which any two runs share as many first steps as before."""

    def shared(first: tuple[str, ...], second: tuple[str, ...]) -> int:
        return next((at for at in range(len(first)) if first[at] != second[at]), len(first))

    return {
        order
        for order in itertools.permutations(range(len(paths)))
        if all(
            shared(paths[i], paths[j]) == shared(paths[order[i]], paths[order[j]])
            for i, j in itertools.combinations(range(len(paths)), 2)
        )
    }


@given(some_orders)
def test_arrangements_are_those_that_keep_what_is_shared(paths: list[tuple[str, ...]]) -> None:
    tree = branches._tree(paths)
    every = [tuple(row) for row in branches._every(tree).tolist()]
    assert len(every) == len(set(every)) == branches.arrangements_of(paths)
    assert set(every) <= _automorphisms(paths) and every[0] is not None
    drawn_rows = {tuple(row) for row in branches._sample(tree, 2000, np.random.default_rng(0)).tolist()}
    assert drawn_rows <= set(every) and len(drawn_rows) >= 0.9 * min(len(every), 48)


def test_a_whole_design_has_all_of_them() -> None:
    assert {tuple(row) for row in branches._every(branches._tree(ORDERS)).tolist()} == _automorphisms(ORDERS)
    assert branches.arrangements_of(list(itertools.permutations("abcd"))) == 24 * 48**4


@settings(max_examples=30)
@given(st.lists(some_orders, min_size=1, max_size=2), st.integers(0, 99))
def test_p_by_counting_all_pairs_of_arrangements(designs: list[list[tuple[str, ...]]], seed: int) -> None:
    random = np.random.default_rng(seed)
    blocks = [Block(tuple(paths), random.integers(-3, 4, len(paths)).astype(float)) for paths in designs]
    weights = [random.normal(size=(len(paths), 2)) for paths in designs]
    every = [branches._every(branches._tree(block.paths)) for block in blocks]
    sums = np.array([
        sum(block.scores[list(rows)] @ weight for block, rows, weight in zip(blocks, chosen, weights, strict=True))
        for chosen in itertools.product(*every)
    ])  # fmt: skip
    actual = sum(block.scores @ weight for block, weight in zip(blocks, weights, strict=True))
    expected = (np.abs(sums) >= np.abs(actual) - 1e-9).mean(axis=0)
    assert branches.contrasts(blocks, weights, 0) == pytest.approx(expected)


def test_sampled_is_near_counted() -> None:
    random = np.random.default_rng(4)
    blocks = [Block(tuple(ORDERS), random.normal(size=6)) for _ in range(3)]
    weights = [random.normal(size=(6, 4)) for _ in blocks]
    levels = [np.arange(6) for _ in blocks]
    counted = branches.contrasts(blocks, weights, 1), branches.between(blocks[:2], [levels[:2]], 1)
    assert branches.contrasts(blocks, weights, 1, draws=1000) == pytest.approx(counted[0], abs=0.05)
    assert branches.between(blocks[:2], [levels[:2]], 1, draws=2000) == pytest.approx(counted[1], abs=0.04)


def test_seeds_that_agree_in_their_order_and_those_that_do_not() -> None:
    effect = np.array([3.0, 1.0, 0.0, -1.0, -2.0, 4.0])
    random = np.random.default_rng(5)
    levels = [np.arange(6)] * 2
    alike = [Block(tuple(ORDERS), effect + random.normal(0, 0.1, 6)) for _ in range(2)]
    assert branches.between(alike, [levels], 0)[0] <= 1 / 48 + 1e-12
    assert branches.between(alike[:1], [levels[:1]], 0) == (1.0,)  # one seed agrees with itself however it is arranged


def test_luck_that_is_shared_is_no_effect() -> None:
    """Runs that begin alike share the luck of their first training: exchanged one by one it would look like an
    effect."""
    random, tests = np.random.default_rng(6), 400
    first = np.array([order[0] == "a" for order in ORDERS])
    weight = (np.where(first, 1 / 2, -1 / 4))[:, None]
    by_branches = one_by_one = 0
    for _ in range(tests):
        luck = random.normal(0, 2, (5, 3)).repeat(2, axis=1)
        scores = luck + random.normal(size=(5, 6))
        blocks = [Block(tuple(ORDERS), row) for row in scores]
        by_branches += branches.contrasts(blocks, [weight] * 5, 0)[0] <= 0.05
        sums = sum(random.permuted(np.tile(row, (400, 1)), axis=1) @ weight for row in scores)
        one_by_one += (np.abs(sums) >= abs((scores @ weight).sum())).mean() <= 0.05
    assert by_branches / tests <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / tests) < one_by_one / tests
