"""How sure the differences of the table are: every recipe against `none`, target by target, over seeds and examples."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from eval.statistics import differences, resample
from eval.statistics.differences import Compared
from eval.statistics.resample import Sample
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
    """By (recipe, target): of all cells that have a difference. `metrics`: the shown one of each target.

    p-values are not adjusted: `eval.tables.significance.adjusted` does that for a whole table.
    """
    required_languages = table.expected(plan, store, dict(metrics))
    seed_means = cells.by_seed(rows, required_languages, metrics)
    comparisons: dict[tuple[str, str], Comparison] = {}
    for target, metric in metrics.items():
        languages = {code for (_, name, _), codes in required_languages.items() if name == target for code in codes}
        read = _reader(plan, store, metric)
        comparisons |= _of_target(plan, read, target, sorted(languages), seed_means, draws)
    return comparisons


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
        for (recipe, _), comparison in _of_target(plan, read, target, languages, seed_means, draws).items():
            comparisons[recipe, group] = comparison
    return comparisons


def _reader(plan: Plan, store: Store, metric: str) -> Reader:
    return lambda stage: contributions.of_stage(plan, store, stage, metric)


def _of_target(
    plan: Plan, read: Reader, target: str, languages: list[str], seed_means: SeedMeans, draws: int
) -> dict[tuple[str, str], Comparison]:
    names = [name for name in table.recipe_names(plan) if not seed_means.missing.get((name, target))]
    scores: dict[Run, float] = {
        (name, seed): score for name in names for seed, score in seed_means.sound((name, target)).items()
    }
    pairs = {name: _pairs(name, scores) for name in names if name != BASELINE}
    pairs = {name: of_recipe for name, of_recipe in pairs.items() if of_recipe}
    # With one seed there is no interval, over whatever examples.
    several = [of_recipe for of_recipe in pairs.values() if len(of_recipe) > 1]
    runs = list(dict.fromkeys(run for of_recipe in several for pair in of_recipe for run in pair))
    drawn_scores = _drawn(plan, read, target, languages, runs, draws) if runs else None
    place = {run: number for number, run in enumerate(runs)}
    recipes = [_compared(of_recipe, scores, place, drawn_scores) for of_recipe in pairs.values()]
    of_recipes = differences.of_target(recipes, _SEED) if recipes else []
    return {
        (name, target): Comparison(difference, None, recipe.drawn is not None)
        for name, recipe, difference in zip(pairs, recipes, of_recipes, strict=True)
    }


def _compared(
    pairs: Sequence[tuple[Run, Run]],
    scores: Mapping[Run, float],
    place: Mapping[Run, int],
    drawn_scores: NDArray[np.float64] | None,
) -> Compared:
    of_seeds = np.array([scores[run] - scores[baseline] for run, baseline in pairs])
    if drawn_scores is None or len(pairs) < 2:
        return Compared(of_seeds, None)
    columns = [drawn_scores[:, place[run]] - drawn_scores[:, place[baseline]] for run, baseline in pairs]
    return Compared(of_seeds, np.stack(columns, axis=1))


def _pairs(recipe: str, scores: Mapping[Run, float]) -> list[tuple[Run, Run]]:
    """The runs of a recipe with the baseline's run of the same seed; one without a seed stands for all."""
    seeds = [seed for name, seed in scores if name == recipe]
    baseline_seeds = [seed for name, seed in scores if name == BASELINE]
    if None in baseline_seeds:
        return [((recipe, seed), (BASELINE, None)) for seed in seeds]
    if None in seeds:
        return [((recipe, None), (BASELINE, seed)) for seed in baseline_seeds]
    return [((recipe, seed), (BASELINE, seed)) for seed in seeds if seed in baseline_seeds]


def _drawn(
    plan: Plan, read: Reader, target: str, languages: Sequence[str], runs: Sequence[Run], draws: int
) -> NDArray[np.float64] | None:
    """The mean over languages of what every run scores on test sets drawn anew: (draws, runs). None where it is not
    known of every language and run what the same examples contribute."""
    stages = _stages(plan, target)
    by_run = [read(stages[run]) for run in runs]
    sizes = set()
    for code in languages:
        if any(code not in by_language for by_language in by_run):
            return None
        if len({by_language[code].ids for by_language in by_run}) > 1:
            return None
        sizes.add(len(by_run[0][code].parts))
    # Translations of the same examples: their errors are not independent.
    are_alike = plan.targets[target].task.parallel and len(sizes) == 1
    total = np.zeros((draws, len(runs)))
    for number, code in enumerate(languages):  # one at a time: all together may be too large
        sample = _sample([by_language[code] for by_language in by_run])
        total += resample.drawn(sample, draws, _SEED if are_alike else _SEED + number)
    return total / len(languages)


def _sample(languages: Sequence[Language]) -> Sample:
    parts = np.stack([language.parts for language in languages], axis=2)
    return Sample(languages[0].kind, parts.astype(np.float32))


def _stages(plan: Plan, target: str) -> dict[Run, Stage]:
    return {
        (recipe, plan.stages[key].seed): plan.stages[key]
        for (recipe, name, _), key in plan.paths.items()
        if name == target
    }
