"""How often studies show what is not there, and what is: by simulation, `make study-simulations`.

Worlds of `tests.eval.studies.worlds`, whose truth is known: without any effect a row says in which share of tables,
each after Holm, anything has p < 0.05; with one that is planted, in which share that one has. Beside the tests of order
stands permuting all runs of a seed one by one, which takes the luck of a shared training for an effect; beside the
intervals of correlations others. Permutation tests draw fewer arrangements than studies do.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import special, stats

from eval.statistics import branches, correlations
from eval.statistics.correlations import Unit
from eval.statistics.several import holm
from eval.studies import transfer as transfers
from eval.studies.alignment import changes, domains
from eval.studies.complexity import regressions
from eval.studies.complexity.table import gains_of, measures_of
from eval.studies.correlation import pairs, tests
from eval.studies.order import design as designs
from eval.studies.order.effects import agreements, effects, seeds_of
from eval.studies.prompts import effects as prompt_effects
from eval.studies.prompts import modes as prompt_modes
from eval.studies.records import Recipe
from tests.eval.studies.worlds import (
    AlignmentWorld,
    OrderWorld,
    PromptWorld,
    TaskWorld,
    alignment_results,
    order_runs,
    orders,
    prompt_results,
    task_results,
)

_DRAWS = 3000
Shares = tuple[float, ...]
_OF_SCIPY = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}


def _last(points: float) -> Callable[[Recipe], float]:
    return lambda recipe: points * (recipe[-1] == ("a",))


def _pair(points: float) -> Callable[[Recipe], float]:
    return lambda recipe: points * designs.follows(recipe, "a", "b")


def order_shares(world: OrderWorld, worlds: int, label: str) -> Shares:
    """That order matters on a target at all; any effect; the effect called `label`; any effect one by one; and the test
    of what is first, alone, by branches and one by one."""
    counts = np.zeros(6)
    for seed in range(worlds):
        runs = order_runs(world, seed)
        (transfer,) = transfers.of_targets(runs)
        design = designs.of_recipes(transfers.recipes_of(runs))
        assert design is not None
        seeds = seeds_of(transfer, design)
        of_target = effects(seeds, design, _DRAWS)
        by_label = {effect.contrast.label: effect.adjusted_p for effect in of_target}
        one_by_one = _one_by_one(world, seeds.blocks, seed)
        labels = [effect.contrast.label for effect in of_target]
        counts += (
            min((test.adjusted_p for test in agreements([seeds], design, _DRAWS)), default=1) < 0.05,
            min(by_label.values()) < 0.05,
            by_label[label] < 0.05,
            min(holm(one_by_one)) < 0.05,
            of_target[labels.index("a first")].p < 0.05,
            one_by_one[labels.index("a first")] < 0.05,
        )
    return tuple(counts / worlds)


def _one_by_one(world: OrderWorld, blocks: Sequence[branches.Block], seed: int) -> list[float]:
    """Of the same contrasts: all runs of a seed exchanged as if none shared a training."""
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
    return [float(p) for p in (as_far + 1) / (_DRAWS + 1)]


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


def coverage(kind: correlations.Coefficient, truth: float, luck: float, worlds: int) -> Shares:
    """How often 95 % intervals of nine recipes with three seeds hold the coefficient of the law that their means are
    drawn from: as in the study; BCa over recipes and seeds; scipy's BCa over the recipes' means. `luck`: standard
    deviation of a seed's values, of a recipe's it is 1."""
    random = np.random.default_rng(1)
    correlated = [[1, truth], [truth, 1]]
    law = random.multivariate_normal([0, 0], correlated, 100_000) + random.normal(0, luck / 3**0.5, (100_000, 2))
    expected = float(_OF_SCIPY[kind](law[:, 0], law[:, 1])[0])
    counts = np.zeros(3)
    for world in range(worlds):
        means = random.multivariate_normal([0, 0], correlated, 9)
        units = [Unit(run[:, 0], run[:, 1]) for run in means[:, None] + random.normal(0, luck, (9, 3, 2))]
        ends = (
            correlations.interval(kind, units, world),
            _accelerated(kind, units, world),
            _of_means(kind, units, world),
        )
        counts += [low <= expected <= high for low, high in filter(None, ends)]
    return tuple(counts / worlds)


def _of_means(kind: correlations.Coefficient, units: Sequence[Unit], seed: int) -> tuple[float, float]:
    interval = stats.bootstrap(
        correlations.means(units), lambda x, y, axis: correlations._coefficients(kind, x, y), paired=True,
        vectorized=True, n_resamples=2000, rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(interval.low), float(interval.high)


def _accelerated(kind: correlations.Coefficient, units: Sequence[Unit], seed: int) -> tuple[float, float]:
    """Efron 1987, over recipes and seeds, with the jackknife over recipes."""
    first, second = correlations.means(units)
    actual = correlations._coefficients(kind, first, second)
    values = correlations._coefficients(kind, *correlations._drawn(units, 2000, np.random.default_rng(seed)))
    values = values[~np.isnan(values)]
    bias = special.ndtri(np.clip(((values < actual).mean() + (values <= actual).mean()) / 2, 1e-3, 1 - 1e-3))
    without = np.array([correlations._coefficients(kind, np.delete(first, at), np.delete(second, at))
                        for at in range(len(units))])  # fmt: skip
    away = without.mean() - without
    acceleration = (away**3).sum() / (6 * (away**2).sum() ** 1.5)
    quantiles = bias + special.ndtri(np.array([0.025, 0.975]))
    low, high = np.quantile(values, np.sort(special.ndtr(bias + quantiles / (1 - acceleration * quantiles))))
    return float(low), float(high)


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


def alignment_shares(world: AlignmentWorld, worlds: int) -> Shares:
    """Any change, and task0's on the first domain; of retrieval accuracy, after Holm."""
    counts = np.zeros(2)
    for seed in range(worlds):
        of_measures = domains.of_results(alignment_results(world, seed)).of_measures
        shown = {
            (change.domain.name, change.recipe)
            for change in changes.of_domains([domain for domain in of_measures if domain.measure == "accuracy"])
            if change.is_shown
        }
        counts += [bool(shown), (world.domains[0], (("task0",),)) in shown]
    return tuple(counts / worlds)


