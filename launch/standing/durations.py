"""How long stages take, as an interval: by what like ones took, by the speed of what runs, else by the estimate.

Each is as wide as it was wrong before, on this experiment: the same step with other seeds, other steps by the estimate.
Where nothing has finished that tells, widths are assumed, as docs/launching.md says.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import mean, median
from typing import Final

from launch.estimate.cost import Estimates
from launch.plan import Plan, Stage
from launch.standing.progress import Progress
from launch.store import Store, attempts, times
from launch.store.store import Known

_SECONDS: Final = 5  # of a Known, which in memory is a plain list
assert Known._fields[_SECONDS] == "seconds"
_FEW = 5  # values: fewer do not tell how much they differ
_COVERED = 0.8  # share of what was seen that lies within an interval
# Assumed where nothing tells: by which factor a stage differs from like ones, from the estimate as finished stages
# corrected it, and from one that nothing has corrected.
_LIKE, _CORRECTED, _UNCORRECTED = 1.15, 1.5, 3.0
_STARTS_READ = 10  # finished trainings whose job's start is looked at


@dataclass(frozen=True)
class Span:
    """Seconds, at least and at most."""

    low: float
    high: float

    def __add__(self, other: "Span") -> "Span":
        return Span(self.low + other.low, self.high + other.high)


NO_TIME = Span(0.0, 0.0)


class Durations:
    """What the stages of a plan take. `progress`: of what runs, by stage key."""

    def __init__(self, plan: Plan, store: Store, progress: Mapping[str, Progress]) -> None:
        self._plan, self._progress = plan, progress
        self._estimates = Estimates(plan, store)
        finished_seconds: dict[str, list[float]] = {}  # by definition
        for key, record in store.index.items():
            if record[_SECONDS] > 0 and key in plan.stages:
                finished_seconds.setdefault(plan.stages[key].definition, []).append(record[_SECONDS])
        self._usual = {definition: mean(values) for definition, values in finished_seconds.items()}
        self.finished = sum(map(len, finished_seconds.values()))  # stages that tell
        self._like = _factor(
            [value / self._usual[definition] for definition, values in finished_seconds.items() if len(values) > 1
             for value in values],
            _LIKE,
        )  # fmt: skip
        examples = {stage.definition: stage for stage in plan.stages.values()}
        by_kind: dict[str, list[float]] = {"train": [], "evaluate": []}
        for definition, seconds in self._usual.items():
            stage = examples[definition]
            by_kind[stage.kind].append(seconds / self._estimates.stage_seconds(stage))
        every = [ratio for ratios in by_kind.values() for ratio in ratios]
        self._corrections = {kind: median(ratios or every or [1.0]) for kind, ratios in by_kind.items()}
        errors = [ratio / self._corrections[kind] for kind, ratios in by_kind.items() for ratio in ratios]
        self._by_estimate = _factor(errors, _CORRECTED) if every else _UNCORRECTED
        for key, reached in progress.items():
            if reached.seconds is not None and reached.seconds_left is not None and key in plan.stages:
                self._usual.setdefault(plan.stages[key].definition, reached.seconds + reached.seconds_left)
        self.start = _start(plan, store, self._estimates.element_seconds(()))

    def is_known(self, stage: Stage) -> bool:
        """Whether a like stage has finished, or runs and says how fast."""
        return stage.definition in self._usual

    def of_stage(self, stage: Stage) -> Span:
        """From its beginning to its end."""
        if self.is_known(stage):
            return _around(self._usual[stage.definition], self._like)
        return _around(self._estimates.stage_seconds(stage) * self._corrections[stage.kind], self._by_estimate)

    def left(self, stage: Stage) -> Span:
        """Until the end of one that runs: as fast as it is, else what it takes less what it has run."""
        reached = self._progress.get(stage.key)
        if reached is not None and reached.seconds_left is not None:
            return _around(reached.seconds_left, self._like)
        whole, seconds = self.of_stage(stage), (reached and reached.seconds) or 0.0
        return Span(max(0.0, whole.low - seconds), max(0.0, whole.high - seconds))


def _around(seconds: float, factor: float) -> Span:
    return Span(seconds / factor, seconds * factor)


def _factor(ratios: Iterable[float], assumed: float) -> float:
    """Within which factor of what was expected most of some values were."""
    distances = sorted(abs(math.log(ratio)) for ratio in ratios if ratio > 0)
    if len(distances) < _FEW:
        return assumed
    return math.exp(distances[min(len(distances) - 1, int(_COVERED * len(distances)))])


def _start(plan: Plan, store: Store, assumed: float) -> Span:
    """From a job's start until its first stage begins."""
    trains = [plan.stages[key] for key in store.index if key in plan.stages and plan.stages[key].kind == "train"]
    seconds = []
    for stage in trains[:: max(1, len(trains) // _STARTS_READ)][:_STARTS_READ]:
        every = attempts.attempts_of(store.stage_folder(stage.folder))
        noted = times.of_attempt(every[-1]) if every else None
        if noted is not None and noted.imports:
            seconds.append(noted.imports)
    return Span(min(seconds), max(seconds)) if seconds else Span(0.0, assumed)
