"""How sure the differences of the table are: every recipe against `none`, target by target, over seeds and examples."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.statistics import differences, resample
from eval.statistics.differences import Compared
from eval.statistics.resample import Sample
from eval.statistics.sequential import Looks
from eval.tables import cells
from eval.tables.baseline import baseline_of, is_baseline
from eval.tables.cells import Seed
from eval.tables.rows import Row
from eval.tables.significance import Comparison
from launch.plan import Plan, Stage
from launch.results import contributions, table
from launch.results.contributions import Language
from launch.store import Store

DRAWS = 10_000
_SEED = 0  # of the draws: the same table gives the same interval

Run = tuple[str, Seed]  # recipe, seed
ByRun = Mapping[Run, Mapping[str, Language]]
Pairs = dict[str, list[tuple[Run, Run]]]  # by recipe: its runs with the baseline's


@dataclass(frozen=True)
class _Group:
    """Some of a target's languages, and what every run scores on them. `runs`: of which test sets are drawn anew."""

    name: str
    languages: list[str]
    scores: Mapping[Run, float]
    pairs: Pairs

    @property
    def runs(self) -> list[Run]:
        # With one seed there is no interval, over whatever examples.
        several = [of_recipe for of_recipe in self.pairs.values() if len(of_recipe) > 1]
        return list(dict.fromkeys(run for of_recipe in several for pair in of_recipe for run in pair))


def compared(
    plan: Plan, store: Store, rows: Sequence[Row], metrics: Mapping[str, str], draws: int = DRAWS
) -> dict[tuple[str, str], Comparison]:
    """By (recipe, target): of all cells that have a difference. `metrics`: the shown one of each target.

    p-values are not adjusted: `eval.tables.significance.adjusted` does that for a whole table.
    """
    comparisons: dict[tuple[str, str], Comparison] = {}
    for target, metric in metrics.items():
        comparisons |= of_groups(plan, store, rows, target, metric, {target: None}, draws)
    return comparisons


def of_groups(
    plan: Plan,
    store: Store,
    rows: Sequence[Row],
    target: str,
    metric: str,
    groups: Mapping[str, Collection[str] | None],
    draws: int = DRAWS,
) -> dict[tuple[str, str], Comparison]:
    """By (recipe, group): the same of groups of a target's languages (None: all). p-values are not adjusted."""
    required_languages = table.expected(plan, store, {target: metric})
    rows_of_target = [row for row in rows if row.target == target and row.metric == metric]
    names = table.recipe_names(plan)
    all_groups = [
        _group(name, members, names, target, metric, rows_of_target, required_languages)
        for name, members in groups.items()
    ]
    drawn_scores = _drawn(plan, store, target, metric, all_groups, draws)
    comparisons: dict[tuple[str, str], Comparison] = {}
    for group in all_groups:
        recipes = [_compared(pairs, group, drawn_scores.get(group.name)) for pairs in group.pairs.values()]
        of_recipes = differences.of_target(recipes, _SEED, looks(plan)) if recipes else []
        for name, recipe, difference in zip(group.pairs, recipes, of_recipes, strict=True):
            comparisons[name, group.name] = Comparison(difference, None, recipe.drawn is not None)
    return comparisons


def looks(plan: Plan) -> Looks | None:
    """After which seeds a race looked at differences; None: all seeds were decided on before."""
    race = plan.experiment.race
    return None if race is None else Looks(race.min, race.max)


def _group(
    name: str,
    members: Collection[str] | None,
    recipes: Sequence[str],
    target: str,
    metric: str,
    rows: Sequence[Row],
    required_languages: Mapping[tuple[str, str, Seed], Sequence[str]],
) -> _Group:
    of_group = {
        run: [code for code in codes if members is None or code in members] for run, codes in required_languages.items()
    }
    seed_means = cells.by_seed(rows, of_group, {target: metric})
    complete = [recipe for recipe in recipes if not seed_means.missing.get((recipe, target))]
    scores: dict[Run, float] = {
        (recipe, seed): score for recipe in complete for seed, score in seed_means.sound((recipe, target)).items()
    }
    pairs = {recipe: _pairs(recipe, scores) for recipe in complete if not is_baseline(recipe)}
    languages = sorted({code for codes in of_group.values() for code in codes})
    return _Group(name, languages, scores, {recipe: of_recipe for recipe, of_recipe in pairs.items() if of_recipe})


