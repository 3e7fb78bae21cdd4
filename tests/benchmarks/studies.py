"""How often studies show what is not there, and what is: by simulation, `make study-simulations`.

Worlds of `tests.eval.studies.worlds`, whose truth is known: without any effect a row says in which share of tables,
each after Holm, anything has p < 0.05; with one that is planted, in which share that one has. Beside the tests of order
stands permuting all runs of a seed one by one, which takes the luck of a shared training for an effect; beside the
intervals of correlations the plain percentile bootstrap. Permutation tests draw fewer arrangements than studies do.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from eval.statistics import branches, correlations
from eval.statistics.correlations import Unit
from eval.statistics.several import holm
from eval.studies import transfer as transfers
from eval.studies.complexity import regressions
from eval.studies.complexity.table import gains_of, measures_of
from eval.studies.correlation import pairs, tests
from eval.studies.order import design as designs
from eval.studies.order.effects import agreements, effects, seeds_of
from eval.studies.records import Recipe
from tests.eval.studies.worlds import OrderWorld, TaskWorld, order_runs, orders, task_results

_DRAWS = 3000
Shares = tuple[float, ...]


def _last(points: float) -> Callable[[Recipe], float]:
    return lambda recipe: points * (recipe[-1] == ("a",))


def _pair(points: float) -> Callable[[Recipe], float]:
    return lambda recipe: points * designs.follows(recipe, "a", "b")


def order_shares(world: OrderWorld, worlds: int, label: str) -> Shares:
    """That order matters on a target at all; any effect; the effect called `label`; any effect one by one."""
    counts = np.zeros(4)
    for seed in range(worlds):
        runs = order_runs(world, seed)
        (transfer,) = transfers.of_targets(runs)
        design = designs.of_recipes(transfers.recipes_of(runs))
        assert design is not None
        seeds = seeds_of(transfer, design)
        of_target = effects(seeds, design, _DRAWS)
        by_label = {effect.contrast.label: effect.adjusted_p for effect in of_target}
        counts += (
            min((test.adjusted_p for test in agreements([seeds], design, _DRAWS)), default=1) < 0.05,
            min(by_label.values()) < 0.05,
            by_label[label] < 0.05,
            min(_one_by_one(world, seeds.blocks, seed)) < 0.05,
        )
    return tuple(counts / worlds)


def _one_by_one(world: OrderWorld, blocks: Sequence[branches.Block], seed: int) -> list[float]:
    """After Holm, of the same contrasts: all runs of a seed exchanged as if none shared a training."""
    random = np.random.default_rng(seed)
    all_orders = orders(world.tasks)
    contrasts = designs.contrasts(designs.Design(world.tasks, tuple(sorted(all_orders)), ()))
    sums, actual = np.zeros((_DRAWS, len(contrasts))), np.zeros(len(contrasts))
    for block in blocks:
        one_side = np.array([[path in contrast.one_side for contrast in contrasts] for path in block.paths], float)
        other_side = np.array([[path in contrast.other_side for contrast in contrasts] for path in block.paths], float)
        weights = one_side / one_side.sum(axis=0) - other_side / other_side.sum(axis=0)
        sums += random.permuted(np.tile(block.scores, (_DRAWS, 1)), axis=1) @ weights
        actual += block.scores @ weights
    as_far = (np.abs(sums) >= np.abs(actual) - 1e-9).sum(axis=0)
    return holm(((as_far + 1) / (_DRAWS + 1)).tolist())


def correlation_shares(world: TaskWorld, worlds: int) -> Shares:
    """Any metric by Spearman, Pearson, Kendall, partial Pearson; the first metric with the first target by Spearman."""
    counts = np.zeros(5)
    for seed in range(worlds):
        results = task_results(world, seed)
        all_pairs = pairs.of_languages(results, by_group=False)
        rows = [_without_intervals(kind, all_pairs) for kind in ("spearman", "pearson", "kendall")]
        partial = [
            row.adjusted_p
            for row in tests.given_size(all_pairs, results.measures, _DRAWS)
            if row.adjusted_p is not None
        ]
        counts += (*(min(p_values) < 0.05 for p_values in rows), min(partial) < 0.05, rows[0][0] < 0.05)
    return tuple(counts / worlds)


def _without_intervals(kind: correlations.Coefficient, all_pairs: Sequence[pairs.Paired]) -> list[float]:
    return holm([correlations.p_value(kind, *pair.values, 0, _DRAWS) for pair in all_pairs])


def coverage(kind: correlations.Coefficient, recipes: int, truth: float, worlds: int) -> Shares:
    """How often 95 % intervals hold the coefficient of the law that recipes' means are drawn from: BCa over recipes and
    seeds as in the study, over recipes alone, and percentiles. Three seeds, of a standard deviation of 0.3."""
    random = np.random.default_rng(1)
    law = random.multivariate_normal([0, 0], [[1, truth], [truth, 1]], 100_000) + random.normal(
        0, 0.3 / 3**0.5, (100_000, 2)
    )
    expected = _of_law(kind, law)
    counts = np.zeros(3)
    for world in range(worlds):
        means = random.multivariate_normal([0, 0], [[1, truth], [truth, 1]], recipes)
        runs = means[:, None] + random.normal(0, 0.3, (recipes, 3, 2))
        units = [Unit(run[:, 0], run[:, 1]) for run in runs]
        of_means = [Unit(np.array([x]), np.array([y])) for x, y in zip(*correlations.means(units), strict=True)]
        values = correlations._coefficients(kind, *correlations._drawn(units, 2000, np.random.default_rng(world)))
        percentiles = np.nanquantile(values, [0.025, 0.975])
        both = [correlations.interval(kind, sample, world) for sample in (units, of_means)]
        counts += [ends is not None and ends[0] <= expected <= ends[1] for ends in (*both, percentiles)]
    return tuple(counts / worlds)


def _of_law(kind: correlations.Coefficient, law: np.ndarray) -> float:
    function = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}[kind]
    return float(function(law[:, 0], law[:, 1])[0])


def complexity_shares(world: TaskWorld, worlds: int) -> Shares:
    """Any single measure; that of code length; the best one, chosen; ridge."""
    counts = np.zeros(4)
    for seed in range(worlds):
        results = task_results(world, seed)
        groups, measures = gains_of(results), measures_of(results)
        singles, together = (
            regressions.singles(groups, measures, _DRAWS),
            regressions.together(groups, measures, _DRAWS),
        )
        code_length = next(row for row in singles if "code length" in row.name)
        best, ridge = together
        counts += [any(row.adjusted_p < 0.05 for row in singles), code_length.adjusted_p < 0.05,
                   best.left_out.p < 0.05, ridge.left_out.p < 0.05]  # fmt: skip
    return tuple(counts / worlds)


def _print(name: str, shares: Shares) -> None:
    print(f"| {name} | " + " | ".join(f"{share:.1%}" for share in shares) + " |", flush=True)


def print_order(worlds: int) -> None:
    print(
        "| order: world | order matters | any effect | the planted one | any, one by one |\n|---|---:|---:|---:|---:|"
    )
    for seeds in (2, 3, 5):
        for luck in (0.0, 1.0, 3.0):
            name = f"no effect, {seeds} seeds, a training's luck {luck:.0f}"
            _print(name, order_shares(OrderWorld(seeds=seeds, luck=luck), worlds, "a last"))
    for seeds in (3, 5):
        for points in (2.0, 4.0):
            world = OrderWorld(_last(points), seeds=seeds)
            _print(f"a last {points:+.0f}, {seeds} seeds", order_shares(world, worlds, "a last"))
            world = OrderWorld(_pair(points), seeds=seeds)
            _print(f"a just before b {points:+.0f}, {seeds} seeds", order_shares(world, worlds, "a just before b"))


def print_correlation(worlds: int) -> None:
    print("\n| correlation: world | Spearman | Pearson | Kendall | given size | the planted one |")
    print("|---|---:|---:|---:|---:|---:|")
    several = TaskWorld(metrics=("accuracy", "loss", "ece"), targets=("xnli", "panx"), confound=0.5)
    for tasks in (7, 9, 12):
        _print(f"no relation, {tasks} recipes, 6 tests", correlation_shares(replace(several, tasks=tasks), worlds))
    for tasks in (7, 9, 12):
        for slope in (1.0, 3.0):
            world = replace(several, tasks=tasks, slope=slope, targets=("xnli",))
            _print(f"r = {_r(slope):.2f}, {tasks} recipes, 3 tests", correlation_shares(world, worlds))


def print_coverage(worlds: int) -> None:
    print("\n| 95 % intervals that hold the truth | BCa, recipes and seeds | BCa, recipes | percentiles |")
    print("|---|---:|---:|---:|")
    for kind in correlations.COEFFICIENTS:
        for recipes in (9, 12):
            for truth in (0.0, 0.7):
                _print(f"{kind}, {recipes} recipes, law {truth}", coverage(kind, recipes, truth, worlds))


def _r(slope: float) -> float:
    """Of a task's quality and its gain, whose noise is 1."""
    return float(slope / np.hypot(1, slope))


def print_complexity(worlds: int) -> None:
    print("\n| complexity: world | any measure | code length | the best, chosen | ridge |\n|---|---:|---:|---:|---:|")
    for tasks in (6, 9, 12):
        _print(f"no relation, {tasks} tasks, 4 measures", complexity_shares(TaskWorld(tasks=tasks), worlds))
    for tasks in (6, 9, 12):
        for slope in (1.0, 3.0):
            world = TaskWorld(tasks=tasks, slope=slope)
            _print(f"r = {_r(slope):.2f}, {tasks} tasks", complexity_shares(world, worlds))


_PARTS = {
    "order": print_order,
    "correlation": print_correlation,
    "coverage": print_coverage,
    "complexity": print_complexity,
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--worlds", type=int, default=400, help="simulated for each row")
    parser.add_argument("--only", choices=tuple(_PARTS))
    arguments = parser.parse_args()
    error = 100 * (0.05 * 0.95 / arguments.worlds) ** 0.5
    print(f"{arguments.worlds} worlds a row; standard error of a share of 5 %: {error:.1f} %\n")
    for name, print_part in _PARTS.items():
        if arguments.only in (None, name):
            print_part(arguments.worlds)


if __name__ == "__main__":
    main()
