"""Elements of Slurm's arrays: known from their receipts, then the queue, then accounting, in this order."""

import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from launch.executors.base import ElementStart, Look, Queued, Scope, Unanswered, Verb, Whereabouts
from launch.experiment import Cluster
from launch.store import Location, Submission, logs
from launch.text import clock
from slurm import control, endings, limits, snapshot
from slurm.accounting import Ended
from slurm.arrays import index_list
from slurm.base import UsageError
from slurm.causes import Cause
from slurm.endings import Course, ElementId, Endings
from slurm.limits import Limits
from slurm.queue import QueueEntry
from slurm.snapshot import TRY_EACH, Snapshot

_ORDINARY = ("None", "Priority", "Resources", "Dependency", "JobArrayTaskLimit", "BeginTime")  # reasons to wait


class _SlurmLook:
    """One squeue, and one sacct for what vanished from the queue."""

    def __init__(self, scope: Scope, max_age: float) -> None:
        self._is_ours = scope.is_ours
        self._snapshot = _snapshot(scope, max_age)
        self._queued = {(e.job, e.index): e for e in self.entries or [] if e.index is not None}
        self._endings = self._ask_accounting(scope, max_age)

    @property
    def entries(self) -> list[QueueEntry] | None:
        return None if self._snapshot.stale_since is not None else self._snapshot.entries

    @property
    def refused_since(self) -> float | None:
        return self._snapshot.refused_since

    def whereabouts(self, location: Location) -> Whereabouts:
        if location.job is None:
            since = location.sending
            words = "it is being sent" if since is None else f"open since {clock(since)} whether Slurm has it"
            return Whereabouts("hidden", f"{words}; the next submit settles it", since)
        if self.entries is None:
            since = self._snapshot.stale_since or self._snapshot.taken
            silent = f"Slurm does not answer since {clock(since)}"
            if self._snapshot.refused_since is not None:
                silent = (
                    f"squeue refuses since {clock(self._snapshot.refused_since)}: {self._snapshot.refusal}; {TRY_EACH}"
                )
            words = silent if self._is_ours else "only the owner of the store sees its jobs in the queue"
            return Whereabouts("hidden", words, since)
        entry = self._entry(location)
        if entry is None and self._is_later(location):
            return Whereabouts("queued")
        if entry is None:
            record = self.ended(location)
            return Whereabouts("over", f"{record.state} {record.exit_code}:{record.signal}" if record else None)
        if entry.never:
            return Whereabouts("stuck")
        waits = f"Slurm says {entry.reason}" if entry.pending and entry.reason not in _ORDINARY else None
        return Whereabouts("running" if entry.phase == "running" else "queued", waits)

    def ended(self, location: Location) -> Ended | None:
        return self._endings.records.get(_id(location))

    def unanswered(self, location: Location) -> Unanswered | None:
        silent, late = self._endings.silent.get(_id(location)), self._endings.late.get(_id(location))
        if silent is not None:
            refusal = self._endings.refusal
            words = f"accounting does not answer since {clock(silent)}, so nobody knows how it ended"
            if refusal is not None:
                words = f"accounting refuses since {clock(silent)}, so nobody knows how it ended: {refusal}; {TRY_EACH}"
            return Unanswered(words, silent)
        return Unanswered(f"ended; accounting is late since {clock(late)}", late) if late is not None else None

    def _entry(self, location: Location) -> QueueEntry | None:
        """The element at a location, where the queue has it. Ids are used again; names are not."""
        entry = self._queued.get((location.job or "", location.index))
        return entry if entry is not None and entry.name == location.name else None

    def _is_later(self, location: Location) -> bool:
        """Whether it was sent after the look at the queue."""
        return self._snapshot.taken < (location.sent or 0.0)

    def _ask_accounting(self, scope: Scope, max_age: float) -> Endings:
        """How those elements ended that left the queue without a result."""
        attempts: Counter[ElementId] = Counter()  # at stages of elements that vanished
        sending_times: dict[ElementId, float] = {}
        for key, location in _on_slurm(scope.locations).items() if self.entries is not None else ():
            if (
                location.job
                and not location.is_cancelled
                and not self._is_later(location)
                and not self._entry(location)
            ):
                attempts[_id(location)] += scope.attempts(key)
                sending_times[_id(location)] = location.sent or 0.0
        courses = {element: Course(starts, sending_times[element]) for element, starts in attempts.items()}
        return endings.look(courses, max_age) if courses else Endings({}, {}, {})


