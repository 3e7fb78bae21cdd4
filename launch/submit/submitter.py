"""Desired state: compare plan, store and queue, and send the difference. Twice sends nothing the second time."""

import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from launch import executors
from launch.draft import Draft, budget, decide, drafting, flags, request
from launch.draft import shares as throttle_shares
from launch.draft.drafting import Bounds
from launch.draft.elements import Array
from launch.estimate import cost
from launch.plan import Plan
from launch.status import Observation, history
from launch.store import Location, Store, Submission, provenance, sharing
from launch.store import lock as store_lock
from launch.store.lock import Lock
from launch.submit import orphans, sender, throttle
from slurm import snapshot
from slurm.base import UsageError, UserError
from slurm.base.files import make_folder
from slurm.limits import Limits

_NO_SLURM_ARRAY_SIZE = 1001  # shown by `plan` where there is no Slurm to ask
_QUICK_SECONDS = 10.0  # sbatch itself waits minutes for room in a full slurmctld: then nothing smaller is tried
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
Report = Callable[[str], None]


@dataclass
class Submitted:
    """What `submit` did."""

    draft: Draft  # what was left to send when it was last looked at; where all of it went out, that
    adopted: list[str]  # a line per array of an interrupted submission, and per thing that was cleaned up
    submissions: list[Submission] = field(default_factory=list)  # with something sent
    stages: int = 0  # sent
    elements: int = 0  # sent
    held: int = 0  # elements that go out when there is room
    limit: str = ""  # what there is no room by
    unknown: str = ""  # a line about stages of which nobody can tell yet whether they failed

    @property
    def submission(self) -> Submission | None:
        """The first one; None: nothing was sent."""
        return self.submissions[0] if self.submissions else None

    def lines(self) -> list[str]:
        """What a person is told at the end."""
        lines = list(self.adopted)
        if self.submissions:
            lines.append(f"sent {self.stages} stages as {self.elements} elements: {self.submissions[0].folder}")
        elif not self.held and not self.unknown and not self.draft.blocked and not self.draft.breaker:
            lines.append("nothing to send: every stage is finished, queued or running")
        if self.held:
            lines.append(
                f"{self.held} elements are held back by {self.limit}; type the command again when there is room"
            )
        if self.unknown:
            lines.append(self.unknown)
        if self.draft.held_back:
            lines.append(
                f"{self.draft.held_back} elements wait for stages that run elsewhere: submit again when those are done"
            )
        if self.draft.breaker:
            lines.append(self.draft.breaker)
        elif self.draft.blocked:
            plan, blocked = self.draft.plan, self.draft.blocked
            first = next(iter(blocked.values()))
            lines.append(f"{len(blocked)} stages are not sent again ({drafting.names(plan, blocked)}): {first}")
        cluster = self.draft.plan.experiment.cluster
        changes = {change for array in self.draft.arrays if (change := request.changes_of(array))}
        return lines + sorted({line for change in changes for line in flags.unchanged(cluster, change)})


def shown_array_size(plan: Plan) -> int:
    """The executor's largest array, for showing a plan; also where no Slurm answers."""
    try:
        return executors.of_cluster(plan.experiment.cluster).array_size()
    except UserError:
        return _NO_SLURM_ARRAY_SIZE


def submit(
    plan: Plan,
    report: Report = lambda line: None,
    *,
    only: Collection[str] | None = None,
    force: Collection[str] = (),
) -> Submitted:
    """Send what is missing. Returns at once; `report` gets a line per array, and per thing that is waited for.

    only: nothing but these stages (by key), and trainings whose encoder they need again. force: stages that are sent
    whatever the policy says of their failures. UserError: nothing more was sent; what was, the next call finds.
    """
    check_text(plan)
    sharing.check(sender.share_group(plan))
    executor = executors.of_cluster(plan.experiment.cluster)
    limits = executor.limits(plan.experiment.cluster)
    root = plan.experiment.store
    check_writable(root)
    with store_lock.lock(root, store_lock.PATIENCE, report) as lock:
        seen, adopted = _settle(plan, report)
        stuck = seen.stuck()
        if stuck:
            executor.cancel(stuck)
            adopted.append(f"{len(stuck)} elements whose parents failed were cancelled: they would never have started")
        cost.calibrate(plan, seen.store)
        if limits is None:
            done = _to_workers(decide(plan, seen, sys.maxsize, only=only, force=force), seen, adopted, report)
        else:
            done = _Sender(plan, limits, only, force, lock, report).send(seen, adopted, stuck)
        done.unknown = _unknown(plan, seen)
        return done


