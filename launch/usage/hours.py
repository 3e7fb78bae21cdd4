"""Where the hours of an experiment went: by outcome, recipe and kind, from the attempts' notes alone.

They are GPU-hours where elements ask for GPUs, else core-hours, by what the file asks for now. A stage that several
recipes need counts in equal parts for each of them, so that the recipes' hours add up to the total.
"""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal

from eval.tables.baseline import with_label
from launch import executors
from launch.plan import Plan, Stage
from launch.results.scores import at_chance
from launch.status import Observation, State, history, spent
from launch.status.rules import STATES, UNDER_WAY
from launch.store.store import Known
from slurm.base import UserError

_HOUR = 3600.0
_OPEN: tuple[State, ...] = tuple(state for state in STATES if state not in ("new", "finished"))
_DIVERGED = "diverged"  # an outcome, beside those of `spent`
_AT_CHANCE: Final = 4  # of a Known, which in memory is a plain list
_SPENT: Final = 6
assert (Known._fields[_AT_CHANCE], Known._fields[_SPENT]) == ("at_chance", "spent")


@dataclass(frozen=True)
class Hours:
    """Hours of GPUs, or of cores, by what became of them."""

    useful: float = 0.0
    running: float = 0.0  # attempts that are not over
    idle: float = 0.0  # held, and neither trained nor evaluated: imports, loading, tokenising, saving
    diverged: float = 0.0  # trainings that came to nothing
    again: dict[str, float] = field(default_factory=dict)  # by cause: done again, beyond the last checkpoint
    failed: dict[str, float] = field(default_factory=dict)  # by cause: lost in failures

    @property
    def wasted(self) -> float:
        return self.diverged + sum(self.again.values()) + sum(self.failed.values())

    @property
    def total(self) -> float:
        return self.useful + self.running + self.idle + self.wasted

    @property
    def wasted_on(self) -> dict[str, float]:
        """By what, the most first."""
        parts = {"diverged": self.diverged} | self.failed
        parts |= {f"{cause}, done again": hours for cause, hours in self.again.items()}
        return dict(sorted(((name, hours) for name, hours in parts.items() if hours), key=lambda part: -part[1]))


@dataclass(frozen=True)
class Account:
    """The hours of an experiment."""

    unit: Literal["GPU-hours", "core-hours"]
    per_element: int  # GPUs, or cores, of one element
    total: Hours
    by_recipe: dict[str, Hours]  # in the file's order
    by_kind: dict[str, Hours]  # "train squad", "evaluate xnli"; in the plan's order


def of(plan: Plan, observation: Observation) -> Account:
    """The account of an experiment. Reads the attempts at what is not finished; the rest is remembered."""
    by_kind: dict[tuple[str, str, str], spent.Spent] = {}
    recipes = _recipes(plan)
    by_recipe: dict[str, spent.Spent] = {recipe: {} for recipe, _, _ in plan.paths}
    open_stages = {stage.key for stage in observation.among(_OPEN)}
    index = observation.store.index
    for key, stage in plan.stages.items():  # no calls for most of them: it is long
        of_kind = by_kind.setdefault((stage.kind, stage.model, stage.task), {})
        record = index.get(key)
        if record is None or key in open_stages:
            seconds_by_outcome = _read(observation, stage) if observation.store.exists(stage) else {}
        else:
            seconds_by_outcome = record[_SPENT]
            if record[_AT_CHANCE] and stage.kind == "train":
                seconds_by_outcome = _diverged(seconds_by_outcome)
        for outcome, seconds in seconds_by_outcome.items():
            of_kind[outcome] = of_kind.get(outcome, 0.0) + seconds
            share = seconds / len(recipes[key])
            for recipe in recipes[key]:
                of_recipe = by_recipe[recipe]
                of_recipe[outcome] = of_recipe.get(outcome, 0.0) + share
    total: spent.Spent = {}
    for amounts in by_kind.values():
        for outcome, seconds in amounts.items():
            total[outcome] = total.get(outcome, 0.0) + seconds
    unit, count = processors(plan)
    return Account(
        unit,
        count,
        _hours(total, count),
        {recipe: _hours(amounts, count) for recipe, amounts in by_recipe.items()},
        {
            f"{kind} {with_label(model, task)}": _hours(amounts, count)
            for (kind, model, task), amounts in by_kind.items()
        },
    )


def kind_of(stage: Stage) -> str:
    """Stages of one kind do the same work on the same data with one model: `train squad`, `train large: squad`."""
    return f"{stage.kind} {with_label(stage.model, stage.task)}"


def processors(plan: Plan) -> tuple[Literal["GPU-hours", "core-hours"], int]:
    """What an element's hours are counted in, and how many it holds."""
    cluster = plan.experiment.cluster
    if cluster.gpus:
        return "GPU-hours", cluster.gpus
    cores = cluster.asked.cores or executors.of_cluster(cluster).cores_per_rank(cluster)
    return "core-hours", cluster.ranks * cores


def _read(observation: Observation, stage: Stage) -> Mapping[str, float]:
    """Seconds of a stage's attempts by outcome, of one that is not remembered."""
    may_run = observation.state(stage).state in UNDER_WAY
    seconds: spent.Spent = {}
    with suppress(UserError):  # notes that cannot be read count for nothing
        every = history.notes_of(observation.store.stage_folder(stage.folder))
        seconds = spent.of_stage(every, observation.failures(stage), may_run=may_run)
    if stage.kind == "train" and observation.is_finished(stage):
        has_diverged = bool(at_chance(observation.plan, observation.store, stage))
        return _diverged(seconds) if has_diverged else seconds
    return seconds


def _diverged(seconds: Mapping[str, float]) -> Mapping[str, float]:
    """The same of a training that came to nothing."""
    return {_DIVERGED if outcome == spent.USEFUL else outcome: value for outcome, value in seconds.items()}


def _recipes(plan: Plan) -> dict[str, list[str]]:
    """By stage: the recipes that need it."""
    recipes: dict[str, list[str]] = {key: [] for key in plan.stages}
    for (recipe, _, _), evaluate in plan.paths.items():
        key: str | None = evaluate
        while key is not None:
            names = recipes[key]
            if names and names[-1] == recipe:  # so has what it starts from: a recipe's paths follow each other
                break
            names.append(recipe)
            key = plan.stages[key].parent
    return recipes


def _hours(amounts: spent.Spent, count: int) -> Hours:
    hours = {outcome: seconds * count / _HOUR for outcome, seconds in amounts.items()}
    by_cause: dict[str, dict[str, float]] = defaultdict(dict)
    for outcome, value in hours.items():
        beginning, mark, cause = outcome.partition("/")
        if mark:
            by_cause[beginning + mark][cause] = value
    return Hours(
        hours.get(spent.USEFUL, 0.0),
        hours.get(spent.RUNNING, 0.0),
        hours.get(spent.STARTING, 0.0) + hours.get(spent.IDLE, 0.0),
        hours.get(_DIVERGED, 0.0),
        by_cause[spent.AGAIN],
        by_cause[spent.FAILED],
    )
