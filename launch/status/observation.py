"""Where every stage stands: a function of the stage's folder, then Slurm's queue, then accounting, in this order.

What cannot be known now is `unknown` since a time: never success and never failure.
"""

import math
import os
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from launch.plan import Plan, Stage
from launch.status import breaker, finished, history
from launch.status.history import EndedElement, Failure
from launch.store import Location, Store, attempts, logs, submissions
from launch.store.submissions import NOTHING_RUNS
from slurm import causes, endings, snapshot
from slurm.accounting import Ended
from slurm.causes import Cause
from slurm.endings import ElementId, Endings
from slurm.queue import QueueEntry
from slurm.snapshot import Snapshot

State = Literal["new", "queued", "running", "finished", "failed", "held", "cancelled", "unknown"]
STATES: tuple[State, ...] = ("new", "queued", "running", "finished", "failed", "held", "cancelled", "unknown")
UNDER_WAY: tuple[State, ...] = ("queued", "running", "unknown")
MAX_AGE = 60.0  # seconds: how old an answer of Slurm's may be, unless something is about to be sent or ended
_ORDINARY = ("None", "Priority", "Resources", "Dependency", "JobArrayTaskLimit", "BeginTime")  # reasons to wait


@dataclass(frozen=True)
class StageState:
    """One stage's state, and what a person needs to go on."""

    state: State
    job: str | None = None  # `123_4`, or `local`
    reason: str | None = None  # of failed, held and unknown; of queued where it is no ordinary one
    cause: Cause | None = None  # of failed
    since: float | None = None  # of unknown: Unix time


_FINISHED = StageState("finished")


