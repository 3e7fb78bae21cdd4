"""Cancelling: what a person has sent is ended, with all that waits for it, and told apart from what failed.

The record is written first: whatever happens next, the stages count as cancelled once they are gone from the queue.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.plan import Plan
from launch.status import Observation, under_way
from launch.store import Location, Store, Submission, submissions
from launch.store import lock as store_lock
from launch.store.lock import Lock
from launch.submit import orphans
from slurm import control, local, snapshot
from slurm.arrays import index_list
from slurm.base import UserError

_SILENT = "Slurm does not answer, so what is queued is unknown; try again later, nothing was cancelled"


@dataclass(frozen=True)
class Cancellation:
    """What would be ended."""

    stages: list[str]  # keys, in the plan's order
    locations: list[Location]  # the elements that hold them
    beside: list[str]  # keys of unfinished stages that go too, since they share an element with one of those
    outside: list[str]  # folders of stages in those elements that the file does not ask for, or not any more
    running: int  # stages that run now


def select(plan: Plan, seen: Observation, names: Sequence[str] = ()) -> Cancellation:
    """Everything of an experiment that is queued or runs, or these stages (by name or key) and all that waits for them.

    UserError where Slurm does not answer, UsageError where a name means no stage.
    """
    if seen.entries is None:
        raise UserError(_SILENT)
    chosen = _with_children(plan, {plan.find(name).key for name in names}) if names else set(plan.stages)
    open_ = [stage.key for stage in plan.stages.values() if seen.is_sent(stage) or _waits_in_vain(seen, stage.key)]
    stages = [key for key in open_ if key in chosen]
    left = [] if names else _sent_before_an_edit(plan, seen)
    return _of_elements(plan, seen, stages, open_, list(dict.fromkeys([*(seen.locations[k] for k in stages), *left])))


def _of_elements(
    plan: Plan, seen: Observation, stages: Sequence[str], open_: Sequence[str], locations: list[Location]
) -> Cancellation:
    elements, wanted = set(locations), set(stages)
    inside = [key for key in open_ if seen.locations[key] in elements]
    others = seen.store.folders_of({key for one in locations for key in one.keys} - plan.stages.keys())
    outside = [name for name in sorted(others.values()) if not seen.store.has_result(name)]
    running = sum(seen.state(plan.stages[key]).state == "running" for key in inside if key in wanted)
    mine, beside = [key for key in inside if key in wanted], [key for key in inside if key not in wanted]
    return Cancellation(mine, locations, beside, outside, running)


def _sent_before_an_edit(plan: Plan, seen: Observation) -> list[Location]:
    """What this experiment has in the queue that its file does not ask for any more."""
    own = (one for one in seen.submissions if one.intent.experiment == plan.experiment.name)
    edited = [one for one in own if not plan.stages.keys() >= one.keys]  # mostly none: then Slurm is not asked again
    queued = under_way.in_queue(edited)
    if queued is None:
        raise UserError(_SILENT)
    sent = (one for one in under_way.under_way(edited, queued) if one.job or one.submission.is_local)
    return [one for one in sent if not plan.stages.keys() >= set(one.keys)]


def _with_children(plan: Plan, keys: Collection[str]) -> set[str]:
    found = set(keys)
    for stage in plan.stages.values():  # parents first
        if stage.parent in found:
            found.add(stage.key)
    return found


def _waits_in_vain(seen: Observation, key: str) -> bool:
    """Whether a stage is in the queue though its parent failed."""
    location = seen.locations.get(key)
    if key in seen.finished:
        return False
    return location is not None and seen.is_at_work(location)


def cancel(
    plan: Plan,
    names: Sequence[str],
    agree: Callable[[Cancellation], bool],
    report: Callable[[str], None] = lambda line: None,
) -> Cancellation | None:
    """End what `select` finds, where `agree` says so; None: it did not. While it is asked, others may send and cancel:
    what is ended then is what it agreed to and still runs or waits.

    UserError where Slurm does not do it: what is still queued shows as being cancelled, and the next call tries again.
    """
    root: Path = plan.experiment.store
    if not root.exists():
        raise UserError(f"nothing was ever sent: there is no store {root}")
    if _is_unsettled(root):
        with store_lock.lock(root, store_lock.PATIENCE, report):
            _look(plan, root, report)
    asked = select(plan, Observation(plan, Store(root), max_age=0), names)
    if not asked.locations:
        return asked
    if not agree(asked):
        return None
    with store_lock.lock(root, store_lock.PATIENCE, report) as lock:
        seen = _look(plan, root, report)
        found = select(plan, seen, names)
        agreed = _within(plan, seen, found, {key for location in asked.locations for key in location.keys})
        if len(agreed.stages) < len(found.stages):
            more = len(found.stages) - len(agreed.stages)
            report(f"{more} stages that were sent meanwhile go on; to cancel them too, type the command again")
        _end(agreed, lock)
    return agreed


def _is_unsettled(root: Path) -> bool:
    """Whether something is being sent, or was when its submitter died."""
    return any(one.receipt(n) is None for one in submissions.read_all(root) for n in range(len(one.arrays)))


def _look(plan: Plan, root: Path, report: Callable[[str], None]) -> Observation:
    """What is there once every array has its receipt. Under the lock."""
    seen = Observation(plan, Store(root), max_age=0)
    adopted = orphans.adopt(seen.submissions, seen.entries, lambda: snapshot.look(0).entries, report)
    for line in adopted:
        report(line)
    return Observation(plan, Store(root), max_age=0) if adopted else seen


def _within(plan: Plan, seen: Observation, found: Cancellation, keys: set[str]) -> Cancellation:
    """Of a cancellation, the elements that end no other stages than these."""
    agreed = [location for location in found.locations if keys.issuperset(location.keys)]
    return _of_elements(plan, seen, found.stages, [*found.stages, *found.beside], agreed)


def _end(found: Cancellation, lock: Lock) -> None:
    by_submission: dict[Path, list[Location]] = defaultdict(list)
    for location in found.locations:
        by_submission[location.submission.folder].append(location)
    lock.keep()
    for locations in by_submission.values():
        locations[0].submission.record_cancelled({(location.array, location.index) for location in locations})
    ids = []
    for locations in by_submission.values():
        lock.keep()
        submission = locations[0].submission
        if submission.is_local:
            numbers = [submission.local_element(location.array, location.index) for location in locations]
            local.cancel(submission.folder / "local", numbers)
        else:
            ids += _ids(submission, locations)
    # Children are sent after their parents: ended first, none of them starts in between.
    control.cancel(list(reversed(ids)))


def _ids(submission: Submission, locations: Sequence[Location]) -> list[str]:
    indices: dict[int, list[int]] = defaultdict(list)
    for location in locations:
        indices[location.array].append(location.index)
    receipts = {array: submission.receipt(array) for array in sorted(indices)}  # all are there: it is settled
    return [f"{receipt.job}_[{index_list(indices[array])}]" for array, receipt in receipts.items() if receipt]
