"""What the order of tasks does to the score of a target: effects within each seed, and whether seeds agree on them.

All orders of one seed have its luck, so they are compared within it. Orders that begin alike share that training too:
tests exchange whole branches (`eval.statistics.branches`); intervals are Student's over seeds' effects.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.statistics import branches
from eval.statistics.branches import DRAWS, Block
from eval.statistics.several import holm
from eval.studies.means import Mean, mean
from eval.studies.order.design import Contrast, Design, contrasts
from eval.studies.records import Recipe
from eval.studies.transfer import Transfer

_SEED = 0  # of sampled arrangements


@dataclass(frozen=True)
class Effect:
    """One side's mean less the other's, mean over seeds that have both. `adjusted_p`: over all effects on a target."""

    contrast: Contrast
    size: Mean
    p: float
    adjusted_p: float


@dataclass(frozen=True)
class Agreement:
    """Whether seeds agree that orders, or what stands last or first, matter. `adjusted_p`: over all targets."""

    target: str
    question: str
    p: float
    adjusted_p: float


@dataclass(frozen=True)
class Seeds:
    """The orders of one target, seed by seed. `runs`: of each block its orders."""

    target: str
    blocks: tuple[Block, ...]
    runs: tuple[tuple[Recipe, ...], ...]

    @property
    def missing(self) -> int:
        """How many orders of all blocks are not there, of those that any has."""
        orders = {recipe for runs in self.runs for recipe in runs}
        return sum(len(orders) - len(runs) for runs in self.runs)


def seeds_of(transfer: Transfer, design: Design) -> Seeds:
    """The seeds that have at least two orders."""
    seeds = sorted({seed for order in design.orders for seed in transfer.seeds(order)})
    runs = [tuple(order for order in design.orders if (order, seed) in transfer.scores) for seed in seeds]
    present = [(seed, of_seed) for seed, of_seed in zip(seeds, runs, strict=True) if len(of_seed) > 1]
    blocks = [
        Block(of_seed, np.array([transfer.scores[order, seed] for order in of_seed])) for seed, of_seed in present
    ]
    return Seeds(transfer.target, tuple(blocks), tuple(of_seed for _, of_seed in present))


def effects(seeds: Seeds, design: Design, draws: int = DRAWS) -> tuple[Effect, ...]:
    """Of every contrast that some seed has both sides of."""
    all_contrasts = contrasts(design)
    weights = [
        np.column_stack([_weights(runs, contrast) for contrast in all_contrasts]) for runs in seeds.runs
    ]  # of each seed (runs, contrasts)
    by_seed = np.array([block.scores @ weight for block, weight in zip(seeds.blocks, weights, strict=True)])
    has_both = np.array([np.any(weight != 0, axis=0) for weight in weights])
    columns = [column for column in range(len(all_contrasts)) if has_both[:, column].any()] if weights else []
    if not columns:
        return ()
    p_values = branches.contrasts(seeds.blocks, [weight[:, columns] for weight in weights], _SEED, draws)
    sizes = [mean(by_seed[has_both[:, column], column].tolist()) for column in columns]
    return tuple(
        Effect(all_contrasts[column], size, float(p), adjusted_p)
        for column, size, p, adjusted_p in zip(columns, sizes, p_values, holm(p_values.tolist()), strict=True)
        if size is not None
    )


def agreements(of_targets: Sequence[Seeds], design: Design, draws: int = DRAWS) -> tuple[Agreement, ...]:
    """Of each target with two seeds or more; of two tasks, whose order is what stands last, the order alone."""
    tests = [
        (seeds.target, question, p)
        for seeds in of_targets
        if len(seeds.blocks) > 1
        for question, p in _of_target(seeds, design, draws)
    ]
    adjusted_values = holm([p for _, _, p in tests])
    return tuple(Agreement(*test, adjusted_p) for test, adjusted_p in zip(tests, adjusted_values, strict=True))


def _weights(runs: Sequence[Recipe], contrast: Contrast) -> NDArray[np.float64]:
    """(runs,): zeros where a side is empty."""
    one_side = np.array([recipe in contrast.one_side for recipe in runs], float)
    other_side = np.array([recipe in contrast.other_side for recipe in runs], float)
    if not one_side.any() or not other_side.any():
        return np.zeros(len(runs))
    return np.asarray(one_side / one_side.sum() - other_side / other_side.sum())


def _of_target(seeds: Seeds, design: Design, draws: int) -> list[tuple[str, float]]:
    orders = [[design.orders.index(recipe) for recipe in runs] for runs in seeds.runs]
    last = [[design.tasks.index(recipe[-1][0]) for recipe in runs] for runs in seeds.runs]
    first = [[design.tasks.index(recipe[0][0]) for recipe in runs] for runs in seeds.runs]
    questions = {"the order": orders, "which is last": last, "which is first": first}
    names = tuple(questions) if len(design.tasks) > 2 else ("the order",)
    levels = [[np.array(of_seed, np.intp) for of_seed in questions[name]] for name in names]
    return list(zip(names, branches.between(seeds.blocks, levels, _SEED, draws), strict=True))
