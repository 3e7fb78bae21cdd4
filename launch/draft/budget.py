"""The GPU-hours of an experiment (`cluster: {gpu-hours: N}`): used, reserved by what is on its way, and left.

Used: from the start of a job's process, of its later stages from their own beginning, to the last sign of life of every
attempt, times the GPUs of an element; so it needs no accounting, and leaves out the start of a job that was killed at
its first stage, or before. Reserved: the estimate of what is queued or runs, less what it has used. GPUs count though a
rank holds several and uses one. Without GPUs nothing is used.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from launch.draft.drafting import Draft
from launch.estimate import cost
from launch.plan import Plan, Stage
from launch.status import Observation
from launch.status.rules import UNDER_WAY
from launch.store import Store, attempts, times
from launch.store.store import Known
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


def check(plan: Plan, observation: Observation, draft: Draft) -> None:
    """UserError where a draft would go beyond the budget of the file."""
    if _total(plan) is None or not draft.arrays or not plan.experiment.cluster.gpus:
        return
    budget = of(plan, observation)
    hours = _estimated(plan, draft.needed) / _HOUR
    assert budget.left is not None
    if hours > budget.left:
        raise BudgetExceededError(
            f"budget: these {len(draft.needed)} stages need about {hours:.1f} GPU-hours, and {budget.line()}; raise"
            f" `cluster: {{gpu-hours: …}}` in {plan.experiment.path.name} or ask for less; nothing more was sent"
        )


def _total(plan: Plan) -> float | None:
    total: float | None = plan.experiment.cluster.gpu_hours
    return total


def _estimated(plan: Plan, keys: Iterable[str]) -> float:
    """GPU-seconds."""
    estimates = cost.Estimates(plan)
    return sum(estimates.of_stage(plan.stages[key]).gpu_seconds for key in keys)


def _spent(store: Store, stage: Stage) -> list[float]:
    """Seconds of each attempt at a stage."""
    if not store.exists(stage):
        return []
    every = attempts.attempts_of(store.stage_folder(stage.folder))
    return [times.seconds_held(attempts.seconds_of(attempt), times.of_attempt(attempt)) for attempt in every]
