"""The records of a report, gathered from an experiment's plan, its store and one look at how it stands."""

import shlex
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from eval.report.content import (
    AskedStudy,
    Content,
    Grid,
    Missing,
    NotCounted,
    Raced,
    RacedPair,
    TargetGrids,
    TransferPoint,
)
from eval.tables import cells, facts
from eval.tables.facts import Grouping
from eval.tables.rows import Row
from eval.tables.sheet import Entry, Sheet
from launch import studies
from launch.merging import collect
from launch.plan import Plan, Stage
from launch.report import costs, curves, open_runs, origins
from launch.results import scores, sheets, table
from launch.results.compared import DRAWS
from launch.results.sheets import Options
from launch.status import Observation
from launch.status.rules import UNDER_WAY
from launch.store import Store

_GROUPINGS: tuple[Grouping, ...] = ("family", "script", "size")
_DRAWS_OF_LANGUAGES = 1000  # of test sets; the matrix takes as many as `stepstone table`
_ENGLISH = "en"
assert set(_GROUPINGS) < set(get_args(Grouping))


def content(plan: Plan, store: Store, observation: Observation, draws: int = DRAWS) -> Content:
    """All that a report tells of an experiment, as it is now. `store`: the observation's."""
    # What it tells to type names the file alone: a report travels.
    plan = replace(plan, experiment=replace(plan.experiment, path=Path(plan.experiment.path.name)))
    file = shlex.quote(plan.experiment.path.name)
    collection = collect(plan, store, write=False)
    rows = collection.rows
    metrics = table.metrics(plan, rows)
    sources = origins.data(plan, store)
    examples: dict[str, dict[str, int]] = {target: {} for target in plan.targets}
    for source in sources:
        if source.use == "test":
            examples[source.task][source.language] = source.examples or 0
    finished_runs = _finished_runs(plan, store)
    missing = open_runs.missing(plan, store, observation)
    of_all = sheets.of_plan(finished_runs, store, rows, Options(intervals=True, draws=draws))[0]
    matrix = without_empty_averages(of_all, plan.targets)
    return Content(
        name=plan.experiment.name,
        file=file,
        command=f"stepstone submit {file}",
        written=time.time(),
        finished=len(observation.finished),
        total=_total(observation),
        counts={state: count for state, count in observation.counts().items() if count},
        recipes=tuple(table.recipe_names(plan)),
        seeds=tuple(plan.experiment.seeds),
        raced=_raced(observation),
        least_seeds=plan.experiment.race.min if plan.experiment.race else None,
        matrix=Grid(
            _with_gaps(matrix, missing), tuple(_of_all(examples.get(column.name, {})) for column in matrix.columns)
        ),
        targets=_targets(finished_runs, store, rows, metrics, examples, min(draws, _DRAWS_OF_LANGUAGES)),
        curves=curves.of_plan(plan, store),
        transfer=_transfer(plan, store, rows, metrics),
        costs=costs.of_plan(plan, observation),
        missing=missing,
        not_counted=tuple(NotCounted(result.what, result.stage, result.why) for result in collection.set_aside),
        diverged=open_runs.diverged(plan, store),
        provenance=origins.provenance(plan, store),
        data=sources,
        environment=origins.environment(plan, store),
        notes=tuple(table.notes(plan, store, rows, metrics)),
        studies=tuple(
            AskedStudy(answer.study.question, answer.finding, answer.lacking, answer.model)
            for answer in studies.answers(plan, store, collection)
        ),
    )


def _raced(observation: Observation) -> Raced | None:
    race = observation.plan.experiment.race
    if race is None:
        return None
    pairs = (
        RacedPair(pair.recipe, pair.target, pair.wanted, pair.void_seeds, pair.words(race))
        for pair in observation.racing.pairs.values()
    )
    return Raced(100 * (1 - race.alpha), race.until, tuple(pairs))


def _total(observation: Observation) -> int:
    """How many stages there are. A race does without what failed for good, once no pair wants it."""
    is_over = observation.is_complete and not observation.among(UNDER_WAY)
    return len(observation.finished) if is_over else observation.total


def _finished_runs(plan: Plan, store: Store) -> Plan:
    """The plan with the runs alone that have all their languages: means of a partial experiment are of these."""
    paths = {path: key for path, key in plan.paths.items() if store.is_finished(plan, plan.stages[key])}
    return replace(plan, paths=paths)


