"""The throttle: one cap on running elements for a whole experiment, shared out over its arrays, changeable live.

Slurm knows a throttle per array only (`%`). Arrays get shares by their number of elements, at least 1 each; where there
are more arrays than the cap, the later ones take turns: each waits until an earlier one is over.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from launch import executors
from launch.draft.shares import shares
from launch.plan import Plan
from launch.status import Observation
from launch.store import Submission, sharing
from slurm import control, snapshot
from slurm.base import UserError


@dataclass(frozen=True)
class OpenArray:
    """An array that has elements in the queue."""

    submission: Submission
    array: int
    job: str
    elements: int  # in the queue
    throttle: int | None  # as it is now


def check(plan: Plan) -> None:
    """UserError where no queue runs the experiment."""
    if not executors.of_cluster(plan.experiment.cluster).has_queue:
        raise UserError("throttle: it is for Slurm; local workers are set by `cluster: {workers: …}` before submit")


def file_says(plan: Plan, cap: int | None) -> str | None:
    """That the file says otherwise than what was set; None: it says the same."""
    throttle = plan.experiment.cluster.throttle
    if throttle == cap:
        return None
    return (
        f"the file still says throttle: {throttle or 'none'}; the next submit goes by the file, so change it there too"
    )


def open_arrays(observation: Observation) -> list[OpenArray]:
    """The experiment's arrays that have elements in the queue, the oldest first."""
    counts: dict[str, int] = {}
    for entry in observation.entries or []:
        counts[entry.name] = counts.get(entry.name, 0) + 1
    arrays = []
    for submission in observation.submissions:
        if submission.intent.experiment != observation.plan.experiment.name or submission.is_last_job:
            continue
        for number, array in enumerate(submission.arrays):
            receipt = submission.receipt(number)
            if receipt and receipt.job and counts.get(array.name):
                now = submission.throttle(number)
                arrays.append(OpenArray(submission, number, receipt.job, counts[array.name], now))
    return arrays


def spread(arrays: Sequence[OpenArray], new_shares: Sequence[int | None]) -> list[str]:
    """Give arrays their shares, where they have others. A line per array that was changed, or could not be."""
    lines = []
    for array, share in zip(arrays, new_shares, strict=True):
        if share == array.throttle:
            continue
        try:
            control.set_throttle(array.job, share or 0)
        except UserError as error:
            lines.append(f"job {array.job}: {error}")
            continue
        array.submission.write_throttle(array.array, share)
        sharing.let_in_again(array.submission.folder)
        before = "all" if array.throttle is None else array.throttle
        lines.append(f"job {array.job}: {share or 'all'} of {array.elements} elements at a time (before: {before})")
    return lines


def change(observation: Observation, cap: int | None) -> list[str]:
    """Set the cap of an experiment's arrays in the queue (None: none). Lines for people."""
    if observation.entries is None:
        raise snapshot.unanswered("nothing was changed")
    arrays = open_arrays(observation)
    if not arrays:
        return ["no array of this experiment is in the queue; nothing to change"]
    new_shares = shares([array.elements for array in arrays], cap)
    lines = spread(arrays, new_shares)
    if cap is not None and sum(share or 0 for share in new_shares) > cap:
        lines.append(f"{len(arrays)} arrays are in the queue, one at a time each at least: more than {cap} may run")
    return lines or ["every array has its share already"]
