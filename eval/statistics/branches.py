"""Permutation tests among runs that grew from shared trainings: `a > b > c` and `a > c > b` of one seed share `a`.

What the shared training had of luck both have, so their scores are more alike than others of that seed, and may not be
exchanged one by one. Were order without effect, whole branches of the tree of shared steps could be: scores are
permuted within each seed by the tree's automorphisms, which leave what is shared together (restricted permutation, as
in Winkler et al. 2015, "Multi-level block permutation"). Branches of another form, where a run is missing, stay apart.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import permutations
from math import factorial, prod

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Arrangements = NDArray[np.intp]  # (arrangements, runs): which run's score stands in a run's place
Path = tuple[object, ...]
DRAWS = 100_000  # of arrangements, where they are too many to be counted
_MOST_NUMBERS = 20_000_000  # in one array: of more than 200 runs a seed fewer arrangements are drawn
_CLOSE = 1e-9  # sums of the same numbers in another order


@dataclass(frozen=True)
class Block:
    """The runs of one seed. `paths`: the steps of each, all different; `scores`: (runs,)."""

    paths: tuple[Path, ...]
    scores: Vector

    def __post_init__(self) -> None:
        assert len(set(self.paths)) == len(self.paths) == len(self.scores)


@dataclass(frozen=True)
class _Branch:
    shape: tuple[object, ...]  # equal for branches that may be exchanged
    runs: tuple[int, ...]  # in the order of `alike`
    alike: tuple[tuple["_Branch", ...], ...]  # its branches, those of one shape together


def contrasts(blocks: Sequence[Block], weights: Sequence[Vector], seed: int, draws: int = DRAWS) -> Vector:
    """Two-sided p of each of several sums over all blocks of weight x score: (contrasts,).

    `weights`: of each block (runs, contrasts). Exact where each half of the blocks has not many
    more arrangements than `draws`.
    """
    actual = sum((block.scores @ weight for block, weight in zip(blocks, weights, strict=True)), np.zeros(()))
    trees = [_tree(block.paths) for block in blocks]
    draws = _affordable(draws, blocks)
    first, second = _halves([_count(tree) for tree in trees])
    if max(prod(_count(trees[at]) for at in half) for half in (first, second)) <= 2 * draws:
        values = [block.scores[_every(tree)] @ weight
                  for block, tree, weight in zip(blocks, trees, weights, strict=True)]  # fmt: skip
        sums = [(_sums([values[at][:, column] for at in first]), _sums([values[at][:, column] for at in second]))
                for column in range(len(actual))]  # fmt: skip
        return np.array([_share_as_far(*parts, abs(value)) for parts, value in zip(sums, actual, strict=True)])
    generator = np.random.default_rng(seed)
    totals = np.zeros((draws, len(actual)))
    for block, tree, weight in zip(blocks, trees, weights, strict=True):
        totals += block.scores[_sample(tree, draws, generator)] @ weight
    return _sampled(np.abs(totals) >= np.abs(actual) - _CLOSE)


def between(
    blocks: Sequence[Block], levels: Sequence[Sequence[NDArray[np.intp]]], seed: int, draws: int = DRAWS
) -> tuple[float, ...]:
    """The p of differences between levels, of several divisions into levels: how far the levels' means over all blocks
    lie apart, runs as scores less their block's mean. `levels`: of each division, of each block (runs,), from 0. One
    run a block and level, it asks whether blocks agree in their order (as Friedman 1937 does by ranks)."""
    trees = [_tree(block.paths) for block in blocks]
    draws = _affordable(draws, blocks)
    together = prod(map(_count, trees))
    generator = np.random.default_rng(seed)
    counts = [np.bincount(np.concatenate(of_blocks)).astype(float) for of_blocks in levels]
    sums = [np.zeros((len(of_levels), 1 + (together if together <= draws else draws))) for of_levels in counts]
    repeats = 1
    for at, (block, tree) in enumerate(zip(blocks, trees, strict=True)):
        if together <= draws:
            arrangements = _every(tree)[np.arange(together) // repeats % _count(tree)]
            repeats *= _count(tree)
        else:
            arrangements = _sample(tree, draws, generator)
        centred_scores = block.scores - block.scores.mean()
        with_actual = np.vstack([np.arange(len(block.paths)), arrangements])
        for run, scores in enumerate(np.ascontiguousarray(centred_scores[with_actual].T)):
            for of_division, of_blocks in zip(sums, levels, strict=True):
                of_division[of_blocks[at][run]] += scores
    p_values = []
    for division, of_levels in enumerate(counts):
        weights = 1 / np.maximum(of_levels, 1)
        distances = np.einsum("ij,i->j", sums[division] ** 2, weights)
        as_far = distances[1:] >= distances[0] - _CLOSE
        p_values.append(float(as_far.mean() if together <= draws else _sampled(as_far)))
    return tuple(p_values)


def arrangements_of(paths: Sequence[Path]) -> int:
    """How many arrangements of one seed's runs there are."""
    return _count(_tree(paths))


