"""Elements on workers of this machine: known from the run's folder and from the processes."""

import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.executors.base import ElementStart, Look, Queued, Scope, Unanswered, Verb, Whereabouts
from launch.experiment import Cluster
from launch.store import Location, Submission, logs
from slurm import granted, local
from slurm.accounting import Ended
from slurm.base import UserError
from slurm.causes import Cause
from slurm.limits import Limits
from slurm.queue import QueueEntry


@dataclass(frozen=True)
class _LocalLook:
    is_ours: bool

    @property
    def entries(self) -> list[QueueEntry] | None:
        return []

    @property
    def refused_since(self) -> float | None:
        return None

    def whereabouts(self, location: Location) -> Whereabouts:
        state = location.submission.local_state(location.array, location.index)
        if state == "queued":
            return Whereabouts("queued")
        if state == "running":
            return Whereabouts("running")
        if not self.is_ours:
            return Whereabouts("hidden", "only the owner of the store sees its workers", location.sent)
        return Whereabouts("over", None if state == "gone" else state.replace("ended", "exit code"))

    def ended(self, location: Location) -> Ended | None:
        return None

    def unanswered(self, location: Location) -> Unanswered | None:
        return None


class LocalWorkers:
    """Workers on this machine."""

    has_queue = False
    comes_back: tuple[Cause, ...] = ()  # there is no other node to go to

    def look(self, scope: Scope, max_age: float) -> Look:
        return _LocalLook(scope.is_ours)

    def job(self, location: Location) -> str | None:
        return "local"

    def element(self, location: Location) -> ElementStart:
        return ElementStart(None, location.sending or 0.0)

    def logs(self, location: Location) -> list[Path]:
        submission = location.submission
        folder = submission.folder / "local" / "logs"
        return logs.with_content(submission, folder, f"{submission.local_element(*location.place)}_")

    def needs_queue(self, submission: Submission) -> bool:
        return False

    def may_be_at_work(self, location: Location, queue: Queued) -> bool:
        return location.submission.local_state(location.array, location.index) in ("queued", "running")

    def was_handed_over(self, submission: Submission) -> bool | None:
        return (submission.folder / "local" / "workers.json").exists()

    def cancel(self, locations: Sequence[Location]) -> None:
        numbers: dict[Path, list[int]] = defaultdict(list)
        for location in locations:
            numbers[location.submission.folder].append(location.submission.local_element(*location.place))
        for folder, elements in numbers.items():
            local.cancel(folder / "local", elements)

    def change(self, verb: Verb, locations: Sequence[Location]) -> None:
        raise UserError(f"{verb}: it is for Slurm; local workers have no queue to keep an element in")

    def check_store(self, store: Path) -> None:
        pass  # every path will do

    def array_size(self) -> int:
        return sys.maxsize

    def limits(self, cluster: Cluster) -> Limits | None:
        local.check_gpus(cluster.workers, cluster.asked.gpus)
        return None

    def cores_per_rank(self, cluster: Cluster) -> int:
        """What OMP_NUM_THREADS says, or its share of this machine's."""
        threads = os.environ.get("OMP_NUM_THREADS", "")
        if threads.isdecimal():
            return max(1, int(threads))
        return max(1, granted.cores() // (cluster.workers * cluster.tasks_per_node))

    def at_once(self, cluster: Cluster) -> int | None:
        return cluster.workers
