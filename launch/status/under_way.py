"""What of some submissions may be queued or run now, whichever experiment sent it and whatever its file says since."""

from collections.abc import Iterable, Iterator

from launch import executors
from launch.executors import Queued
from launch.store import Location, Submission
from slurm import snapshot

__all__ = ["Queued", "in_queue", "is_busy", "under_way"]


def in_queue(submissions: Iterable[Submission]) -> Queued | None:
    """What is in Slurm's queue, asked for now; None where Slurm does not answer.

    Empty without asking where none of these submissions went there.
    """
    if not any(executors.of_submission(submission).needs_queue(submission) for submission in submissions):
        return frozenset()
    queue = snapshot.look(0)
    if queue.entries is None or queue.stale_since is not None:
        return None
    return {(entry.name, entry.index) for entry in queue.entries}


def under_way(submissions: Iterable[Submission], queue: Queued) -> Iterator[Location]:
    """The elements that may be queued or run. `queue`: as `in_queue` says."""
    for submission in submissions:
        executor = executors.of_submission(submission)
        for number, array in enumerate(submission.arrays):
            for index in array.elements:
                location = Location(submission, number, index)
                if executor.may_be_at_work(location, queue):
                    yield location


def is_busy(submissions: Iterable[Submission], queue: Queued) -> bool:
    """Whether anything of these submissions may be queued or run."""
    return any(True for _ in under_way(submissions, queue))
