"""Where the hours of an experiment went: by outcome, recipe and kind, from the attempts' notes alone.

They are GPU-hours where elements ask for GPUs, else core-hours, by what the file asks for now. A stage that several
recipes need counts in equal parts for each of them, so that the recipes' hours add up to the total.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from launch import executors
from launch.plan import Plan, Stage
from launch.results.scores import at_chance
from launch.status import Observation, history, spent
from launch.status.rules import UNDER_WAY
from launch.store.store import Known

_HOUR = 3600.0
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
    by_kind: dict[str, spent.Spent] = {kind_of(stage): {} for stage in plan.stages.values()}
    recipes = _recipes(plan)
    by_recipe: dict[str, spent.Spent] = {recipe: {} for recipe, _, _ in plan.paths}
    for key, stage in plan.stages.items():
        for outcome, seconds in _spent(observation, stage).items():
            _add(by_kind[kind_of(stage)], outcome, seconds)
            for recipe in recipes[key]:
                _add(by_recipe[recipe], outcome, seconds / len(recipes[key]))
    total: spent.Spent = {}
    for amounts in by_kind.values():
        for outcome, seconds in amounts.items():
            _add(total, outcome, seconds)
    unit, count = processors(plan)
    return Account(
        unit,
        count,
        _hours(total, count),
        {recipe: _hours(amounts, count) for recipe, amounts in by_recipe.items()},
        {kind: _hours(amounts, count) for kind, amounts in by_kind.items()},
    )


def kind_of(stage: Stage) -> str:
    """Stages of one kind do the same work on the same data: `train squad`."""
    return f"{stage.kind} {stage.task}"


def processors(plan: Plan) -> tuple[Literal["GPU-hours", "core-hours"], int]:
    """What an element's hours are counted in, and how many it holds."""
    cluster = plan.experiment.cluster
    if cluster.gpus:
        return "GPU-hours", cluster.gpus
    cores = cluster.asked.cores or executors.of_cluster(cluster).cores_per_rank(cluster)
    return "core-hours", cluster.ranks * cores


def _spent(observation: Observation, stage: Stage) -> Mapping[str, float]:
    """Seconds of a stage's attempts, by outcome."""
    record = observation.store.index.get(stage.key)
    if record is not None and observation.state(stage).state == "finished":
        seconds: Mapping[str, float] = record[_SPENT]
        has_diverged = bool(record[_AT_CHANCE])
    elif not observation.store.exists(stage):
        return {}
    else:
        every = history.notes_of(observation.store.stage_folder(stage.folder))
        may_run = observation.state(stage).state in UNDER_WAY
        seconds = spent.of_stage(every, observation.failures(stage), may_run=may_run)
        has_diverged = observation.is_finished(stage) and bool(at_chance(observation.plan, observation.store, stage))
    if stage.kind == "train" and has_diverged and spent.USEFUL in seconds:
        seconds = {_DIVERGED if outcome == spent.USEFUL else outcome: value for outcome, value in seconds.items()}
    return seconds


def _recipes(plan: Plan) -> dict[str, list[str]]:
    """By stage: the recipes that need it."""
    recipes: dict[str, list[str]] = {key: [] for key in plan.stages}
    for (recipe, _, _), evaluate in plan.paths.items():
        key: str | None = evaluate
        while key is not None:
            if not recipes[key] or recipes[key][-1] != recipe:  # a recipe's paths follow each other
                recipes[key].append(recipe)
            key = plan.stages[key].parent
    return recipes


def _add(amounts: spent.Spent, outcome: str, seconds: float) -> None:
    amounts[outcome] = amounts.get(outcome, 0.0) + seconds


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
        hours.get(spent.IDLE, 0.0),
        hours.get(_DIVERGED, 0.0),
        by_cause[spent.AGAIN],
        by_cause[spent.FAILED],
    )
