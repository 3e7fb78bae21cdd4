"""One element: its stages in order, what goes on after a failure, and how the job leaves."""

import signal
import sys
from collections.abc import Collection, Sequence
from typing import Protocol

from launch.job import FAILED, TRY_AGAIN
from launch.job.verdicts import StageFailed
from launch.store.manifests import StageEntry
from slurm.signals import StopFlag, requeue
from training.distributed import World


class Run(Protocol):
    """Who does the stages (`launch.job.stage.ElementRun`)."""

    stop: StopFlag
    world: World
    lane: int | None  # of a packed element; None: it has the job for itself

    def run(self, entry: StageEntry) -> None: ...

    def drop_encoders(self, folders: list[str]) -> None: ...

    def budget_left(self, entry: StageEntry) -> bool: ...


def run_stages(run: Run, entries: Sequence[StageEntry], drop: Sequence[str]) -> int:
    """The element's stages in order, but for those whose parent in it failed; the exit code.

    drop: folders of trains whose encoder goes once their last evaluate here is finished.
    """
    failures: list[StageFailed] = []
    failed_folders: set[str] = set()
    for entry in entries:
        if entry.parent in failed_folders:
            failed_folders.add(entry.folder)
            continue
        try:
            run.run(entry)
        except StageFailed as failure:
            print(f"error: {failure}", file=sys.stderr, flush=True)
            failed_folders.add(entry.folder)
            failures.append(failure)
            if failure.stopped:
                return _leave_stopped(run, entry)
            if failure.ends_element:
                break
        else:
            run.drop_encoders(no_longer_read(entries, entry, drop, failed_folders))
    if not failures:
        return 0
    return TRY_AGAIN if all(failure.cause == "elsewhere" for failure in failures) else FAILED


def no_longer_read(
    entries: Sequence[StageEntry], last: StageEntry, drop: Sequence[str], failed_folders: Collection[str]
) -> list[str]:
    """Trains that may lose their encoder, since the stage just finished is the last one here that has to do with it."""
    folders = []
    for folder in drop:
        family = [entry for entry in entries if folder in (entry.folder, entry.parent)]
        if family and family[-1] is last and not any(entry.folder in failed_folders for entry in family):
            folders.append(folder)
    return folders


def _leave_stopped(run: Run, entry: StageEntry) -> int:
    """Stopped by a signal. Before the time limit it is ours to have the job queued again, if its budget allows."""
    if run.stop.received != signal.SIGUSR2 or not run.world.first:
        return TRY_AGAIN
    if not run.budget_left(entry):
        print(
            "error: not queued again: it got no further since its last start, too often (failures: time: retry)",
            file=sys.stderr,
        )
        return FAILED
    if run.lane is not None:
        return TRY_AGAIN  # the job is queued again once all its lanes have saved (`launch.job.lanes`)
    if requeue():
        print("stopped by a signal; requeued", file=sys.stderr)
    else:
        print("stopped by a signal; not requeued: the next `stepstone submit FILE` sends it again", file=sys.stderr)
    return TRY_AGAIN
