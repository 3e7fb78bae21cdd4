"""A packed element (`cluster: {pack: N}`): its lanes side by side, each a process of `launch.job` with stages, attempts
and a log of its own. This process only starts them, hands signals on, and ends when the last of them has.

A lane that is killed says no word: it is noted here, so that want of memory is the failure of the stage that ran out of
it, and not of its neighbours. What all of them ask for by a signal is done once, after all have saved.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from launch.job import FAILED, TRY_AGAIN
from launch.store import attempts, logs
from launch.store.attempts import FailureNote, Starter
from launch.store.manifests import Manifest, StageEntry
from slurm import causes, granted
from slurm.base import UserError
from slurm.signals import StopFlag, requeue

_POLL_SECONDS = 0.1
# Where Slurm ends a job it kills all its processes, this one too: a killed lane is noted only by who outlives it.
_GRACE_SECONDS = 3.0
_HANDED_ON = (signal.SIGUSR2, signal.SIGTERM)


@dataclass(frozen=True)
class _Ended:
    """How a lane ended, as accounting would say it of a job."""

    exit_code: int
    signal: int
    state: str = "FAILED"


@dataclass
class _Lane:
    """One of the processes."""

    number: int
    entries: Sequence[StageEntry]
    process: "subprocess.Popen[bytes]"
    code: int | None = None  # None: it runs


def share(manifest: Manifest, index: int, lane: int) -> Manifest:
    """What a lane is told, which from here on has its share of this process's cores: no lane takes another's."""
    count = len(manifest.lanes[index])
    cores = sorted(os.sched_getaffinity(0))
    usable = granted.cores_to_use(manifest.asked, os.environ)
    cores_of_job = (manifest.asked.cores if manifest.asked else None) or usable
    share_size = max(1, usable // count)
    if len(cores) >= count * share_size:
        with suppress(OSError):  # a site may forbid it
            os.sched_setaffinity(0, cores[lane * share_size : (lane + 1) * share_size])
    return manifest.of_lane(index, lane, max(1, cores_of_job // count))


def run(manifest: Manifest, path: Path, index: int, stop: StopFlag) -> int:
    """Run the lanes of an element to their end; the job's exit code, by which it has failed where any lane has."""
    job = Starter.this_process().job or "local"
    lanes = [_start(manifest, path, index, lane, job) for lane in range(len(manifest.lanes[index]))]
    is_told = False
    while any(lane.code is None for lane in lanes):
        if stop.received is not None and not is_told:
            is_told = True
            for lane in lanes:
                if lane.code is None:
                    lane.process.send_signal(stop.received)
        time.sleep(_POLL_SECONDS)
        for lane in lanes:
            if lane.code is None and (code := lane.process.poll()) is not None:
                lane.code = code
                _tell(manifest, path, lane, job, stop)
    return _exit_code([lane.code or 0 for lane in lanes], stop)


def _start(manifest: Manifest, path: Path, index: int, lane: int, job: str) -> _Lane:
    """A lane's process. Signals wait until it takes them: it would die of one that comes before it is Python."""
    begin = sum(manifest.lanes[index][:lane])
    entries = manifest.elements[index][begin : begin + manifest.lanes[index][lane]]
    out, err = (logs.lane_log(path, job, lane, suffix) for suffix in ("out", "err"))
    print(f"lane {lane + 1}: {', '.join(entry.folder for entry in entries)}: prints to {out.name}", flush=True)
    command = [sys.executable, "-P", "-u", "-m", "launch.job", str(path), "--index", str(index), "--lane", str(lane)]
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDED_ON)
    try:
        with out.open("ab") as out_file, err.open("ab") as err_file:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out_file, stderr=err_file)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDED_ON)
    return _Lane(lane, entries, process)


def take_signals() -> None:
    """In a lane, once its handlers are there."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDED_ON)


def _tell(manifest: Manifest, path: Path, lane: _Lane, job: str, stop: StopFlag) -> None:
    """Say how a lane ended; of one that was killed, in its log and in the attempt that it was in."""
    assert lane.code is not None
    print(f"lane {lane.number + 1}: exit code {lane.code}", flush=True)
    if lane.code >= 0:
        return
    time.sleep(_GRACE_SECONDS)
    if stop.received == signal.SIGTERM:  # Slurm or a person ends the job
        return
    err = logs.lane_log(path, job, lane.number, "err")
    log_tail = logs.last_start([logs.lane_log(path, job, lane.number, "out"), err])
    verdict = causes.classify(_Ended(0, -lane.code), None, log_tail)
    with suppress(OSError), err.open("a", encoding="utf-8") as file:
        # As shells say it: who finds no attempt reads it from the log.
        file.write(f"error: this process was ended by signal {-lane.code}: exit code {128 - lane.code}\n")
    for entry in lane.entries:
        for attempt in attempts.attempts_of(Path(manifest.store) / "stages" / entry.folder)[-1:]:
            with suppress(OSError, UserError):
                if attempts.starter_of(attempt).job == job and attempts.end_of(attempt) is None:
                    attempt.end(FailureNote(verdict.cause, verdict.evidence))


def _exit_code(codes: Sequence[int], stop: StopFlag) -> int:
    """Of the job. Stopped by the signal before the time limit, it has itself queued again for who can go on."""
    if stop.received == signal.SIGUSR2 and TRY_AGAIN in codes:
        if requeue():
            print("stopped by a signal; requeued", file=sys.stderr)
            return TRY_AGAIN
        print("stopped by a signal; not requeued: the next `stepstone submit FILE` sends it again", file=sys.stderr)
    if any(code not in (0, TRY_AGAIN) for code in codes):
        return FAILED
    return max(codes)