def _affordable(draws: int, blocks: Sequence[Block]) -> int:
    return min(draws, _MOST_NUMBERS // max((len(block.paths) for block in blocks), default=1))


def _tree(paths: Sequence[Path]) -> _Branch:
    return _branch(list(range(len(paths))), paths, 0)


def _branch(runs: list[int], paths: Sequence[Path], depth: int) -> _Branch:
    if len(runs) == 1:
        return _Branch((), tuple(runs), ())
    by_step: dict[object, list[int]] = defaultdict(list)
    for run in runs:
        by_step[paths[run][depth]].append(run)
    by_shape: dict[tuple[object, ...], list[_Branch]] = defaultdict(list)
    for members in by_step.values():
        child = _branch(members, paths, depth + 1)
        by_shape[child.shape].append(child)
    alike = tuple(tuple(by_shape[shape]) for shape in sorted(by_shape, key=repr))
    children = [child for group in alike for child in group]
    return _Branch(tuple(child.shape for child in children), tuple(r for c in children for r in c.runs), alike)


def _count(branch: _Branch) -> int:
    return prod(factorial(len(group)) * prod(map(_count, group)) for group in branch.alike)


def _every(branch: _Branch) -> Arrangements:
    """All arrangements, by run."""
    return _by_run(_every_below(branch), branch)


def _every_below(branch: _Branch) -> Arrangements:
    if not branch.alike:
        return np.array([branch.runs], np.intp)
    return _crossed([_every_of_group([_every_below(child) for child in group]) for group in branch.alike])


def _every_of_group(children: Sequence[Arrangements]) -> Arrangements:
    return np.concatenate([_crossed(order) for order in permutations(children)])


def _crossed(parts: Sequence[Arrangements]) -> Arrangements:
    """Every row of each part beside every row of the others."""
    return reduce(lambda a, b: np.hstack([np.repeat(a, len(b), axis=0), np.tile(b, (len(a), 1))]), parts)


def _sample(branch: _Branch, draws: int, generator: np.random.Generator) -> Arrangements:
    return _by_run(_sample_below(branch, draws, generator), branch)


def _sample_below(branch: _Branch, draws: int, generator: np.random.Generator) -> Arrangements:
    if not branch.alike:
        return np.tile(np.array(branch.runs, np.intp), (draws, 1))
    parts = []
    for group in branch.alike:
        children = np.stack([_sample_below(child, draws, generator) for child in group], axis=1)
        order = generator.random((draws, len(group))).argsort(axis=1)
        parts.append(np.take_along_axis(children, order[:, :, None], axis=1).reshape(draws, -1))
    return np.hstack(parts)


def _by_run(rows: Arrangements, branch: _Branch) -> Arrangements:
    by_run = np.empty_like(rows)
    by_run[:, list(branch.runs)] = rows
    return by_run


def _halves(counts: Sequence[int]) -> tuple[list[int], list[int]]:
    """The blocks in two parts with about equally many arrangements each."""
    halves: tuple[list[int], list[int]] = ([], [])
    for at in sorted(range(len(counts)), key=counts.__getitem__, reverse=True):
        min(halves, key=lambda half: prod(counts[member] for member in half)).append(at)
    return halves


def _sums(parts: Sequence[Vector]) -> Vector:
    return reduce(lambda a, b: np.add.outer(a, b).ravel(), parts, np.zeros(1))


def _share_as_far(first: Vector, second: Vector, distance: float) -> float:
    """Of all sums of one value of each, how many lie at least so far from 0."""
    ordered_sums = np.sort(first)
    above = len(ordered_sums) - np.searchsorted(ordered_sums, distance - _CLOSE - second, side="left")
    below = np.searchsorted(ordered_sums, -distance + _CLOSE - second, side="right")
    return float(np.minimum(above + below, len(ordered_sums)).sum() / (len(first) * len(second)))


def _sampled(as_far: NDArray[np.bool_]) -> Vector:
    """As in `permutation`: the actual arrangement counts as one of those drawn."""
    return np.asarray((as_far.sum(axis=0) + 1) / (len(as_far) + 1))
