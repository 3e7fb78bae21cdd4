"""What of some submissions may be queued or run now, whichever experiment sent it and whatever its file says since."""

from collections.abc import Iterable, Iterator, Set

from launch.store import Location, Submission
from slurm import snapshot

Queued = Set[tuple[str, int | None]]  # names of arrays and indices


def in_queue(sent: Iterable[Submission]) -> Queued | None:
    """What is in Slurm's queue, asked for now; None where Slurm does not answer.

    Empty without asking where none of these submissions went there.
    """
    if not any(_went_to_slurm(submission) for submission in sent):
        return frozenset()
    found = snapshot.look(0)
    if found.entries is None or found.stale_since is not None:
        return None
    return {(entry.name, entry.index) for entry in found.entries}


def under_way(sent: Iterable[Submission], queued: Queued) -> Iterator[Location]:
    """The elements that may be queued or run. `queued`: as `in_queue` says."""
    for submission in sent:
        for number, array in enumerate(submission.arrays):
            # Without a receipt an array may come to the queue yet: the next submit settles it.
            open_ = not submission.is_local and submission.receipt(number) is None
            for index in array.elements:
                if submission.is_local:
                    lives = submission.local_state(number, index) in ("queued", "running")
                else:
                    lives = open_ or (array.name, index) in queued
                if lives:
                    yield Location(submission, number, index)


def is_busy(sent: Iterable[Submission], queued: Queued) -> bool:
    """Whether anything of these submissions may be queued or run."""
    return any(True for _ in under_way(sent, queued))


def _went_to_slurm(submission: Submission) -> bool:
    return not submission.is_local and any(_may_be_there(submission, n) for n in range(len(submission.arrays)))


def _may_be_there(submission: Submission, array: int) -> bool:
    receipt = submission.receipt(array)
    return receipt is None or receipt.was_sent
