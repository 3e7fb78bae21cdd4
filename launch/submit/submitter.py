"""Desired state: compare plan, store and queue, and send the difference. Twice sends nothing the second time."""

import os
import re
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from launch import executors
from launch.draft import Draft, budget, decide, drafting, environment, packing
from launch.draft import shares as throttle_shares
from launch.draft.drafting import Bounds
from launch.draft.elements import Array
from launch.estimate import cost
from launch.plan import Plan
from launch.status import Observation, history
from launch.store import Location, Store, Submission, provenance, sharing, submissions
from launch.store import lock as store_lock
from launch.store.lock import Lock
from launch.submit import last_job, orphans, sender, throttle
from launch.submit.outcome import Submitted
from launch.text import some
from slurm import snapshot
from slurm.arrays import SendUnclear
from slurm.base import UsageError, UserError
from slurm.base.files import make_folder
from slurm.limits import Limits

_NO_SLURM_ARRAY_SIZE = 1001  # shown by `plan` where there is no Slurm to ask
_QUICK_SECONDS = 10.0  # sbatch itself waits minutes for room in a full slurmctld: then nothing smaller is tried
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
Report = Callable[[str], None]


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
    check_executor(plan)
    environment.check_wishes(plan.experiment)
    check_text(plan)
    sharing.check(sender.share_group(plan))
    executor = executors.of_cluster(plan.experiment.cluster)
    limits = executor.limits(plan.experiment.cluster)
    root = plan.experiment.store
    check_writable(root)
    with store_lock.lock(root, store_lock.PATIENCE, report) as lock:
        observation, cleanup_lines = _settle(plan, report)
        stuck = observation.stuck()
        if stuck:
            for holder, locations in executors.by_executor(stuck):  # the file may name another one by now
                holder.cancel(locations)
            cleanup_lines.append(
                f"{len(stuck)} elements whose parents failed were cancelled: they would never have started"
            )
        cost.calibrate(plan, observation.store)
        if limits is None:
            draft = decide(plan, observation, executor.array_size(), only=only, force=force)
            draft = _within_budget(draft, observation, executor.array_size(), force, report)
            outcome = _to_workers(draft, observation, cleanup_lines, report)
        else:
            sending = _ToSlurm(plan, limits, only, force, lock, report)
            try:
                outcome = sending.send_all(observation, cleanup_lines, stuck)
            except SendUnclear:
                raise  # the next submit finds out what there is to be waited for
            except UserError:
                if lock.is_ours():
                    last_job.settle(plan, report, has_sent=_has_sent_since(plan, observation))
                raise
            lock.keep()
            last_job.settle(plan, report, has_sent=outcome.submission is not None, held_elements=outcome.held)
        return replace(outcome, unknown=_unknown(plan, observation))


def _has_sent_since(plan: Plan, observation: Observation) -> bool:
    """Whether Slurm got an array of the experiment after it was looked at."""
    folders = {submission.folder for submission in observation.submissions}
    later = (s for s in submissions.read_all(plan.experiment.store) if s.folder not in folders)
    receipts = (submission.receipt(number) for submission in later for number in range(len(submission.arrays)))
    return any(receipt is not None and receipt.was_sent for receipt in receipts)


def check_executor(plan: Plan) -> None:
    """UserError where only Slurm can be meant and is not here: nothing runs elsewhere than it is meant to."""
    cluster = plan.experiment.cluster
    if cluster.executor is not None or shutil.which("sbatch"):
        return
    if cluster.only_slurms:
        where = plan.experiment.document.where(("cluster", cluster.only_slurms[0]))
        why = f"only Slurm has {some(cluster.only_slurms)}"
    elif _was_on_slurm(plan):
        where = plan.experiment.document.where(("cluster",))
        why = f"{plan.experiment.name} was sent to Slurm before"
    else:
        return
    raise UserError(
        f"{where}: {why}, and sbatch is not on PATH here; type the command on a login node (after `module load slurm`,"
        " where there is one), or set `cluster: {executor: local}`"
    )


