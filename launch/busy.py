"""What of some submissions may be queued or run now, whichever experiment sent it and whatever its file says since."""

from collections.abc import Iterable, Iterator, Set

from launch.submissions import NOTHING_RUNS, Submission
from slurm import local, snapshot

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


def under_way(sent: Iterable[Submission], queued: Queued) -> Iterator[list[str]]:
    """The stages of each element that may be queued or run. `queued`: as `in_queue` says."""
    for submission in sent:
        element = 0  # its number among local workers'
        for number, array in enumerate(submission.arrays):
            # Without a receipt an array may come to the queue yet: the next submit settles it.
            open_ = not submission.is_local and submission.receipt(number) is None
            for index, keys in sorted(array["elements"].items(), key=lambda item: int(item[0])):
                if submission.is_local:
                    lives = local.element_state(submission.folder / "local", element) in ("queued", "running")
                else:
                    lives = open_ or (array["name"], int(index)) in queued
                element += 1
                if lives:
                    yield keys


def is_busy(sent: Iterable[Submission], queued: Queued) -> bool:
    """Whether anything of these submissions may be queued or run."""
    return any(True for _ in under_way(sent, queued))


def _went_to_slurm(submission: Submission) -> bool:
    return not submission.is_local and any(_may_be_there(submission, n) for n in range(len(submission.arrays)))


def _may_be_there(submission: Submission, array: int) -> bool:
    receipt = submission.receipt(array)
    return receipt is None or not any(word in receipt for word in NOTHING_RUNS)
