"""An experiment's results: the published scores of its evaluate stages as rows, as the table and as averages.

A training that did no better on English dev than a constant answer has diverged, and with it all that rests on it.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eval.tables import averages, table
from eval.tables import cells as score_cells
from eval.tables.averages import Average
from eval.tables.cells import DIVERGED, Cell
from eval.tables.rows import Row
from launch.plan import Plan, Stage
from launch.results.scores import at_chance, trainings_under
from launch.store import Store
from launch.store.store import Known
from launch.text import as_typed, some
from slurm.base import UsageError, look
from slurm.base.files import make_folder, write_atomic
from training import formats

Profile = Literal["xtreme", "corrected"]  # metrics as published; with their flaws mended
_AT_CHANCE = Known._fields.index("at_chance")


def profile(text: str) -> Profile:
    """The profile of this name; UsageError where there is none."""
    if text == "xtreme" or text == "corrected":
        return text  # type: ignore[return-value]  # a str that equals one is no Literal to the checker
    raise UsageError(f"profile {text}: it is xtreme (as published) or corrected")


def expected(plan: Plan, store: Store, metric_names: dict[str, str]) -> dict[tuple[str, str, int | None], list[str]]:
    """The languages that every (recipe, target, seed) must have before it counts: all that could have the shown metric.

    That is, but those without gold, those scored under a name that stands in for it, and pairs of languages. Of the
    targets that `metric_names` has. Of a race, only seeds that are there in full; of a pair without any, the first.
    """
    languages: dict[tuple[str, str, int | None], list[str]] = {}
    spared_runs = spared(plan, store)
    for (recipe, target, seed), key in plan.paths.items():
        if target not in metric_names or (recipe, target, seed) in spared_runs:
            continue
        by_language = _metrics(plan, store, plan.stages[key])
        languages[recipe, target, plan.stages[key].seed] = [
            language
            for language in score_cells.in_the_mean(list(plan.targets[target].languages))
            if language not in by_language or _counts(by_language[language], metric_names[target])
        ]
    return languages


def _metrics(plan: Plan, store: Store, stage: Stage) -> Mapping[str, Sequence[str]]:
    """By language: the names of its scores. Where all was collected, of those alone that may not count."""
    if store.stand_ins is not None:
        return store.stand_ins.get(stage.key, {})
    return {language: tuple(result.scores) for language, result in store.language_results(plan, stage).items()}


def spared(plan: Plan, store: Store) -> set[tuple[str, str, int]]:
    """The runs that a race can do without: nobody says here which seeds a pair still gets."""
    race = plan.experiment.race
    if race is None:
        return set()
    complete_runs = {
        run
        for run, key in plan.paths.items()
        if plan.targets[run[1]].languages.keys() <= _languages(plan, store, plan.stages[key])
    }
    begun = {(recipe, target) for recipe, target, _ in complete_runs}
    optional_seeds = plan.experiment.optional_seeds
    return {run for run in plan.paths.keys() - complete_runs if run[:2] in begun or run[2] in optional_seeds}


def _languages(plan: Plan, store: Store, stage: Stage) -> Set[str]:
    """Those with a result."""
    if store.languages_read is not None:
        return store.languages_read.get(stage.key, frozenset())
    return store.language_results(plan, stage).keys()


def seeds(plan: Plan, rows: Sequence[Row]) -> tuple[int, ...]:
    """Those that averages are over: all; in a race those that every recipe has on every target, or the first ones."""
    race, all_seeds = plan.experiment.race, plan.experiment.seeds
    if race is None:
        return all_seeds
    runs = {(row.recipe, row.target, row.seed) for row in rows}
    cells = {(recipe, target) for recipe, target, _ in plan.paths}
    common_seeds = [seed for seed in all_seeds if all({(*cell, seed), (*cell, None)} & runs for cell in cells)]
    return tuple(common_seeds) or all_seeds[: race.min]


def seeds_words(plan: Plan) -> str:
    """How many a cell has."""
    race, count = plan.experiment.race, len(plan.experiment.seeds)
    return f"{count} seeds" if race is None else f"{race.min} to {race.max} seeds, as many as the race gave a pair"


def _counts(scores: Sequence[str], metric: str) -> bool:
    return bool(scores) and not score_cells.stands_in(scores, metric)


def cells(plan: Plan, store: Store, rows: list[Row], profile: Profile = "xtreme") -> dict[tuple[str, str], Cell]:
    """The table's cells, by (recipe, target)."""
    metric_names = metrics(plan, rows, profile)
    return score_cells.of_rows(rows, expected(plan, store, metric_names), metric_names)


def recipe_names(plan: Plan) -> list[str]:
    """The recipes as shown, in the file's order."""
    return list(plan.recipe_names)


def metrics(plan: Plan, rows: list[Row], profile: Profile = "xtreme") -> dict[str, str]:
    """By target: the metric that the table shows."""
    present: dict[str, set[str]] = {name: set() for name in plan.targets}
    for row in rows:
        present[row.target].add(row.metric)
    return {
        name: score_cells.shown_metric(
            (definition.task.corrected if profile == "corrected" else "") or definition.task.metric, present[name]
        )
        for name, definition in plan.targets.items()
    }