def _was_on_slurm(plan: Plan) -> bool:
    earlier = submissions.read_all(plan.experiment.store)
    name = plan.experiment.name
    return any(submission.intent.experiment == name and submission.executor == "slurm" for submission in earlier)


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


def _settle(plan: Plan, report: Report) -> tuple[Observation, list[str]]:
    """What is known for certain, after arrays without a receipt got theirs; UserError where something stays unknown."""
    observation = Observation(plan, Store(plan.experiment.store), max_age=0)
    lines = orphans.adopt(observation.submissions, observation.entries, lambda: snapshot.look(0).entries, report)
    if lines:
        observation = Observation(plan, Store(plan.experiment.store), max_age=0)
    if observation.entries is None and observation.among(["unknown"]):
        raise snapshot.unanswered("nothing was sent")
    return observation, lines


def _unknown(plan: Plan, observation: Observation) -> str:
    """About stages that left the queue without a result while accounting has not said why."""
    stages = observation.among(["unknown"])
    if not stages:
        return ""
    names, why = drafting.names(plan, {stage.key for stage in stages}), observation.state(stages[0]).reason
    return f"{len(stages)} stages are not sent again yet ({names}): {why}; submit again later"


def _keep_failures(draft: Draft, observation: Observation) -> None:
    """Note what only Slurm and the logs say of failures, before later jobs make it impossible to tell."""
    for key in draft.needed:
        stage = draft.plan.stages[key]
        if observation.state(stage).state == "failed" and (failures := observation.failures(stage)):
            history.settle(observation.store.stage_folder(stage.folder), failures[-1])


def _with(outcome: Submitted, submission: Submission, arrays: Iterable[Array]) -> Submitted:
    """With arrays of a submission added to what was sent."""
    elements = [element for array in arrays for element in array.elements.values()]
    if not elements:
        return outcome
    return replace(
        outcome,
        submissions=(*outcome.submissions, submission),
        elements=outcome.elements + len(elements),
        stages=outcome.stages + sum(len(element.stages) for element in elements),
    )


def _within_budget(
    draft: Draft, observation: Observation, array_size: int, force: Collection[str], report: Report
) -> Draft:
    """What the budget of the file allows of a race, all of anything else; BudgetExceededError where that is nothing."""
    part = budget.check(draft.plan, observation, draft)
    if part is None:
        return draft
    report(part.line)
    smaller = decide(draft.plan, observation, array_size, draft.bounds, part.keys, force)
    return replace(draft, needed=smaller.needed, arrays=smaller.arrays, no_room=smaller.no_room)


def _to_workers(draft: Draft, observation: Observation, cleanup_lines: list[str], report: Report) -> Submitted:
    """All of a draft to local workers, which have no limits."""
    outcome = Submitted(draft, tuple(cleanup_lines))
    if not draft.arrays:
        return outcome
    _keep_failures(draft, observation)
    code = provenance.freeze(observation.store.root)
    submission = sender.prepare(draft, observation.store, [None] * len(draft.arrays), code)
    sender.to_workers(submission, draft, report)
    return _with(outcome, submission, draft.arrays)


