"""TODO."""

import signal
import sys
from typing import Any

from slurm.signals import requeue

FAILED = 1
TRY_AGAIN = 75  # stopped by a signal, or another job is at the stage


def run_stages(element: Any, entries: list[dict[str, Any]], drop: list[str]) -> int:
    """The element's stages in order, but for those whose parent in it failed; the exit code."""
    failures = []
    failed: set[str] = set()
    for entry in entries:
        if entry["parent"] in failed:
            failed.add(entry["folder"])
            continue
        failure = _do(element, entry)
        if failure is None:
            element.drop_encoders(_no_longer_read(entries, entry, drop, failed))
            continue
        print(f"error: {failure}", file=sys.stderr, flush=True)
        failed.add(entry["folder"])
        failures.append(failure)
        if failure.stopped:
            return _leave_stopped(element, entry)
        if failure.ends_element:
            break
    if not failed:
        return 0
    return TRY_AGAIN if all(failure.cause == "elsewhere" for failure in failures) else FAILED


def _do(element: Any, entry: dict[str, Any]) -> Any:
    """The StageFailed of one stage; None where it is finished."""
    from launch.job.verdicts import StageFailed

    try:
        element.run(entry)
    except StageFailed as failure:
        return failure
    return None


def _no_longer_read(
    entries: list[dict[str, Any]], done: dict[str, Any], drop: list[str], failed: set[str]
) -> list[str]:
    """Trains that may lose their encoder, whose last evaluate of this element is the one just done."""
    found = []
    for folder in drop:
        own = [entry for entry in entries if folder in (entry["folder"], entry["parent"])]
        if own and own[-1] is done and failed.isdisjoint(entry["folder"] for entry in own):
            found.append(folder)
    return found


def _leave_stopped(element: Any, entry: dict[str, Any]) -> int:
    """Stopped by a signal. Before the time limit it is ours to have the job queued again, if its budget allows."""
    if element.stop.received != signal.SIGUSR2 or not element.world.first:
        return TRY_AGAIN
    if not element.budget_left(entry):
        print(
            "error: not queued again: it got no further since its last start, too often (failures: time: retry)",
            file=sys.stderr,
        )
        return FAILED
    if requeue():
        print("stopped by a signal; requeued", file=sys.stderr)
    else:
        print("stopped by a signal; not requeued: the next `stepstone submit FILE` sends it again", file=sys.stderr)
    return TRY_AGAIN
