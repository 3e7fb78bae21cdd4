"""When the last of some jobs ends, if each starts as soon as it may and there is room. Pure.

Jobs start in one fixed order: what runs, then by how many jobs must end before, then as given. So more work, longer
work or less room never makes the end earlier, which is not true of a scheduler that takes whatever happens to be ready.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """What one array index still has to run. `after`: the position of the job that must end first, which comes before
    it. `not_before`: seconds from now until it may start. One that runs has its room."""

    seconds: float
    after: int | None = None
    not_before: float = 0.0
    runs: bool = False


def seconds_to_the_end(jobs: Sequence[Job], at_once: int | None) -> float:
    """From now until all are done; 0 where there are none. `at_once`: how many run at the same time; None: all."""
    depths: list[int] = []
    for job in jobs:
        depths.append(0 if job.after is None else depths[job.after] + 1)
    ends = [job.seconds if job.runs else 0.0 for job in jobs]
    # Of more than may run at once those that end last keep the room from the others.
    room = sorted(end for end, job in zip(ends, jobs, strict=True) if job.runs)
    if at_once is not None:
        room = room[-at_once:] if len(room) >= at_once else [0.0] * (at_once - len(room)) + room
    waiting = sorted((n for n, job in enumerate(jobs) if not job.runs), key=depths.__getitem__)
    for number in waiting:
        job = jobs[number]
        ready = max(job.not_before, 0.0 if job.after is None else ends[job.after])
        if at_once is None:
            ends[number] = ready + job.seconds
        else:
            ends[number] = max(room[0], ready) + job.seconds
            heapq.heapreplace(room, ends[number])
    return max(ends, default=0.0)