def prompt_shares(world: PromptWorld, worlds: int) -> Shares:
    """Anything beyond a sum, any change by a recipe, any by prompts; the first by exchanged signs; and of task0 what is
    beyond the sum with prompted text."""
    counts = np.zeros(5)
    for seed in range(worlds):
        targets = prompt_modes.of_results(prompt_results(world, seed))
        families = [prompt_effects.of_targets(question, targets) for question in prompt_effects.QUESTIONS]
        sums = families[0]
        planted = next(e for e in sums if (e.recipe, e.mode.kind) == ((("task0",),), "both"))
        by_signs = holm([effect.signs_p for effect in sums if effect.signs_p is not None])
        counts += [*(any(effect.is_shown for effect in family) for family in families),
                   min(by_signs) < 0.05, planted.is_shown]  # fmt: skip
    return tuple(counts / worlds)


def _print(name: str, shares: Shares) -> None:
    print(f"| {name} | " + " | ".join(f"{share:.1%}" for share in shares) + " |", flush=True)


def print_order(worlds: int) -> None:
    print("| order: world | order matters | any effect | the planted one | any, one by one", end="")
    print(" | what is first, alone | alone, one by one |\n|---|---:|---:|---:|---:|---:|---:|")
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
    print("\n| 95 % intervals that hold the truth | of the study | BCa, recipes and seeds | BCa, recipes |")
    print("|---|---:|---:|---:|")
    for kind in correlations.COEFFICIENTS:
        for truth in (0.0, 0.7):
            for luck in (0.3, 1.0):
                _print(f"{kind}, law {truth}, a seed's luck {luck}", coverage(kind, truth, luck, worlds))


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


def print_alignment(worlds: int) -> None:
    print("\n| alignment: world | any change | the planted one |\n|---|---:|---:|")
    for seeds in (2, 3, 5):
        _print(
            f"no change, 5 recipes x 2 domains, {seeds} seeds", alignment_shares(AlignmentWorld(seeds=seeds), worlds)
        )
    for seeds in (3, 5):
        for points in (3.0, 10.0):
            world = AlignmentWorld({("task0", "medical"): points}, seeds=seeds)
            _print(f"a recipe {points:+.0f} on a domain, {seeds} seeds", alignment_shares(world, worlds))


def print_prompts(worlds: int) -> None:
    print("\n| prompts: world | any beyond the sum | any recipe | any prompts | beyond, by signs | the planted one |")
    print("|---|---:|---:|---:|---:|---:|")
    for seeds in (2, 3, 5, 10):
        world = PromptWorld(seeds=seeds, prompted=70.0)
        _print(f"no effect, {seeds} seeds", prompt_shares(world, worlds))
        _print(f"no effect, luck of two peaks, {seeds} seeds", prompt_shares(replace(world, rough=True), worlds))
        sums = replace(world, by_recipe=5.0, by_prompts=4.0)
        _print(f"+5 and +4 add up, {seeds} seeds", prompt_shares(sums, worlds))
    for seeds in (3, 5, 10):
        for points in (-4.0, -8.0):
            world = PromptWorld(by_recipe=5.0, by_prompts=4.0, beyond=points, seeds=seeds)
            _print(f"{points:+.0f} beyond the sum, {seeds} seeds", prompt_shares(world, worlds))


_PARTS = {
    "order": print_order,
    "correlation": print_correlation,
    "coverage": print_coverage,
    "complexity": print_complexity,
    "alignment": print_alignment,
    "prompts": print_prompts,
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
