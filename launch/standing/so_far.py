"""How far an experiment is, in a line or as bars: what is finished, what runs and how far, how long it still takes."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from launch.plan import Plan
from launch.standing.progress import MOST_READ, Progress, of_stages
from launch.standing.when import by_progress
from launch.status import Observation
from launch.status.rules import State
from launch.store import Store
from launch.text import duration

_SHOWN = ("running", "queued", "failed", "held", "cancelled", "unknown")
_RUNNING: tuple[State, ...] = ("running",)
_IN_A_LINE = 2  # stages that run
_WITH_BARS = 6  # likewise, where each has a bar


@dataclass(frozen=True)
class Standing:
    """One look at an experiment. `running`: the first few that are; `seconds_left`: None while nothing tells."""

    counts: Mapping[State, int]
    total: int
    running: tuple[Progress, ...]
    seconds_left: float | None = None

    def line(self) -> str:
        """For a log."""
        text = f"{self.counts['finished']} of {self.total} stages finished"
        text += "".join(f", {count} {state}" for state, count in self.counts.items() if count and state in _SHOWN)
        text += "".join(f"; {stage}" for stage in self.running[:_IN_A_LINE])
        return text if not self.seconds_left else f"{text}; about {duration(self.seconds_left)} left"


def standing(plan: Plan, store: Store, observation: Observation) -> Standing:
    """How far an experiment is, by one observation of it. Reads what runs, so call it only for what is shown."""
    at_work = observation.among(_RUNNING)
    progress = of_stages(store, at_work[:MOST_READ])
    seconds_left = _seconds_left(plan, store, observation, progress)
    return Standing(observation.counts(), observation.total, tuple(progress.values())[:_WITH_BARS], seconds_left)


def _seconds_left(plan: Plan, store: Store, observation: Observation, progress: Mapping[str, Progress]) -> float | None:
    """Until the middle of when it is done, as `status` has it; None while only an estimate tells that nothing has
    corrected."""
    now = time.time()
    when = by_progress(plan, store, observation, progress, now)
    if when is None:
        return 0.0
    if when.latest is None or not (when.basis.finished or when.basis.by_speed):
        return None
    return (when.earliest + when.latest) / 2 - now
