"""How sure the differences of the table are: every recipe against `none`, target by target, over seeds and examples."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from eval.statistics import differences, resample
from eval.statistics.differences import Compared, Difference
from eval.statistics.resample import Sample
from eval.statistics.several import holm
from eval.tables import cells
from eval.tables.cells import BASELINE, Seed, SeedMeans
from eval.tables.rows import Row
from eval.tables.significance import Comparison
from launch.plan import Plan, Stage
from launch.results import contributions, table
from launch.results.contributions import Language
from launch.store import Store

DRAWS = 10_000
_SEED = 0  # of the draws: the same table gives the same interval

Run = tuple[str, Seed]  # recipe, seed
Reader = Callable[[Stage], dict[str, Language]]  # what a stage's examples contribute, by language


def compared(
    plan: Plan, store: Store, rows: Sequence[Row], metrics: Mapping[str, str], draws: int = DRAWS
) -> dict[tuple[str, str], Comparison]:
    """By (recipe, target): of all cells that have a difference. `metrics`: the shown one of each target."""
    required_languages = table.expected(plan, store, dict(metrics))
    seed_means = cells.by_seed(rows, required_languages, metrics)
    by_cell: dict[tuple[str, str], tuple[Difference, bool]] = {}
    for target, metric in metrics.items():
        languages = {code for (_, name, _), codes in required_languages.items() if name == target for code in codes}
        read = _reader(plan, store, metric)
        by_cell |= _of_target(plan, read, target, sorted(languages), seed_means, draws)
    with_p = {cell: difference.p for cell, (difference, _) in by_cell.items() if difference.p is not None}
    adjusted_values = dict(zip(with_p, holm(list(with_p.values())), strict=True))
    return {
        cell: Comparison(difference, adjusted_values.get(cell), over_examples)
        for cell, (difference, over_examples) in by_cell.items()
    }


def of_groups(
    plan: Plan,
    store: Store,
    rows: Sequence[Row],
    target: str,
    metric: str,
    groups: Mapping[str, Sequence[str]],
    draws: int = DRAWS,
) -> dict[tuple[str, str], Comparison]:
    """By (recipe, group): the same of groups of a target's languages. p-values are not adjusted."""
    required_languages = table.expected(plan, store, {target: metric})
    rows_of_target = [row for row in rows if row.target == target]
    read = cache(_reader(plan, store, metric))  # every group is of the same runs
    comparisons: dict[tuple[str, str], Comparison] = {}
    for group, members in groups.items():
        of_group = {run: [code for code in codes if code in members] for run, codes in required_languages.items()}
        seed_means = cells.by_seed(rows_of_target, of_group, {target: metric})
        languages = sorted({code for codes in of_group.values() for code in codes})
        for (recipe, _), (difference, over_examples) in _of_target(
            plan, read, target, languages, seed_means, draws
        ).items():
            comparisons[recipe, group] = Comparison(difference, None, over_examples)
    return comparisons


def _reader(plan: Plan, store: Store, metric: str) -> Reader:
    return lambda stage: contributions.of_stage(plan, store, stage, metric)


def _of_target(
    plan: Plan, read: Reader, target: str, languages: list[str], seed_means: SeedMeans, draws: int
) -> dict[tuple[str, str], tuple[Difference, bool]]:
    names = [name for name in table.recipe_names(plan) if not seed_means.missing.get((name, target))]
    scores: dict[Run, float] = {
        (name, seed): score for name in names for seed, score in seed_means.sound((name, target)).items()
    }
    pairs = {name: _pairs(name, scores) for name in names if name != BASELINE}
    pairs = {name: of_recipe for name, of_recipe in pairs.items() if of_recipe}
    runs = list(dict.fromkeys(run for of_recipe in pairs.values() for pair in of_recipe for run in pair))
    samples = _samples(plan, read, target, languages, runs)
    drawn_scores = resample.drawn(samples, draws, _SEED) if samples else None
    place = {run: number for number, run in enumerate(runs)}
    recipes = [
        Compared(
            np.array([scores[run] - scores[baseline] for run, baseline in of_recipe]),
            _differences(drawn_scores, [(place[run], place[baseline]) for run, baseline in of_recipe]),
        )
        for of_recipe in pairs.values()
    ]
    of_recipes = differences.of_target(recipes, _SEED) if recipes else []
    return {
        (name, target): (difference, drawn_scores is not None)
        for name, difference in zip(pairs, of_recipes, strict=True)
    }


def _pairs(recipe: str, scores: Mapping[Run, float]) -> list[tuple[Run, Run]]:
    """The runs of a recipe with the baseline's run of the same seed; one without a seed stands for all."""
    seeds = [seed for name, seed in scores if name == recipe]
    baseline_seeds = [seed for name, seed in scores if name == BASELINE]
    if None in baseline_seeds:
        return [((recipe, seed), (BASELINE, None)) for seed in seeds]
    if None in seeds:
        return [((recipe, None), (BASELINE, seed)) for seed in baseline_seeds]
    return [((recipe, seed), (BASELINE, seed)) for seed in seeds if seed in baseline_seeds]


def _differences(scores: NDArray[np.float64] | None, pairs: Sequence[tuple[int, int]]) -> NDArray[np.float64] | None:
    if scores is None:
        return None
    return np.stack([scores[:, run] - scores[:, baseline] for run, baseline in pairs], axis=1)


def _samples(plan: Plan, read: Reader, target: str, languages: Sequence[str], runs: Sequence[Run]) -> list[Sample]:
    """What the examples of each language contribute in every run; empty where that is not known of all of them."""
    stages = _stages(plan, target)
    by_run = [read(stages[run]) for run in runs]
    samples = []
    for code in languages:
        of_runs = [by_language.get(code) for by_language in by_run]
        present = [language for language in of_runs if language is not None]
        if len(present) < len(of_runs) or len({language.ids for language in present}) != 1:
            return []
        samples.append(_sample(present, code))
    # Translations of the same examples: their errors are not independent.
    sizes = {len(sample.parts) for sample in samples}
    if plan.targets[target].task.parallel and len(sizes) == 1:
        return [Sample(sample.family, sample.parts, "all") for sample in samples]
    return samples


def _sample(languages: Sequence[Language], code: str) -> Sample:
    return Sample(languages[0].kind, np.stack([language.parts for language in languages], axis=2), code)


def _stages(plan: Plan, target: str) -> dict[Run, Stage]:
    return {
        (recipe, plan.stages[key].seed): plan.stages[key]
        for (recipe, name, _), key in plan.paths.items()
        if name == target
    }
