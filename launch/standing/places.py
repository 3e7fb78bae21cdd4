"""Which place a job has among the user's own that wait in the queue."""

from collections.abc import Sequence

from slurm.queue import QueueEntry

_NOT_YET = ("Dependency", "DependencyNeverSatisfied", "JobHeldUser", "JobHeldAdmin", "BeginTime")  # not in line


def of_jobs(entries: Sequence[QueueEntry] | None) -> dict[str, int]:
    """By job (`123_4`): 1 for the one that Slurm puts first. squeue lists what waits in a partition by priority, the
    highest first. Without those that wait for other jobs, for a time or for a person; empty where nothing is known."""
    places: dict[str, int] = {}
    in_line: dict[str, int] = {}  # by partition
    for entry in entries or ():
        if entry.pending and entry.index is not None and entry.reason not in _NOT_YET:
            in_line[entry.partition] = in_line.get(entry.partition, 0) + 1
            places[f"{entry.job}_{entry.index}"] = in_line[entry.partition]
    return places
