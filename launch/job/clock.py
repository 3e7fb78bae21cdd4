"""Where the time of a job's stages went: counted while they run, noted in each one's log.jsonl."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from launch.store import attempts, times
from launch.store.attempts import Attempt
from launch.store.manifests import StageEntry
from launch.store.submissions import Submission
from slurm.base import UserError
from slurm.base.processes import seconds_since_start
from training.stopwatch import timing


class Clock:
    """One job's. `manifest`: its path."""

    def __init__(self, manifest: Path) -> None:
        self._manifest = manifest
        self._is_first = True  # of the job's stages
        self._languages: dict[str, float] = {}

    def language(self, code: str, seconds: float) -> None:
        """A language of the stage that runs was evaluated."""
        self._languages[code] = seconds

    @contextmanager
    def stage(self, entry: StageEntry, attempt: Attempt, *, notes: bool) -> Iterator[None]:
        """Count inside; then note it where `notes` says so (rank 0), also of an attempt that failed."""
        self._languages = {}
        imports = seconds_since_start() if self._is_first else 0.0
        queue = self._queue(entry, attempt, imports) if self._is_first and notes else None
        self._is_first = False
        with timing() as watch:
            try:
                yield
            finally:
                if notes:
                    with suppress(OSError):  # a full disk: the stage's own end says so
                        times.note(attempt, times.of_phases(watch.read(), self._languages, queue, imports))

    def _queue(self, entry: StageEntry, attempt: Attempt, imports: float) -> float | None:
        """Seconds until the job's process began: from when it was sent, or from what had to end before that."""
        began = attempts.starter_of(attempt).time
        number = self._manifest.stem.removeprefix("manifest-")
        with suppress(UserError, OSError):
            sending = Submission(self._manifest.parent).sending(int(number)) if number.isdecimal() else None
            if began is None or sending is None:
                return None
            earlier = [a for a in attempts.attempts_of(attempt.stage_folder) if a.number < attempt.number]
            stages = attempt.stage_folder.parent
            parents = attempts.attempts_of(stages / entry.parent) if entry.parent else []
            ends = [attempts.end_of(before) for before in (*earlier, *parents)]
            latest = max([sending.time, *(end.time for end in ends if end is not None)])
            return max(0.0, began - imports - latest)
        return None