class Slurm:
    """Job arrays in Slurm's queue."""

    has_queue = True
    comes_back: tuple[Cause, ...] = ("time", "preempted", "node")

    def look(self, scope: Scope, max_age: float) -> Look:
        return _SlurmLook(scope, max_age)

    def job(self, location: Location) -> str | None:
        return f"{location.job}_{location.index}" if location.job else None

    def element(self, location: Location) -> ElementStart:
        return ElementStart(f"{location.job}_{location.index}")

    def logs(self, location: Location) -> list[Path]:
        submission = location.submission
        paths = logs.with_content(submission, submission.logs(location.array), f"{location.job}_{location.index}_")
        return paths if location.lane is None else logs.of_lane(paths, location.lane)

    def needs_queue(self, submission: Submission) -> bool:
        receipts = (submission.receipt(number) for number in range(len(submission.arrays)))
        return any(receipt is None or receipt.was_sent for receipt in receipts)

    def may_be_at_work(self, location: Location, queue: Queued) -> bool:
        # Without a receipt an array may come to the queue yet: the next submit settles it.
        is_open = location.submission.receipt(location.array) is None
        return is_open or (location.name, location.index) in queue

    def was_handed_over(self, submission: Submission) -> bool | None:
        return None

    def cancel(self, locations: Sequence[Location]) -> None:
        control.cancel(_ids(locations))

    def change(self, verb: Verb, locations: Sequence[Location]) -> None:
        control.change(verb, _ids(locations))

    def check_store(self, store: Path) -> None:
        if re.search(r"[%\\]", str(store)):
            raise UsageError(f"store: {store}: Slurm replaces '%' and '\\' in the paths of logs; choose a path without")

    def array_size(self) -> int:
        return limits.max_array_size()

    def limits(self, cluster: Cluster) -> Limits | None:
        return limits.discover(cluster.account, cluster.partition, cluster.qos)

    def cores_per_rank(self, cluster: Cluster) -> int:
        """Its lane's part of what is asked for, of which OMP_NUM_THREADS, where it is set here, may use less."""
        cores, threads = max(1, (cluster.asked.cores or 1) // cluster.lanes), os.environ.get("OMP_NUM_THREADS", "")
        return max(1, min(cores, int(threads))) if threads.isdecimal() else cores

    def at_once(self, cluster: Cluster) -> int | None:
        return cluster.throttle and cluster.throttle * cluster.lanes


def _snapshot(scope: Scope, max_age: float) -> Snapshot:
    """The queue; empty, without asking, where nothing of these submissions can be in it."""
    arrays = [(s, n) for s in scope.submissions if s.executor == "slurm" for n in range(len(s.arrays))]
    receipts = [submission.receipt(number) for submission, number in arrays]
    # Who is about to send looks for what came late, too.
    given_up = not max_age and any(receipt is not None and not receipt.was_sent for receipt in receipts)
    locations = _on_slurm(scope.locations)
    if not locations and None not in receipts and not (given_up and scope.is_chosen):
        return Snapshot([], time.time(), None)
    if not scope.is_ours:
        return Snapshot([], time.time(), time.time())
    # An answer from before an array was sent does not know it.
    newest = max((location.sent or 0.0 for location in locations.values()), default=0.0)
    return snapshot.look(max(0.0, min(max_age, time.time() - newest)))


def _on_slurm(locations: Mapping[str, Location]) -> dict[str, Location]:
    return {key: location for key, location in locations.items() if location.submission.executor == "slurm"}


def _ids(locations: Sequence[Location]) -> list[str]:
    """Elements as Slurm's commands take them: `12_[0-2,5]`."""
    indices: dict[str, list[int]] = defaultdict(list)
    # Children are sent after their parents: ended first, none of them starts in between.
    for location in sorted(locations, key=lambda at: (at.submission.folder.name, at.array), reverse=True):
        assert location.job is not None, "an array that is not settled"
        indices[location.job].append(location.index)
    return [f"{job}_[{index_list(elements)}]" for job, elements in indices.items()]


def _id(location: Location) -> ElementId:
    return ElementId(location.job or "", location.index, location.name)
