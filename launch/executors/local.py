"""Elements on workers of this machine: known from the run's folder and from the processes."""

from dataclasses import dataclass
from pathlib import Path

from launch.executors.base import Element, Look, Scope, Unanswered, Whereabouts
from launch.store import Location, logs
from slurm.accounting import Ended
from slurm.queue import QueueEntry


@dataclass(frozen=True)
class _LocalLook:
    is_ours: bool

    @property
    def entries(self) -> list[QueueEntry] | None:
        return []

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

    def look(self, scope: Scope, max_age: float) -> Look:
        return _LocalLook(scope.is_ours)

    def job(self, location: Location) -> str | None:
        return "local"

    def element(self, location: Location) -> Element:
        return Element(None, location.sending or 0.0)

    def logs(self, location: Location) -> list[Path]:
        submission = location.submission
        folder = submission.folder / "local" / "logs"
        return logs.with_content(submission, folder, f"{submission.local_element(*location.place)}_")
