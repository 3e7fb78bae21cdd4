"""Where the time of a job's stages went, and what they used: counted while they run, noted in each one's log.jsonl."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from launch.job.sampling import Node, Sampler
from launch.store import attempts, times, usage
from launch.store.attempts import Attempt
from launch.store.manifests import StageEntry
from launch.store.submissions import Submission
from slurm.base import UserError
from slurm.base.processes import seconds_since_start
from training.stopwatch import timing


class Clock:
    """One job's. `manifest`: its path. `node`: of whose ranks it takes samples, if any."""

    def __init__(self, manifest: Path, node: Node | None = None) -> None:
        self._manifest, self._node = manifest, node
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
        sampler = Sampler(attempt, self._node) if self._node and self._node.file else None
        with timing() as watch:
            try:
                with sampler or nullcontext():
                    yield
            finally:
                if notes:
                    stage_times = times.of_phases(watch.read(), self._languages, queue, imports)
                    noted_usage = {"usage": usage.record(sampler.usage)} if sampler and sampler.usage else {}
                    with suppress(OSError):  # a full disk: the stage's own end says so
                        times.note(attempt, stage_times, **noted_usage)

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
