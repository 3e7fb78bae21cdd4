"""Arrays without a receipt: their submitter died, or sbatch left open whether Slurm has them. They are found by name.

Looked for in the queue, in accounting, and in what the jobs themselves wrote. That an array was never sent is concluded
only while Slurm answers, twice, and some time after sbatch was last at work: it outlives a submitter that was killed,
and tries for minutes.
"""

import os
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from launch import executors
from launch.store import Submission, attempts
from launch.store.submissions import Receipt
from slurm import accounting, control, snapshot
from slurm.arrays import SBATCH_TIMEOUT
from slurm.base import UserError
from slurm.queue import QueueEntry

SETTLE_SECONDS = 60.0  # after sbatch was left: a message that was under way has arrived
_POLL_SECONDS = 5.0
Look = Callable[[], list[QueueEntry] | None]


@dataclass
class _Unsettled:
    submission: Submission
    array: int
    looked: int = 0  # times
    left: float | None = None  # when sbatch was first seen to run no more (Unix time)

    @property
    def name(self) -> str:
        return self.submission.arrays[self.array].name


def adopt(
    submissions: list[Submission],
    entries: list[QueueEntry] | None,
    look: Look | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> list[str]:
    """Give every array its receipt: find it by name, or note that it never left. Returns a line for each.

    Call it under `lock`, so that no submitter is at work. `look` asks for the queue again where it must be waited for.
    UserError where Slurm does not answer.
    """
    open_ = [
        _Unsettled(s, n)
        for s in submissions
        for n in range(len(s.arrays))
        if s.receipt(n) is None and not _settled_by_disk(s, n)
    ]
    lines = cancel_late(submissions, entries)
    reported = False
    while open_:
        if entries is None:
            raise snapshot.unanswered("an earlier submission is unsettled, and nothing was sent")
        seconds_left = {orphan.name: _settle(orphan, entries, lines, wait=look is not None) for orphan in open_}
        open_ = [orphan for orphan in open_ if seconds_left[orphan.name]]
        if open_ and look is not None:
            longest = max(seconds_left.values())
            if not reported:
                report(f"looking for {open_[0].name}, which sbatch may have sent: up to {longest:.0f} s")
                reported = True
            time.sleep(min(_POLL_SECONDS, longest))
            entries = look()
    return lines


def _settled_by_disk(submission: Submission, array: int) -> bool:
    """Give an array its receipt where no queue has to be asked: only local workers are known from the disk."""
    was_started = executors.of_submission(submission).was_handed_over(submission)
    if was_started is not None:
        submission.write_receipt(array, Receipt(local=True) if was_started else Receipt(lost=True))
    return was_started is not None


def _settle(orphan: _Unsettled, entries: list[QueueEntry], lines: list[str], *, wait: bool) -> float:
    """Give an array its receipt, adding a line. Else for how many seconds more it may be under way."""
    orphan.looked += 1
    if _found(orphan, entries, lines, ask_accounting=orphan.looked == 1):
        return 0.0
    seconds = _seconds_left(orphan) if wait else 0.0
    if not seconds and not (orphan.looked > 1 and _found(orphan, entries, lines, ask_accounting=True)):
        orphan.submission.write_receipt(orphan.array, Receipt(lost=True))
        lines.append(f"array {orphan.name} was never sent")
    return seconds


def _found(orphan: _Unsettled, entries: Iterable[QueueEntry], lines: list[str], *, ask_accounting: bool) -> bool:
    """Whether Slurm has, or had, an array of that name; then it gets its receipt. Of two with one name, the later
    ones are cancelled: sbatch was tried again though the first try had arrived."""
    jobs_in_queue = {entry.job for entry in entries if entry.name == orphan.name}
    all_jobs = set(jobs_in_queue)
    if (
        orphan.submission.sending(orphan.array) is not None
    ):  # else sbatch was never called, and nobody else need be asked
        all_jobs |= _started(orphan)
        if ask_accounting:
            all_jobs |= set(accounting.named(orphan.name, orphan.submission.intent.since) or [])
    jobs = sorted(all_jobs, key=int)
    if not jobs:
        return False
    twice = [job for job in jobs[1:] if job in jobs_in_queue]
    if twice:
        control.cancel(twice)
        lines.append(f"array {orphan.name} was sent {len(jobs)} times: job {', '.join(twice)} cancelled")
    throttle = orphan.submission.arrays[orphan.array].throttle
    orphan.submission.write_receipt(orphan.array, Receipt(job=jobs[0], adopted=True, throttle=throttle))
    lines.append(f"array {orphan.name} was sent as job {jobs[0]}: adopted")
    return True


def _started(orphan: _Unsettled) -> set[str]:
    """Job ids of attempts that elements of the array have begun: what they wrote lasts longer than Slurm's memory."""
    stages = orphan.submission.folder.parents[1] / "stages"
    keys = orphan.submission.arrays[orphan.array].keys
    try:
        folders = [stages / name for name in os.listdir(stages) if name.rpartition("-")[2] in keys]
    except FileNotFoundError:
        return set()
    starters = [attempts.starter_of(attempt) for folder in folders for attempt in attempts.attempts_of(folder)]
    jobs = {starter.job for starter in starters if starter.name == orphan.name and starter.job}
    return {job.partition("_")[0] for job in jobs}


def _seconds_left(orphan: _Unsettled) -> float:
    """How long an array that nobody knows may still be under way; 0: it is lost. UserError while sbatch runs and runs.

    One look may be answered while it is being taken in, so there are two.
    """
    note = orphan.submission.sending(orphan.array)
    if note is None:
        return 0.0  # sbatch was never called
    longest = SETTLE_SECONDS if note.left else SBATCH_TIMEOUT + SETTLE_SECONDS
    now, due = time.time(), note.time + longest
    if not note.left and note.host in (None, socket.gethostname()):
        process = _sbatch(orphan.submission.logs(orphan.array) / "script.sh")
        if process is None:
            orphan.left = orphan.left or now
            due = min(due, orphan.left + SETTLE_SECONDS)
        elif now >= due:
            raise UserError(
                f"sbatch may still send {orphan.name}; end it (kill {process}), then type the command again"
            )
    # Another host's clock may be ahead: no more than the whole time is waited for.
    return max(min(longest, due - now), 1.0 if orphan.looked < 2 else 0.0)


def _sbatch(script: Path) -> int | None:
    """The process on this host that hands a script to sbatch: it outlives a submitter that was killed."""
    script_path = os.fsencode(script.relative_to(script.parents[3]))  # the store may be known by another path too
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if any(word.endswith(script_path) for word in words) and any(
                os.path.basename(w) == b"sbatch" for w in words
            ):
                return int(process.name)
    return None


def cancel_late(submissions: list[Submission], entries: Iterable[QueueEntry] | None) -> list[str]:
    """Cancel arrays that came to the queue after all, when they had been given up and may have been sent again."""
    given_up = {
        array.name
        for submission in submissions
        for number, array in enumerate(submission.arrays)
        if (receipt := submission.receipt(number)) is not None and not receipt.was_sent
    }
    late = {entry.job: entry.name for entry in entries or [] if entry.name in given_up}
    if late:
        control.cancel(sorted(late, key=int))
    return [f"array {name} came late, as job {job}, when it had been given up: cancelled" for job, name in late.items()]