def without_empty_averages(matrix: Sheet, targets: Collection[str]) -> Sheet:
    """The matrix without the averages that no recipe has: its caption says what they lack."""
    places = [
        at
        for at, column in enumerate(matrix.columns)
        if column.name in targets or any(entries[at].value is not None for _, entries in matrix.rows)
    ]
    rows = tuple((recipe, tuple(entries[at] for at in places)) for recipe, entries in matrix.rows)
    return replace(matrix, columns=tuple(matrix.columns[at] for at in places), rows=rows)


def _with_gaps(matrix: Sheet, missing: Sequence[Missing]) -> Sheet:
    """The matrix whose cells say how many scores they lack."""
    gaps: Counter[tuple[str, str]] = Counter()
    for run in missing:
        gaps[run.recipe, run.target] += len(run.languages)

    def with_gap(entry: Entry, count: int) -> Entry:
        return replace(entry, missing=count, note=f"{count} missing" if entry.value is None else "") if count else entry

    rows = tuple(
        (
            recipe,
            tuple(
                with_gap(entry, gaps[recipe, column.name])
                for column, entry in zip(matrix.columns, entries, strict=True)
            ),
        )
        for recipe, entries in matrix.rows
    )
    return replace(matrix, rows=rows)


def _of_all(examples: Mapping[str, int]) -> int:
    """Of the languages that the mean is over."""
    return sum(examples[code] for code in cells.in_the_mean(list(examples)))


def _targets(
    plan: Plan,
    store: Store,
    rows: list[Row],
    metrics: Mapping[str, str],
    examples: Mapping[str, Mapping[str, int]],
    draws: int,
) -> tuple[TargetGrids, ...]:
    options = Options(intervals=True, draws=draws)
    by_target = sheets.by_groups(plan, store, rows, options, [None, *_GROUPINGS])
    return tuple(
        TargetGrids(
            target,
            metrics[target],
            Grid(of_target[None], _of_languages(of_target[None], examples[target])),
            {by: _grouped(of_target[by], by, examples[target]) for by in _GROUPINGS},
        )
        for target, of_target in by_target.items()
    )


def _of_languages(sheet: Sheet, examples: Mapping[str, int]) -> tuple[int, ...]:
    """The first column is the mean over the others."""
    counts = [examples.get(column.name, 0) for column in sheet.columns[1:]]
    return (sum(counts), *counts)


def _grouped(sheet: Sheet, by: Grouping, examples: Mapping[str, int]) -> Grid:
    groups = facts.groups(cells.in_the_mean(list(examples)), by)
    counts = {name: sum(examples[code] for code in codes) for name, codes in groups.items()}
    return Grid(sheet, tuple(counts.get(column.name, sum(counts.values())) for column in sheet.columns))


def _transfer(plan: Plan, store: Store, rows: Sequence[Row], metrics: dict[str, str]) -> tuple[TransferPoint, ...]:
    """Of the finished runs whose models were trained on the target itself, after whatever recipe."""
    languages: dict[str, dict[str, float]] = {}  # of an evaluate stage
    for row in rows:
        if row.metric == metrics[row.target]:
            languages.setdefault(row.stage, {})[row.language] = row.score
    points: dict[tuple[str, str, int | None], TransferPoint] = {}
    of_targets = _trained_on_target(plan)
    for (recipe, target, _), key in plan.paths.items():
        stage = plan.stages[key]
        if target in of_targets and (recipe, target, stage.seed) not in points and store.is_finished(plan, stage):
            point = _point(plan, store, (recipe, target), stage, languages.get(key, {}))
            points |= {(recipe, target, stage.seed): point} if point else {}
    return tuple(points.values())


def _trained_on_target(plan: Plan) -> set[str]:
    """The targets whose models all had the same last training: dev scores of others are of different tasks."""
    last_steps: dict[str, set[str | None]] = {}
    for (_, target, _), key in plan.paths.items():
        parent = plan.stages[key].parent
        last_steps.setdefault(target, set()).add(plan.stages[parent].definition if parent else None)
    return {target for target, steps in last_steps.items() if len(steps) == 1 and None not in steps}


def _point(
    plan: Plan, store: Store, cell: tuple[str, str], stage: Stage, languages: Mapping[str, float]
) -> TransferPoint | None:
    trainings = list(scores.trainings_under(plan, stage))
    result = store.train_result(trainings[0])
    transfer_scores = [languages[code] for code in cells.in_the_mean(list(languages)) if code != _ENGLISH]
    if result is None or not transfer_scores:
        return None
    has_diverged = any(scores.at_chance(plan, store, training) for training in trainings)
    mean = sum(transfer_scores) / len(transfer_scores)
    return TransferPoint(*cell, stage.seed, result.dev_score, mean, languages.get(_ENGLISH), has_diverged)
