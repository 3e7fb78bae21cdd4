"""How long stages take, as an interval: by what like ones took, by the speed of what runs, else by the estimate.

Each is as wide as it was wrong before, on this experiment: the same step with other seeds, other steps by the estimate.
Where nothing has finished that tells, widths are assumed, as docs/launching.md says.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from launch.estimate.cost import Estimates
from launch.plan import Plan, Stage
from launch.standing.progress import Progress
from launch.status import spent
from launch.store import Store, attempts, times
from launch.store.store import Known

_SECONDS: Final = 5  # of a Known, which in memory is a plain list
_SPENT: Final = 6
assert Known._fields[_SECONDS : _SPENT + 1] == ("seconds", "spent")
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

    def __add__(self, span: "Span") -> "Span":
        return Span(self.low + span.low, self.high + span.high)


NO_TIME = Span(0.0, 0.0)


class Durations:
    """What the stages of a plan take, once their job has started. `progress`: of what runs, by stage key; `unread`:
    keys of what runs of which nobody has read how far it is."""

    def __init__(
        self, plan: Plan, store: Store, progress: Mapping[str, Progress], unread: Collection[str] = ()
    ) -> None:
        self._progress, self._unread = progress, unread
        self._usual_share = fmean([at.share or 0.0 for at in progress.values()] or [0.0])  # done, of what runs
        self._estimates = Estimates(plan, store)
        seconds = _finished_seconds(plan, store)
        self.finished = sum(map(len, seconds.values()))  # stages that tell
        self._usual = {work: fmean(values) for work, values in seconds.items()}
        of_several_seeds = {work: values for work, values in seconds.items() if len(values) > 1}
        self._like = _factor(
            [value / self._usual[work] for work, values in of_several_seeds.items() for value in values],
            _LIKE,
        )
        self._corrections, self._by_estimate = self._corrected(plan)
        for key, stage_progress in progress.items():
            seconds_left, so_far = stage_progress.seconds_left, stage_progress.seconds
            if seconds_left is not None and so_far is not None:
                self._usual.setdefault(plan.stages[key].work, so_far + seconds_left)
        self.start = _start(plan, store, self._estimates.element_seconds(()))

    def _corrected(self, plan: Plan) -> tuple[dict[str, float], float]:
        """By which factor finished stages took longer than estimated, by kind; and how far that was off for one."""
        examples = {stage.work: stage for stage in plan.stages.values()}
        ratios: dict[str, list[float]] = {"train": [], "evaluate": []}
        for work, seconds in self._usual.items():
            stage = examples[work]
            ratios[stage.kind].append(seconds / self._estimates.stage_seconds(stage))
        all_ratios = [ratio for of_kind in ratios.values() for ratio in of_kind]
        corrections = {kind: median(of_kind or all_ratios or [1.0]) for kind, of_kind in ratios.items()}
        if not all_ratios:
            return corrections, _UNCORRECTED
        errors = [ratio / corrections[kind] for kind, of_kind in ratios.items() for ratio in of_kind]
        return corrections, _factor(errors, _CORRECTED)

    def is_known(self, stage: Stage) -> bool:
        """Whether a like stage has finished, or runs and says how fast."""
        return stage.work in self._usual

    def of_stage(self, stage: Stage) -> Span:
        """From its beginning to its end."""
        if self.is_known(stage):
            return _around(self._usual[stage.work], self._like)
        return _around(self._estimates.stage_seconds(stage) * self._corrections[stage.kind], self._by_estimate)

    def left(self, stage: Stage) -> Span:
        """Until the end of one that runs: as fast as it is, else what it takes less what it has run. Of what was not
        read as large a part is done as of what was."""
        stage_progress = self._progress.get(stage.key)
        if stage_progress is not None and stage_progress.seconds_left is not None:
            return _around(stage_progress.seconds_left, self._like)
        if stage.key in self._unread:
            full_span, share_left = self.of_stage(stage), 1.0 - self._usual_share
            return Span(full_span.low * share_left, full_span.high * share_left)
        full_span, so_far = self.of_stage(stage), (stage_progress and stage_progress.seconds) or 0.0
        return Span(max(0.0, full_span.low - so_far), max(0.0, full_span.high - so_far))


def _around(seconds: float, factor: float) -> Span:
    return Span(seconds / factor, seconds * factor)


def _finished_seconds(plan: Plan, store: Store) -> dict[tuple[str, str], list[float]]:
    """What the finished stages of the same work took, all their attempts together, from where the stage began: the
    job's start before is another's where the stage is not its first, and counted by element."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for key, record in store.index.items():
        own_seconds = record[_SECONDS] - record[_SPENT].get(spent.STARTING, 0.0)
        if own_seconds > 0 and key in plan.stages:
            seconds.setdefault(plan.stages[key].work, []).append(own_seconds)
    return seconds


def _factor(ratios: Iterable[float], default: float) -> float:
    """Within which factor of what was expected most of some values were."""
    distances = sorted(abs(math.log(ratio)) for ratio in ratios if ratio > 0)
    if len(distances) < _FEW:
        return default
    return math.exp(distances[min(len(distances) - 1, int(_COVERED * len(distances)))])


def _start(plan: Plan, store: Store, default: float) -> Span:
    """From a job's start until its first stage begins."""
    trains = [plan.stages[key] for key in store.index if key in plan.stages and plan.stages[key].kind == "train"]
    seconds = []
    for stage in trains[:: max(1, len(trains) // _STARTS_READ)][:_STARTS_READ]:
        every = attempts.attempts_of(store.stage_folder(stage.folder))
        stage_times = times.of_attempt(every[-1]) if every else None
        if stage_times is not None and stage_times.imports:
            seconds.append(stage_times.imports)
    return Span(min(seconds), max(seconds)) if seconds else Span(0.0, default)
