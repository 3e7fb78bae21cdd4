"""Where every stage stands: a function of the stage's folder, then Slurm's queue, then accounting, in this order."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from launch import attempts, logs, submissions
from launch.plan import Plan, Stage
from launch.store import Store
from launch.submissions import Location
from slurm import queue
from slurm.queue import QueueEntry

State = Literal["new", "queued", "running", "finished", "failed", "held", "unknown"]
STATES: tuple[State, ...] = ("new", "queued", "running", "finished", "failed", "held", "unknown")
_STARTED = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING")


@dataclass(frozen=True)
class StageState:
    """One stage's state, and what a person needs to go on."""

    state: State
    job: str | None = None  # `123_4`, or `local`
    reason: str | None = None  # of failed and held


class Observation:
    """One look at an experiment: disk, one squeue, and one sacct for what vanished. Make a new one per command."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self.plan = plan
        self.store = store
        self.submissions = submissions.read_all(store.root)
        self.locations = submissions.locate(self.submissions)
        self.finished = {key for key, stage in plan.stages.items() if store.is_finished(plan, stage)}
        self.entries = self._queue()
        self._queued = {(e.job, e.index): e for e in self.entries or [] if e.index is not None}
        self._ended = self._accounting()
        self._states: dict[str, StageState] = {}
        for stage in plan.stages.values():  # parents first: a child is held where its parent failed
            self._states[stage.key] = self._find(stage)

    def state(self, stage: Stage) -> StageState:
        return self._states[stage.key]

    def is_finished(self, stage: Stage) -> bool:
        return stage.key in self.finished

    def is_sent(self, stage: Stage) -> bool:
        """Queued, running or possibly so: not to be sent again."""
        return self._states[stage.key].state in ("queued", "running", "unknown")

    def has_encoder(self, stage: Stage) -> bool:
        return self.store.has_encoder(stage)

    def counts(self) -> dict[State, int]:
        """How many stages are in each state."""
        found = Counter(state.state for state in self._states.values())
        return {state: found[state] for state in STATES}

    def _open(self) -> dict[str, Location]:
        """Locations of stages that are not finished."""
        keys = self.plan.stages.keys() - self.finished
        return {key: self.locations[key] for key in keys if key in self.locations}

    def _queue(self) -> list[QueueEntry] | None:
        unsettled = any(not s.is_local and s.receipt(n) is None for s in self.submissions for n in range(len(s.arrays)))
        on_slurm = any(not location.submission.is_local for location in self._open().values())
        return queue.squeue() if on_slurm or unsettled else []

    def _accounting(self) -> dict[tuple[str, int], str]:
        """How those elements ended that left the queue without a result."""
        jobs = {
            location.job
            for location in self._open().values()
            if location.job and self.entries is not None and (location.job, location.index) not in self._queued
        }
        return queue.ended_states(jobs) or {}

    def _find(self, stage: Stage) -> StageState:
        location = self.locations.get(stage.key)
        if location is None:
            return StageState("finished" if stage.key in self.finished else "new")
        job = "local" if location.submission.is_local else f"{location.job}_{location.index}" if location.job else None
        if stage.key in self.finished and not self._may_run_again(stage):
            return StageState("finished", job)
        found = self._find_local(stage, location) if location.submission.is_local else self._find_slurm(stage, location)
        if stage.key in self.finished and found.state == "unknown":
            return StageState("finished", job)
        return StageState(found.state, job, found.reason)

    def _may_run_again(self, stage: Stage) -> bool:
        """A finished train stage whose encoder is gone may be on its way again."""
        return stage.kind == "train" and not self.has_encoder(stage)

    def _find_local(self, stage: Stage, location: Location) -> StageState:
        state = location.submission.local_state(location.array, location.index)
        if state in ("queued", "running"):
            return StageState("running" if state == "running" and self._has_begun(stage) else "queued")
        return self._over(stage, location, None if state == "gone" else state.replace("ended", "exit code"))

    def _find_slurm(self, stage: Stage, location: Location) -> StageState:
        if location.job is None or self.entries is None:
            return StageState("unknown", reason="Slurm does not answer" if self.entries is None else "not settled yet")
        entry = self._queued.get((location.job, location.index))
        name = location.submission.arrays[location.array]["name"]
        if entry is None or entry.name != name:  # ids are used again; names are not
            return self._over(stage, location, self._ended.get((location.job, location.index)))
        if entry.never:
            return StageState("held", reason="what it waits for failed")
        return StageState("running" if entry.state in _STARTED and self._has_begun(stage) else "queued")

    def _has_begun(self, stage: Stage) -> bool:
        """Of an element that runs: whether this is the stage that it is at."""
        made = attempts.attempts_of(self.store.stage_folder(stage.folder))
        return bool(made) and attempts.end_of(made[-1]) is None

    def _over(self, stage: Stage, location: Location, ended: str | None) -> StageState:
        """The state of a stage whose element is over."""
        if stage.key in self.finished:
            return StageState("finished")
        failure = last_failure(self.store, stage)
        if failure:
            return StageState("failed", reason=failure)
        parent = self._states[stage.parent] if stage.parent else None
        if parent and parent.state in ("failed", "held"):
            return StageState("held", reason=f"{self.plan.stages[stage.parent or ''].name} {parent.state}")
        said = logs.last_error(location) or ("" if ended else "it left no result")
        return StageState(
            "failed", reason=": ".join(filter(None, (f"job ended ({ended})" if ended else "job gone", said)))
        )


def last_failure(store: Store, stage: Stage) -> str | None:
    """The line that the last attempt at a stage left where it failed."""
    made = attempts.attempts_of(store.stage_folder(stage.folder)) if store.exists(stage) else []
    end: dict[str, Any] | None = attempts.end_of(made[-1]) if made else None
    return str(end["failure"]["message"]) if end and end["failure"] else None