@dataclass(frozen=True)
class _ToSlurm:
    """Sends to Slurm, under the lock, until all is sent or there is no more room."""

    plan: Plan
    limits: Limits
    only: Collection[str] | None
    force: Collection[str]
    lock: Lock
    report: Report

    def send_all(
        self, observation: Observation, cleanup_lines: Sequence[str], leaving: Collection[Location]
    ) -> Submitted:
        """`leaving`: what was in the queue at the observation, and was cancelled since."""
        draft = self._draft(observation, self._bounds(observation, leaving))
        if draft.no_room and last_job.make_room(self.plan, self.report):
            observation = Observation(self.plan, Store(self.plan.experiment.store), max_age=0)
            draft = self._draft(observation, self._bounds(observation, leaving))
        outcome = Submitted(draft, tuple(cleanup_lines))
        at_most: int | None = None  # elements that sbatch takes at once, where a limit that is not told stopped it
        while True:
            draft = _within_budget(draft, observation, self.limits.array_size, self.force, self.report)
            outcome = replace(outcome, draft=draft, held=draft.no_room, limit=draft.bounds.which)
            if not draft.arrays:
                self._spread(observation)
                return outcome
            submission, result = self._send(draft, observation)
            outcome = _with(outcome, submission, (draft.arrays[number] for number in result.sent))
            if not result.words and (at_most is None or not draft.no_room):
                return outcome
            observation = Observation(self.plan, Store(self.plan.experiment.store), max_age=0)
            at_most = self.find_room(result, at_most)
            if at_most == 0:
                draft = self._draft(observation, Bounds(0, result.words, self.limits))
                return replace(outcome, draft=draft, held=draft.no_room, limit=result.words)
            draft = self._draft(observation, self._bounds(observation, (), at_most))

    def find_room(self, result: sender.SendResult, at_most: int | None) -> int | None:
        """How many elements to try next: half of what a limit stopped; 0 where it is not worth trying any more."""
        if not result.words:
            return at_most
        return 0 if result.seconds > _QUICK_SECONDS else result.refused // 2

    def _draft(self, observation: Observation, bounds: Bounds) -> Draft:
        draft = decide(self.plan, observation, self.limits.array_size, bounds, self.only, self.force)
        packing.check(draft)
        return draft

    def _bounds(self, observation: Observation, leaving: Collection[Location], at_most: int | None = None) -> Bounds:
        """How many more elements fit: of all limits, the one that leaves the least."""
        # Where nothing of the plan can be in the queue, nobody has asked yet what else is.
        entries = observation.entries or snapshot.look(0).entries
        if entries is None and snapshot.look().refusal is not None:
            raise snapshot.unanswered("nothing was sent")
        if entries is None:
            return Bounds(0, "Slurm, which does not answer at the moment", self.limits)
        leaving_elements = {(location.job, location.index) for location in leaving}
        queue = [entry for entry in entries if (entry.job, entry.index) not in leaving_elements]
        counts = [(limit.most, sum(map(limit.counts, queue)), limit.name) for limit in self.limits.submit]
        if self.limits.jobs is not None:
            counts.append((self.limits.jobs, len(queue), "MaxJobCount"))
        rooms = [
            (max(0, limit - count), f"{name} ({limit}, and {count} of yours are in the queue)")
            for limit, count, name in counts
        ]
        if at_most is not None:
            rooms.append((at_most, "a limit that Slurm does not tell"))
        room, limit_words = min(rooms) if rooms else (None, "")
        return Bounds(room, limit_words, self.limits)

    def _send(self, draft: Draft, observation: Observation) -> tuple[Submission, sender.SendResult]:
        """Prepare and send a draft. Arrays in the queue give up shares of the throttle to the new ones first."""
        _keep_failures(draft, observation)
        before, shares = self._shares(observation, draft.arrays)
        new_shares = shares[len(before) :]
        submission = sender.prepare(draft, observation.store, new_shares, self._code)
        self._spread(observation, draft.arrays)
        open_jobs = [array.job for array in before]
        return submission, sender.to_slurm(submission, draft, new_shares, self.lock, self.report, open_jobs)

    def _spread(self, observation: Observation, new: Sequence[Array] = ()) -> None:
        """Give the arrays in the queue their shares of the throttle beside new ones, as the file says it now."""
        before, shares = self._shares(observation, new)
        for line in throttle.spread(before, shares[: len(before)]):
            self.report(line)

    def _shares(
        self, observation: Observation, new: Sequence[Array]
    ) -> tuple[list[throttle.OpenArray], list[int | None]]:
        before = throttle.open_arrays(observation)
        counts = [array.elements for array in before] + [len(array.elements) for array in new]
        return before, throttle_shares.shares(counts, self.plan.experiment.cluster.throttle)

    @cached_property
    def _code(self) -> Path:
        """Frozen once: all that one command sends is the same."""
        return provenance.freeze(self.plan.experiment.store)
