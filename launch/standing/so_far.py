"""How far an experiment is, in a line or as bars: what is finished, what runs and how far, how long it still takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean

from launch.plan import Plan, Stage
from launch.standing.progress import Progress, of_stages
from launch.status import Observation
from launch.status.rules import State
from launch.store import Store, attempts
from launch.text import duration

_SHOWN = ("running", "queued", "failed", "held", "cancelled", "unknown")
_RUNNING: tuple[State, ...] = ("running",)
_IN_A_LINE = 2  # stages that run
_WITH_BARS = 6  # likewise, where each has a bar
_READ_AT_ONCE = 20  # stages whose times are read in one look: an experiment may have 100,000


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


class Watch:
    """Makes a `Standing` of each look, and remembers how long stages took."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._seconds: dict[str, float] = {}  # that finished stages took, by key

    def standing(self, store: Store, observation: Observation) -> Standing:
        at_work = observation.among(_RUNNING)
        seconds_left = self._seconds_left(store, observation, at_work)
        running = tuple(of_stages(store, at_work[:_WITH_BARS]).values())
        return Standing(observation.counts(), len(self._plan.stages), running, seconds_left)

    def _seconds_left(self, store: Store, observation: Observation, at_work: list[Stage]) -> float | None:
        """What is not finished takes as long as its kind took so far, as many at a time as run now."""
        new_keys = [key for key in observation.finished if key not in self._seconds][:_READ_AT_ONCE]
        self._seconds |= {key: _seconds(store, self._plan.stages[key]) for key in new_keys}
        of_kind: dict[str, list[float]] = {}
        for key, seconds in self._seconds.items():
            if seconds:
                of_kind.setdefault(self._plan.stages[key].kind, []).append(seconds)
        if "train" not in of_kind and any(stage.kind == "train" for stage in self._plan.stages.values()):
            return None
        usual = {kind: mean(values) for kind, values in of_kind.items()}
        typical = max(usual.values(), default=0.0)
        ahead = [stage for key, stage in self._plan.stages.items() if key not in observation.finished]
        work = sum(usual.get(stage.kind, typical) for stage in ahead)
        sample = at_work[:_READ_AT_ONCE]
        begun = sum(min(_seconds(store, stage), usual.get(stage.kind, typical)) for stage in sample)
        begun *= len(at_work) / max(1, len(sample))
        return (work - begun) / max(1, len(at_work)) if typical else None


def _seconds(store: Store, stage: Stage) -> float:
    """From the beginning of its last attempt to the last sign of it."""
    every = attempts.attempts_of(store.stage_folder(stage.folder))
    return attempts.seconds_of(every[-1]) if every else 0.0