def _compared(pairs: Sequence[tuple[Run, Run]], group: _Group, drawn_scores: NDArray[np.float64] | None) -> Compared:
    """`drawn_scores`: (draws, the group's runs)."""
    of_seeds = np.array([group.scores[run] - group.scores[baseline] for run, baseline in pairs])
    if drawn_scores is None or len(pairs) < 2:
        return Compared(of_seeds, None)
    place = {run: number for number, run in enumerate(group.runs)}
    columns = [drawn_scores[:, place[run]] - drawn_scores[:, place[baseline]] for run, baseline in pairs]
    return Compared(of_seeds, np.stack(columns, axis=1))


def _pairs(recipe: str, scores: Mapping[Run, float]) -> list[tuple[Run, Run]]:
    """The runs of a recipe with the baseline's run of the same seed; one without a seed stands for all."""
    baseline = baseline_of(recipe)
    seeds = [seed for name, seed in scores if name == recipe]
    baseline_seeds = [seed for name, seed in scores if name == baseline]
    if None in baseline_seeds:
        return [((recipe, seed), (baseline, None)) for seed in seeds]
    if None in seeds:
        return [((recipe, None), (baseline, seed)) for seed in baseline_seeds]
    return [((recipe, seed), (baseline, seed)) for seed in seeds if seed in baseline_seeds]


def _drawn(
    plan: Plan, store: Store, target: str, metric: str, groups: Sequence[_Group], draws: int
) -> dict[str, NDArray[np.float64]]:
    """By group: the mean over its languages of what each of its runs scores on test sets drawn anew, (draws, runs).
    Without groups of which it is not known of every language and run what the same examples contribute."""
    stages = _stages(plan, target)
    runs = list(dict.fromkeys(run for group in groups for run in group.runs))
    by_run = {run: contributions.of_stage(plan, store, stages[run], metric) for run in runs}
    known_groups = [group for group in groups if group.runs and _is_known(group, by_run)]
    totals = {group.name: np.zeros((draws, len(group.runs))) for group in known_groups}
    for seed, codes, of_codes in _drawn_together(plan.targets[target].task.parallel, known_groups, by_run):
        runs_of_codes = list(dict.fromkeys(run for group in of_codes for run in group.runs))
        sample = _sample([[by_run[run][code] for run in runs_of_codes] for code in codes])
        drawn_scores = resample.drawn(sample, draws, seed)
        place = {run: number for number, run in enumerate(runs_of_codes)}
        for group in of_codes:
            totals[group.name] += drawn_scores[:, [place[run] for run in group.runs]]
    for group in known_groups:
        totals[group.name] /= len(group.languages)
    return totals


def _is_known(group: _Group, by_run: ByRun) -> bool:
    for code in group.languages:
        of_runs = [by_run[run].get(code) for run in group.runs]
        if None in of_runs or len({(language.kind, language.ids) for language in of_runs if language}) > 1:
            return False
    return True


def _drawn_together(
    parallel: bool, groups: Sequence[_Group], by_run: ByRun
) -> Iterator[tuple[int, list[str], list[_Group]]]:
    """The languages with the seed they are drawn by and the groups that they are in: one by one, as all together may be
    too large; but translations that are in the same groups, of which a sum is enough."""
    languages = sorted({code for group in groups for code in group.languages})
    seeds: dict[int, int] = {}  # of translations, by number of examples: their errors are not independent
    together: dict[tuple[int, tuple[str, ...]], list[str]] = {}
    for number, code in enumerate(languages):
        of_code = [group for group in groups if code in group.languages]
        language = by_run[of_code[0].runs[0]][code]
        seed = _SEED + (seeds.setdefault(len(language.parts), number) if parallel else number)
        if parallel and language.kind == "mean":
            together.setdefault((seed, tuple(group.name for group in of_code)), []).append(code)
        else:
            yield seed, [code], of_code
    for (seed, names), codes in together.items():
        yield seed, codes, [group for group in groups if group.name in names]


def _sample(languages: Sequence[Sequence[Language]]) -> Sample:
    """The sum over languages, each of which has the same runs."""
    samples = (contributions.sample_of(runs) for runs in languages)
    total = next(samples)
    for sample in samples:
        total = Sample(total.kind, total.parts + sample.parts)
    return total


def _stages(plan: Plan, target: str) -> dict[Run, Stage]:
    return {
        (recipe, plan.stages[key].seed): plan.stages[key]
        for (recipe, name, _), key in plan.paths.items()
        if name == target
    }
