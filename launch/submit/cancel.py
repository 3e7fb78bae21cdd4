"""Cancelling: what a person has sent is ended, with all that waits for it, and told apart from what failed.

The record is written first: whatever happens next, the stages count as cancelled once they are gone from the queue.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from launch import executors
from launch.plan import Plan
from launch.status import Observation, under_way
from launch.store import Location, Store, submissions
from launch.store import lock as store_lock
from launch.store.lock import Lock
from launch.submit import last_job, orphans
from slurm import snapshot
from slurm.base import UserError

_UNDONE = "nothing was cancelled"


@dataclass(frozen=True)
class Cancellation:
    """What would be ended."""

    stages: list[str]  # keys, in the plan's order
    locations: list[Location]  # the elements that hold them
    beside: list[str]  # keys of unfinished stages that go too, since they share an element with one of those
    outside: list[str]  # folders of stages in those elements that the file does not ask for, or not any more
    running: int  # stages that run now


def select(plan: Plan, observation: Observation, names: Sequence[str] = ()) -> Cancellation:
    """Everything of an experiment that is queued or runs, or these stages (by name or key) and all that waits for them.

    UserError where Slurm does not answer, UsageError where a name means no stage.
    """
    if observation.entries is None:
        raise snapshot.unanswered(_UNDONE)
    keys_to_end = _with_children(plan, {plan.find(name).key for name in names}) if names else set(plan.stages)
    open_stages = [
        stage.key
        for stage in plan.stages.values()
        if observation.is_sent(stage) or _waits_in_vain(observation, stage.key)
    ]
    stages = [key for key in open_stages if key in keys_to_end]
    edited_away = [] if names else _sent_before_an_edit(plan, observation)
    locations = [*(observation.locations[key] for key in stages), *edited_away]
    return _of_elements(plan, observation, stages, open_stages, list(dict.fromkeys(locations)))


def _of_elements(
    plan: Plan, observation: Observation, stages: Sequence[str], open_stages: Sequence[str], locations: list[Location]
) -> Cancellation:
    elements, to_end = set(locations), set(stages)
    inside = [key for key in open_stages if observation.locations[key] in elements]
    foreign = {key for location in locations for key in location.keys} - plan.stages.keys()
    folders = sorted(observation.store.folders_of(foreign).values())
    return Cancellation(
        stages=[key for key in inside if key in to_end],
        locations=locations,
        beside=[key for key in inside if key not in to_end],
        outside=[folder for folder in folders if not observation.store.has_result(folder)],
        running=sum(observation.state(plan.stages[key]).state == "running" for key in inside if key in to_end),
    )


def _sent_before_an_edit(plan: Plan, observation: Observation) -> list[Location]:
    """What this experiment has in the queue that its file does not ask for any more."""
    edited_submissions = [  # mostly none: then Slurm is not asked again
        submission
        for submission in observation.submissions
        if submission.intent.experiment == plan.experiment.name and not plan.stages.keys() >= submission.keys
    ]
    queue = under_way.in_queue(edited_submissions)
    if queue is None:
        raise snapshot.unanswered(_UNDONE)
    # What has no job yet, the settling of its array will find.
    elements = (at for at in under_way.under_way(edited_submissions, queue) if executors.of_location(at).job(at))
    return [location for location in elements if not plan.stages.keys() >= set(location.keys)]


def _with_children(plan: Plan, keys: Collection[str]) -> set[str]:
    family = set(keys)
    for stage in plan.stages.values():  # parents first
        if stage.parent in family:
            family.add(stage.key)
    return family


def _waits_in_vain(observation: Observation, key: str) -> bool:
    """Whether a stage is in the queue though its parent failed."""
    location = observation.locations.get(key)
    if key in observation.finished:
        return False
    if location is None or not executors.of_location(location).has_queue:
        return False
    return observation.is_at_work(location)


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
    proposal = select(plan, Observation(plan, Store(root), max_age=0), names)
    if not proposal.locations:
        if not names and last_job.cancel(plan, report):  # all else is over, and it waits for a place
            report("the last job was waiting, and is cancelled; for a table: stepstone collect")
        return proposal
    if not agree(proposal):
        return None
    with store_lock.lock(root, store_lock.PATIENCE, report) as lock:
        observation = _look(plan, root, report)
        now = select(plan, observation, names)
        agreement = _within(plan, observation, now, {key for at in proposal.locations for key in at.keys})
        if len(agreement.stages) < len(now.stages):
            more = len(now.stages) - len(agreement.stages)
            report(f"{more} stages that were sent meanwhile go on; to cancel them too, type the command again")
        if not names and len(agreement.stages) == len(now.stages):
            last_job.cancel(plan, report)
        _end(agreement, lock)
    return agreement


def _is_unsettled(root: Path) -> bool:
    """Whether something is being sent, or was when its submitter died."""
    return any(s.receipt(n) is None for s in submissions.read_all(root) for n in range(len(s.arrays)))


def _look(plan: Plan, root: Path, report: Callable[[str], None]) -> Observation:
    """What is there once every array has its receipt. Under the lock."""
    observation = Observation(plan, Store(root), max_age=0)
    adoption_lines = orphans.adopt(
        observation.submissions, observation.entries, lambda: snapshot.look(0).entries, report
    )
    for line in adoption_lines:
        report(line)
    return Observation(plan, Store(root), max_age=0) if adoption_lines else observation


def _within(plan: Plan, observation: Observation, proposal: Cancellation, keys: set[str]) -> Cancellation:
    """Of a cancellation, the elements that end no other stages than these."""
    locations = [location for location in proposal.locations if keys.issuperset(location.keys)]
    return _of_elements(plan, observation, proposal.stages, [*proposal.stages, *proposal.beside], locations)


def _end(cancellation: Cancellation, lock: Lock) -> None:
    by_submission: dict[Path, list[Location]] = defaultdict(list)
    for location in cancellation.locations:
        by_submission[location.submission.folder].append(location)
    lock.keep()
    for locations in by_submission.values():
        locations[0].submission.record_cancelled({location.place for location in locations})
    for executor, locations in executors.by_executor(cancellation.locations):
        lock.keep()
        executor.cancel(locations)