def check_text(plan: Plan) -> None:
    """UsageError for what a script or Slurm would understand otherwise than it is meant. Before anything is written."""
    cluster = plan.experiment.cluster
    for name, value in (
        ("store", plan.experiment.store), ("the Python in use", sys.executable), ("name", plan.experiment.name),
        *(("cluster: setup", line) for line in cluster.setup), *cluster.sbatch_flags().items(),
    ):  # fmt: skip
        if _CONTROL.search(str(value)):
            raise UsageError(f"{name}: {str(value)!r}: line breaks and control characters are not allowed here")
    executors.of_cluster(cluster).check_store(plan.experiment.store)


def check_writable(root: Path) -> None:
    """UserError unless the store can be made and written by this user."""
    make_folder(root)
    if not os.access(root, os.W_OK | os.X_OK):
        raise UserError(f"store: no permission to write in {root}; choose another `store:` in the experiment file")


def _settle(plan: Plan, report: Callable[[str], None]) -> tuple[Observation, list[str]]:
    """What is known for certain, after arrays without a receipt got theirs; UserError where something stays unknown."""
    seen = Observation(plan, Store(plan.experiment.store), max_age=0)
    lines = orphans.adopt(seen.submissions, seen.entries, lambda: snapshot.look(0).entries, report)
    if lines:
        seen = Observation(plan, Store(plan.experiment.store), max_age=0)
    if seen.entries is None and any(seen.state(stage).state == "unknown" for stage in plan.stages.values()):
        raise UserError("Slurm does not answer, so what is queued is unknown; try again later, nothing was sent")
    return seen, lines


def _unknown(plan: Plan, seen: Observation) -> str:
    """About stages that left the queue without a result while accounting has not said why."""
    open_ = {stage.key: state for stage in plan.stages.values() if (state := seen.state(stage)).state == "unknown"}
    if not open_:
        return ""
    why = next(iter(open_.values())).reason
    return f"{len(open_)} stages are not sent again yet ({drafting.names(plan, open_)}): {why}; submit again later"


def _to_workers(made: Draft, seen: Observation, adopted: list[str], report: Report) -> Submitted:
    """All of a draft to local workers, which have no limits."""
    budget.check(made.plan, seen, made)
    done = Submitted(made, adopted)
    if made.arrays:
        _keep_failures(made, seen)
        code = provenance.freeze(seen.store.root)
        submission = sender.prepare(made, seen.store, [None] * len(made.arrays), code)
        sender.to_workers(submission, made, report)
        _count(done, submission, made.arrays)
    return done


def _keep_failures(made: Draft, seen: Observation) -> None:
    """Note what only Slurm and the logs say of failures, before later jobs make it impossible to tell."""
    for key in made.needed:
        stage = made.plan.stages[key]
        if seen.state(stage).state == "failed" and (found := seen.failures(stage)):
            history.settle(seen.store.stage_folder(stage.folder), found[-1])


def _count(done: Submitted, submission: Submission, arrays: Iterable[Array]) -> None:
    """Add arrays of a draft to what was sent."""
    elements = [element for array in arrays for element in array.elements.values()]
    if elements:
        done.submissions.append(submission)
        done.elements += len(elements)
        done.stages += sum(len(element.stages) for element in elements)