def averaged(plan: Plan, rows: list[Row], name: str | None = None) -> list[Average]:
    """The average of this name, or of every benchmark all of whose targets the experiment has."""
    benchmarks = [averages.find(name)] if name else list(averages.BENCHMARKS.values())
    return [
        averages.average(benchmark, rows, recipe_names(plan), seeds(plan, rows))
        for benchmark in benchmarks
        if name or set(benchmark.targets) <= set(plan.targets)
    ]


def notes(plan: Plan, store: Store, rows: list[Row], metric_names: dict[str, str]) -> list[str]:
    """What a reader of the numbers must know. `metric_names`: the shown metric by target."""
    lines = [*_marked(rows), *diverged(plan, store), *score_cells.notes(rows, metric_names)]
    scored_targets = {row.target for row in rows}
    lines += [
        f"{name}: {note}"
        for name, target in plan.targets.items()
        if name in scored_targets
        and (note := formats.get(target.task.format).reading_note(target.task, target.settings))
    ]
    if plan.experiment.max_eval and rows:
        lines.append(f"max_eval: of the first {plan.experiment.max_eval} examples of each language only")
    versions = len(_codes(plan, store, rows))
    return [*lines, f"these results were made by {versions} versions of the code"] if versions > 1 else lines


def _codes(plan: Plan, store: Store, rows: list[Row]) -> set[str]:
    """Hashes of the code that made some rows, and the trainings that they rest on."""
    trainings = {t.key: t for key in {row.stage for row in rows} for t in trainings_under(plan, plan.stages[key])}
    facts = [store.train_facts(training) for training in trainings.values()]
    return {row.code for row in rows} | {of_training.code for of_training in facts if of_training and of_training.code}


def _marked(rows: list[Row]) -> list[str]:
    """What the marks in the table mean, where it has any."""
    runs = {(row.recipe, row.target, row.seed): row.diverged for row in rows}
    if not any(runs.values()):
        return []
    return [
        f"{DIVERGED} {sum(runs.values())} of {len(runs)} runs (recipe, target, seed) rest on a training that"
        f" diverged and are left out, of differences too ({DIVERGED}1: one seed of a cell);"
        f" {DIVERGED} alone: the cell has no other seed, so the score is of those"
    ]


def diverged(plan: Plan, store: Store) -> list[str]:
    """Which trainings diverged and what to type next: one line, or none."""
    sound_keys = {key for key, facts in store.index.items() if not facts[_AT_CHANCE]}  # most, in a large experiment
    open_ = (stage for key, stage in plan.stages.items() if key not in sound_keys and stage.kind == "train")
    at_chance_stages = [stage for stage in open_ if at_chance(plan, store, stage)]
    if not at_chance_stages:
        return []
    names = some(stage.name for stage in at_chance_stages)
    return [
        f"diverged (on English dev no better than a constant answer): {names}; look: stepstone logs"
        f" {as_typed(plan.experiment.path)} {at_chance_stages[0].key}; then set a lower learning_rate, more epochs"
        " or other seeds"
    ]


@dataclass(frozen=True)
class Summary:
    """All that is shown of an experiment's scores. `metrics`: the shown one of each target."""

    recipes: list[str]
    metrics: dict[str, str]
    cells: dict[tuple[str, str], Cell]
    averages: list[Average]
    notes: list[str]
    profile: Profile


def summary(
    plan: Plan, store: Store, rows: list[Row], profile: Profile = "xtreme", average: str | None = None
) -> Summary:
    """`average`: this one alone; else those that fit the targets. Of profile `corrected` there is none."""
    metric_names = metrics(plan, rows, profile)
    return Summary(
        recipe_names(plan),
        metric_names,
        score_cells.of_rows(rows, expected(plan, store, metric_names), metric_names),
        averaged(plan, rows, average) if profile == "xtreme" else [],
        notes(plan, store, rows, metric_names),
        profile,
    )


def write(plan: Plan, summary: Summary) -> Path:
    """Write the table to the experiment's results folder (`table.md`; `table-corrected.md`), where it is another than
    the one that is there. Its path."""
    folder = make_folder(plan.experiment.store / "results" / plan.experiment.name)
    parts = [
        table.markdown(summary.cells, summary.recipes, summary.metrics),
        "".join(f"- {note}\n" for note in summary.notes),
        *(_markdown(benchmark_average) for benchmark_average in summary.averages),
    ]
    path = folder / ("table.md" if summary.profile == "xtreme" else f"table-{summary.profile}.md")
    text = "\n".join(part for part in parts if part)
    if not path.exists() or look.read_bytes(path) != text.encode():
        write_atomic(path, text)
    return path


def _markdown(benchmark_average: Average) -> str:
    text = (
        table.markdown(benchmark_average.cells, benchmark_average.recipes, benchmark_average.benchmark.columns)
        if benchmark_average.recipes
        else ""
    )
    return text + "".join(f"\n{line}\n" for line in benchmark_average.missing)
