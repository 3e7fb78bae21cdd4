"""The GPU-hours of an experiment (`cluster: {gpu-hours: N}`): used, reserved by what is on its way, and left.

Used: from the start of a job's process, of its later stages from their own beginning, to the last sign of life of every
attempt, times the GPUs of an element; so it needs no accounting, and leaves out the start of a job that was killed at
its first stage, or before. Reserved: the estimate of what is queued or runs, less what it has used. GPUs count though a
rank holds several and uses one. Without GPUs nothing is used.
"""

from collections.abc import Set
from dataclasses import dataclass
from typing import Final

from eval.tables.baseline import baseline_of, is_baseline
from launch.draft.drafting import Draft
from launch.estimate import cost
from launch.plan import Plan, Stage
from launch.status import Observation
from launch.status.rules import UNDER_WAY
from launch.store import Store, attempts, times
from launch.store.store import Known
from launch.text import some
from slurm.base import UserError

_HOUR = 3600.0
_SECONDS: Final = 5  # of a Known, which in memory is a plain list
assert Known._fields[_SECONDS] == "seconds"


@dataclass(frozen=True)
class Budget:
    """In GPU-hours."""

    total: float | None  # as the file says; None: no limit
    used: float
    reserved: float

    @property
    def left(self) -> float | None:
        """What may still be sent; below zero where more was used than was to be."""
        return None if self.total is None else self.total - self.used - self.reserved

    def line(self) -> str:
        """For `status`."""
        text = f"{self.used:.1f} GPU-hours used, {self.reserved:.1f} reserved"
        return text if self.left is None else f"{text}, {self.left:.1f} of {self.total:g} left"


class BudgetExceededError(UserError):
    """What was to be sent is more than is left."""


def of(plan: Plan, observation: Observation) -> Budget:
    """Where an experiment stands. Reads every attempt at what is not finished."""
    used = reserved_seconds = 0.0
    gpus = plan.experiment.cluster.gpus
    if not gpus:
        return Budget(_total(plan), used, reserved_seconds)
    estimates = cost.Estimates(plan, observation.store)
    keys_under_way = {stage.key for stage in observation.among(UNDER_WAY)}
    index = observation.store.index
    used += sum(record[_SECONDS] for record in index.values())
    for key in keys_under_way | (plan.stages.keys() - index.keys()):
        used -= index[key][_SECONDS] if key in index else 0.0
        stage = plan.stages[key]
        running = observation.state(stage).state == "running"
        attempt_seconds = _spent(observation.store, stage)
        used += sum(attempt_seconds)
        if key in keys_under_way:
            current_seconds = attempt_seconds[-1] if running and attempt_seconds else 0.0
            reserved_seconds += max(0.0, estimates.of_stage(stage).gpu_seconds - gpus * current_seconds)
    return Budget(_total(plan), gpus * used / _HOUR, reserved_seconds / _HOUR)


@dataclass(frozen=True)
class Affordable:
    """The part of a race's draft that the budget allows: `keys` of stages. `line`: which pairs wait."""

    keys: frozenset[str]
    line: str


def check(plan: Plan, observation: Observation, draft: Draft) -> Affordable | None:
    """None where all of a draft is within the budget of the file.

    BudgetExceededError where it is not; of a race only where not one seed of a pair is.
    """
    if _total(plan) is None or not draft.arrays or not plan.experiment.cluster.gpus:
        return None
    budget = of(plan, observation)
    estimates = cost.Estimates(plan)
    hours = _hours(estimates, draft.needed)
    assert budget.left is not None
    if hours <= budget.left:
        return None
    advice = f"raise `cluster: {{gpu-hours: …}}` in {plan.experiment.path.name} or ask for less"
    part = _part_of_race(estimates, draft.needed, budget.left, advice) if plan.experiment.race else None
    if part is None:
        raise BudgetExceededError(
            f"budget: these {len(draft.needed)} stages need about {hours:.1f} GPU-hours, and {budget.line()}; {advice};"
            " nothing more was sent"
        )
    return part


def _part_of_race(estimates: cost.Estimates, draft_keys: Set[str], hours_left: float, advice: str) -> Affordable | None:
    """Seeds with all that they rest on, in the plan's order, as far as `hours_left` go; None: not even one."""
    plan, keys = estimates.plan, set[str]()
    waiting: dict[tuple[str, str], None] = {}
    for recipe, target, seed in plan.paths:
        if is_baseline(recipe) or (recipe, target) in waiting:  # a pair's seeds count in their order
            continue
        chains = (plan.chain(plan.paths[name, target, seed]) for name in (recipe, baseline_of(recipe)))
        more_keys = {stage.key for chain in chains for stage in chain} & draft_keys - keys
        more_hours = _hours(estimates, more_keys)
        if more_keys and more_hours > hours_left:
            waiting[recipe, target] = None
            continue
        keys |= more_keys
        hours_left -= more_hours
    names = some([f"{recipe} / {target}" for recipe, target in waiting])
    count = len({path[:2] for path in plan.paths if not is_baseline(path[0])})
    line = f"budget: {len(waiting)} of {count} pairs wait: too little is left for their next seeds: {names}; {advice}"
    return Affordable(frozenset(keys), line) if keys else None


def _total(plan: Plan) -> float | None:
    total: float | None = plan.experiment.cluster.gpu_hours
    return total


def _hours(estimates: cost.Estimates, keys: Set[str]) -> float:
    """GPU-hours."""
    return sum(estimates.of_stage(estimates.plan.stages[key]).gpu_seconds for key in keys) / _HOUR


def _spent(store: Store, stage: Stage) -> list[float]:
    """Seconds of each attempt at a stage."""
    if not store.exists(stage):
        return []
    every = attempts.attempts_of(store.stage_folder(stage.folder))
    return [
        times.seconds_held(attempts.seconds_of(attempt), times.of_attempt(attempt)) * attempts.starter_of(attempt).share
        for attempt in every
    ]