@dataclass(frozen=True)
class _Sender:
    """Sends to Slurm, under the lock, until all is sent or there is no more room."""

    plan: Plan
    limits: Limits
    only: Collection[str] | None
    force: Collection[str]
    lock: Lock
    report: Report

    def send(self, seen: Observation, adopted: list[str], leaving: Collection[Location]) -> Submitted:
        """`leaving`: what was in the queue when `seen` was made, and was cancelled since."""
        done = Submitted(self._draft(seen, self._bounds(seen, leaving, None)), adopted)
        most: int | None = None  # elements that sbatch may take at once, where a limit that is not known stopped it
        while True:
            budget.check(self.plan, seen, done.draft)
            done.held, done.limit = done.draft.no_room, done.draft.bounds.which
            if not done.draft.arrays:
                self._spread(seen)
                return done
            outcome = self._send(done.draft, seen, done)
            if not outcome.words and (most is None or not done.held):
                return done
            seen = Observation(self.plan, Store(self.plan.experiment.store), max_age=0)
            if outcome.words:
                most = outcome.refused // 2
                if most == 0 or outcome.seconds > _QUICK_SECONDS:
                    done.draft = self._draft(seen, Bounds(0, outcome.words, self.limits))
                    done.held, done.limit = done.draft.no_room, outcome.words
                    return done
            done.draft = self._draft(seen, self._bounds(seen, (), most))

    def _draft(self, seen: Observation, bounds: Bounds) -> Draft:
        return decide(self.plan, seen, self.limits.array_size, bounds, self.only, self.force)

    def _bounds(self, seen: Observation, leaving: Collection[Location], most: int | None) -> Bounds:
        """How many more elements fit: of all limits, the one that leaves the least."""
        # Where nothing of the plan can be in the queue, nobody has asked yet what else is.
        entries = seen.entries or snapshot.look(0).entries
        if entries is None:
            return Bounds(0, "Slurm, which does not answer at the moment", self.limits)
        cancelled = {(location.job, location.index) for location in leaving}
        queued = [entry for entry in entries if (entry.job, entry.index) not in cancelled]
        counts = [(limit.most, sum(map(limit.counts, queued)), limit.name) for limit in self.limits.submit]
        if self.limits.jobs is not None:
            counts.append((self.limits.jobs, len(queued), "MaxJobCount"))
        rooms = [
            (max(0, limit - count), f"{name} ({limit}, and {count} of yours are in the queue)")
            for limit, count, name in counts
        ]
        if most is not None:
            rooms.append((most, "a limit that Slurm does not tell"))
        room, which = min(rooms) if rooms else (None, "")
        return Bounds(room, which, self.limits)

    def _send(self, made: Draft, seen: Observation, done: Submitted) -> sender.SendResult:
        """Prepare and send a draft. Arrays in the queue give up shares of the throttle to the new ones first."""
        _keep_failures(made, seen)
        before, shares = self._shares(seen, made.arrays)
        submission = sender.prepare(made, seen.store, shares[len(before) :], self._code)
        self._spread(seen, made.arrays)
        open_jobs = [array.job for array in before]
        outcome = sender.to_slurm(submission, made, shares[len(before) :], self.lock, self.report, open_jobs)
        _count(done, submission, (made.arrays[number] for number in outcome.sent))
        return outcome

    def _spread(self, seen: Observation, new: Sequence[Array] = ()) -> None:
        """Give the arrays in the queue their shares of the throttle beside new ones, as the file says it now."""
        before, shares = self._shares(seen, new)
        for line in throttle.spread(before, shares[: len(before)]):
            self.report(line)

    def _shares(self, seen: Observation, new: Sequence[Array]) -> tuple[list[throttle.OpenArray], list[int | None]]:
        before = throttle.open_arrays(seen)
        counts = [array.elements for array in before] + [len(array.elements) for array in new]
        return before, throttle_shares.shares(counts, self.plan.experiment.cluster.throttle)

    @cached_property
    def _code(self) -> Path:
        """Frozen once: all that one command sends is the same."""
        return provenance.freeze(self.plan.experiment.store)