class Observation:
    """One look at an experiment: disk, one squeue, and one sacct for what vanished. Make a new one per command.

    `max_age`: seconds that the answers of Slurm may be old; 0 asks now. `verify`: every result is read again.
    """

    def __init__(self, plan: Plan, store: Store, max_age: float = MAX_AGE, *, verify: bool = False) -> None:
        self.plan = plan
        self.store = store
        self.submissions = submissions.read_all(store.root)
        self.locations = submissions.locate(self.submissions)
        self.finished = finished.finished(plan, store, verify=verify)
        self.snapshot = self._look(max_age)
        self._queued = {(e.job, e.index): e for e in self.entries or [] if e.index is not None}
        self._endings = self._accounting(max_age)
        self._states: dict[str, StageState] = {}
        self._held: dict[Path, str | None] = {}
        self._begun: dict[Location, set[str]] = {}
        self._failures: dict[str, list[Failure]] = {}
        for key, stage in plan.stages.items():  # parents first: a child is held where its parent failed
            at_rest = key in self.finished and key not in self.locations  # as most are in a large experiment
            self._states[key] = _FINISHED if at_rest else self._find(stage)

    @property
    def entries(self) -> list[QueueEntry] | None:
        """What the queue holds; None where Slurm does not answer."""
        return None if self.snapshot.stale_since is not None else self.snapshot.entries

    def state(self, stage: Stage) -> StageState:
        return self._states[stage.key]

    def is_finished(self, stage: Stage) -> bool:
        return stage.key in self.finished

    def is_sent(self, stage: Stage) -> bool:
        """Queued, running or possibly so: not to be sent again."""
        return self._states[stage.key].state in UNDER_WAY

    def has_encoder(self, stage: Stage) -> bool:
        return self.store.has_encoder(stage)

    def among(self, states: Collection[State]) -> list[Stage]:
        """The stages in some states, in the plan's order."""
        return [self.plan.stages[key] for key, found in self._states.items() if found.state in states]

    def counts(self) -> dict[State, int]:
        """How many stages are in each state."""
        found = Counter(state.state for state in self._states.values())
        return {state: found[state] for state in STATES}

    def entry(self, location: Location) -> QueueEntry | None:
        """The element at a location, where the queue has it. Ids are used again; names are not."""
        entry = self._queued.get((location.job or "", location.index))
        return entry if entry is not None and entry.name == location.name else None

    def failures(self, stage: Stage) -> list[Failure]:
        """Every failed attempt at a stage, the oldest first."""
        if stage.key not in self._failures:
            self._failures[stage.key] = self._failures_of(stage)
        return self._failures[stage.key]

    def _failures_of(self, stage: Stage) -> list[Failure]:
        folder, location = self.store.stage_folder(stage.folder), self.locations.get(stage.key)
        # That an element was cancelled, or never started since its parent failed, is no failure of the stage.
        if location is None or self.state(stage).state != "failed":
            return history.failures_of(folder)
        return history.failures_of(folder, self._over_at(stage, location))

    def failed_there(self, stage: Stage) -> bool:
        """Whether its last failure was in the element that a stage was last sent in, and not before that was sent."""
        failures = self.failures(stage)
        return bool(failures) and _is_of(failures[-1], self.locations[stage.key])

    def never_satisfied(self) -> list[QueueEntry]:
        """Our elements in the queue that wait for what cannot happen any more."""
        found = [entry for location in self._open().values() if (entry := self.entry(location)) is not None]
        return list({(entry.job, entry.index): entry for entry in found if entry.never}.values())

    # --- what is asked

    def _open(self) -> dict[str, Location]:
        """Locations of stages that are not finished."""
        keys = self.plan.stages.keys() - self.finished
        return {key: self.locations[key] for key in keys if key in self.locations}

    def _look(self, max_age: float) -> Snapshot:
        receipts = [s.receipt(n) for s in self.submissions if not s.is_local for n in range(len(s.arrays))]
        # Who is about to send looks for what came late, too.
        given_up = not max_age and any(word in receipt for receipt in receipts if receipt for word in NOTHING_RUNS)
        on_slurm = [location for location in self._open().values() if not location.submission.is_local]
        if not on_slurm and None not in receipts and not (given_up and self._uses_slurm):
            return Snapshot([], time.time(), None)
        if not self._is_ours:
            return Snapshot([], time.time(), time.time())
        # An answer from before an array was sent does not know it.
        newest = max((location.sent or 0.0 for location in on_slurm), default=0.0)
        return snapshot.look(max(0.0, min(max_age, time.time() - newest)))

    @cached_property
    def _is_ours(self) -> bool:
        """Whether this user sent the jobs: of others' Slurm may show nothing, which would look as if they were over."""
        try:
            return self.store.root.stat().st_uid == os.geteuid()
        except FileNotFoundError:
            return True

    @property
    def _uses_slurm(self) -> bool:
        return bool(self.plan.experiment.cluster.chosen_executor == "slurm")

    def _accounting(self, max_age: float) -> Endings:
        """How those elements ended that left the queue without a result."""
        gone: Counter[ElementId] = Counter()  # with how many attempts they made
        for key, location in self._open().items() if self.entries is not None else ():
            if location.job and not location.is_cancelled and not self._is_later(location) and not self.entry(location):
                folder = self.store.stage_folder(self.plan.stages[key].folder)
                gone[_element(location)] += len(attempts.attempts_of(folder))
        return endings.look(gone, max_age) if gone else Endings({}, {}, {})

    def _is_later(self, location: Location) -> bool:
        """Whether it was sent after the look at the queue."""
        return self.snapshot.taken < (location.sent or 0.0)

    def _ended_at(self, location: Location) -> Ended | None:
        return self._endings.records.get(_element(location))

    def _over_at(self, stage: Stage, location: Location) -> EndedElement:
        over = replace(self._sent_element(location), log=logs.tail(location, stage.folder))
        if not location.submission.is_local and (ended := self._ended_at(location)) is not None:
            over = replace(over, ended=ended, node=ended.node or None)
        return replace(over, reached=self._was_reached(stage, location))

    def _was_reached(self, stage: Stage, location: Location) -> bool:
        """Whether an element that is over came to a stage; also where it ended before any of its stages."""
        if len(location.keys) == 1:
            return True
        begun = self._begun_at(location)
        return not begun or stage.key in begun or logs.came_to(location, stage.folder)

    def _begun_at(self, location: Location) -> set[str]:
        """Keys of the stages that an element began an attempt at, whichever file asks for them."""
        if location not in self._begun:
            folders = self.store.folders_of(location.keys)
            over = self._sent_element(location)
            self._begun[location] = {
                key for key, name in folders.items()
                if history.has_attempt_of(self.store.stage_folder(name), over, self._sent_again(key, location))
            }  # fmt: skip
        return self._begun[location]

    def _sent_again(self, key: str, location: Location) -> float:
        """When a stage was next sent to local workers, whose attempts only their time tells apart (Unix time)."""
        if not location.submission.is_local:
            return math.inf
        later = self.submissions[self.submissions.index(location.submission) + 1 :]
        times = (s.sending(n) for s in later for n, array in enumerate(s.arrays)
                 if any(key in keys for keys in array["elements"].values()))  # fmt: skip
        return min((when for when in times if when is not None), default=math.inf)

    # --- what it means

    def _find(self, stage: Stage) -> StageState:
        location = self.locations.get(stage.key)
        if location is None:
            return StageState("finished" if stage.key in self.finished else "new")
        job = "local" if location.submission.is_local else f"{location.job}_{location.index}" if location.job else None
        if stage.key in self.finished and not self._runs_again(stage, location):
            return StageState("finished", job)
        found = self._find_local(stage, location) if location.submission.is_local else self._find_slurm(stage, location)
        return StageState(found.state, job, found.reason, found.cause, found.since)

    def _runs_again(self, stage: Stage, location: Location) -> bool:
        """A finished train stage whose encoder is gone may be on its way again."""
        if stage.kind != "train" or (not location.submission.is_local and self.entry(location) is None):
            return False
        return not self.has_encoder(stage) and not self._made_there(stage, location)

    def _made_there(self, stage: Stage, location: Location) -> bool:
        """Whether a train stage's result was made by the element at a location, which dropped the encoder since."""
        maker = (self.store.train_result(stage) or {}).get("made_by", {})
        return history.is_of(self._sent_element(location), maker)

    def _find_local(self, stage: Stage, location: Location) -> StageState:
        state = location.submission.local_state(location.array, location.index)
        if state in ("queued", "running"):
            return self._at_work(stage, location, started=state == "running")
        if not self._is_ours:
            return StageState("unknown", reason="only the owner of the store sees its workers", since=location.sent)
        return self._over(stage, location, None if state == "gone" else state.replace("ended", "exit code"))

    def _find_slurm(self, stage: Stage, location: Location) -> StageState:
        if location.job is None:
            since = location.submission.sending(location.array)
            words = "it is being sent" if since is None else f"open since {_clock(since)} whether Slurm has it"
            return StageState("unknown", reason=f"{words}; the next submit settles it", since=since)
        if self.entries is None:
            since = self.snapshot.stale_since or self.snapshot.taken
            silent = f"Slurm does not answer since {_clock(since)}"
            words = silent if self._is_ours else "only the owner of the store sees its jobs in the queue"
            return StageState("unknown", reason=words, since=since)
        entry = self.entry(location)
        if entry is None and self._is_later(location):
            return StageState("queued")
        if entry is None:
            ended = self._ended_at(location)
            return self._over(stage, location, f"{ended.state} {ended.exit_code}:{ended.signal}" if ended else None)
        if entry.never:
            return StageState("held", reason=self._parent_reason(stage) or "what it waits for failed")
        waits = f"Slurm says {entry.reason}" if entry.pending and entry.reason not in _ORDINARY else None
        return self._at_work(stage, location, started=entry.phase == "running", waits=waits)

    def _at_work(self, stage: Stage, location: Location, *, started: bool, waits: str | None = None) -> StageState:
        """The state of a stage whose element is queued or runs: of several stages, it is at one."""
        reason = "being cancelled" if location.is_cancelled else waits
        return StageState("running" if started and self._has_begun(stage, location) else "queued", reason=reason)

    def _has_begun(self, stage: Stage, location: Location) -> bool:
        """Whether the element is in an attempt at a stage; one that an earlier element left open does not count."""
        folder = self.store.stage_folder(stage.folder)
        made = attempts.attempts_of(folder)
        return bool(made) and attempts.end_of(made[-1]) is None and history.began(folder, self._sent_element(location))

    def _sent_element(self, location: Location) -> EndedElement:
        """An element as its attempts know it, whether it is over or not."""
        if location.submission.is_local:
            return EndedElement("", sent=location.submission.sending(location.array) or 0.0)
        return EndedElement("", job=f"{location.job}_{location.index}")

    def _over(self, stage: Stage, location: Location, ended: str | None) -> StageState:
        """The state of a stage whose element is over."""
        if stage.key in self.finished or self._now.is_finished(self.plan, stage):  # published since the first look
            self.finished.add(stage.key)
            return StageState("finished")
        if location.is_cancelled:
            return StageState("cancelled")
        over = self._over_at(stage, location)
        failure = history.last(self.store, stage, over)
        mine = failure is not None and failure.attempt > 0 and _is_of(failure, location)
        noted = history.noted_its_end(self.store.stage_folder(stage.folder), over)
        # One that was stopped, and then found the rest held, has not noted how it ended.
        held = None if noted else self._held_line(location.submission.folder)
        if held or (not mine and (held := self._parent_reason(stage))):
            return StageState("held", reason=held)
        if (failure is None or failure.cause == "unknown") and not noted and (unknown := self._not_yet(location)):
            return unknown
        if not over.reached:
            return StageState("new", reason="its job ended at another stage")
        if failure is not None and (mine or failure.cause != "unknown"):
            return StageState("failed", reason=failure.evidence, cause=failure.cause)
        said = causes.one_line(logs.last_error(location) or ("" if ended else "it left no result"))
        words = [f"job ended ({ended})" if ended else "job gone", said]
        return StageState("failed", reason=": ".join(filter(None, words)), cause="unknown")

    def _held_line(self, submission: Path) -> str | None:
        """Why the rest of a submission is held."""
        if submission not in self._held:
            self._held[submission] = breaker.held_line(submission)
        return self._held[submission]

    def _not_yet(self, location: Location) -> StageState | None:
        """`unknown` where accounting is still to say how an element ended; None where nothing more is to come."""
        element = _element(location)
        silent, late = self._endings.silent.get(element), self._endings.late.get(element)
        if silent is not None:
            reason = f"accounting does not answer since {_clock(silent)}, so nobody knows how it ended"
            return StageState("unknown", reason=reason, since=silent)
        if late is not None:
            return StageState("unknown", reason=f"ended; accounting is late since {_clock(late)}", since=late)
        return None

    @cached_property
    def _now(self) -> Store:
        """The store read again, after the queue: what left the queue between the two looks may have its result."""
        return Store(self.store.root)

    def _parent_reason(self, stage: Stage) -> str | None:
        """Why a stage cannot run, where its parent is the reason."""
        if stage.parent is None:
            return None
        parent = self._states[stage.parent]
        words = {"failed": "failed", "held": "held", "cancelled": "cancelled", "new": "did not begin"}.get(parent.state)
        return f"{self.plan.stages[stage.parent].name} {words}" if words else None


def _element(location: Location) -> ElementId:
    return ElementId(location.job or "", location.index, location.name)


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M", time.localtime(seconds))


def _is_of(failure: Failure, location: Location) -> bool:
    """Whether a failed attempt was made by the element at a location."""
    if location.submission.is_local:
        return failure.job is None and failure.time >= (location.submission.sending(location.array) or 0.0)
    return failure.job == f"{location.job}_{location.index}"
