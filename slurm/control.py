"""What changes jobs that are in the queue: cancel, throttle, hold, release, requeue."""

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from slurm import commands, snapshot
from slurm.base import UserError
from slurm.commands import Missing, Output, Silent

_LINE_CHARACTERS = 30_000  # of ids on one command line
# How lines end that speak of elements which are over, or well (22.05): there is nothing left to change.
_OVER = (
    "Job/step already completing or completed",
    "Job is no longer pending execution",
    "Job is pending execution",
    "Invalid job id specified",
    "Job has already finished",
    "No error",
)
_FOR_JOB = re.compile(r" for job \S+$")  # scontrol's hold, release and requeue end so
# How Slurm's own lines look: a command's or a library's name, or what was asked for, before what is said of it.
_OF_SLURM = re.compile(r"^(scancel|scontrol|slurm\w*)\b|error:|^\d+\S*: |Invalid job id| for job \S+$")


def cancel(ids: Sequence[str]) -> None:
    """Cancel jobs and elements: `12`, `12_3`, `12_[3-7]` (see arrays.index_list). What is over already is no error.

    UserError with scancel's words where some may still run; the rest was cancelled all the same. An id that Slurm does
    not know is no error either (22.05 says nothing of it).
    """
    try:
        complaints = [line for batch in _batches(ids) for line in _complaints(_asked(cancel_command(batch)))]
    finally:
        snapshot.changed()
    if complaints:
        more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
        raise UserError(f"scancel: {complaints[0]}{more}; some jobs may go on: see `squeue --me`, then cancel again")


def cancel_command(ids: Sequence[str]) -> list[str]:
    """How scancel is asked."""
    return ["scancel", *ids]


def throttle_command(job: str, count: int) -> list[str]:
    """How scontrol is asked for another throttle."""
    return ["scontrol", "update", f"JobId={job}", f"ArrayTaskThrottle={count}"]


def refusal(command: list[str]) -> str | None:
    """In which words such a command is refused; None: it is not, if only for want of such a job. UserError where
    nobody answers."""
    return next(iter(_complaints(_asked(command))), None)


def set_throttle(job: str, count: int) -> None:
    """Let so many elements of an array run at the same time; 0: any number. UserError with scontrol's words.

    Elements that are over already are no error, nor are arrays of nothing else.
    """
    assert count >= 0, count
    complaints = _complaints(_asked(throttle_command(job, count)))
    if complaints:
        raise UserError(f"scontrol: job {job}: {complaints[0]}")


def silence_mail(job: str) -> bool:
    """Have Slurm write no mail of a job, which it would of one that is cancelled, too; whether it was told so."""
    try:
        return commands.run(["scontrol", "update", f"JobId={job}", "MailType=NONE"]).code == 0
    except (Missing, Silent):
        return False


def change(verb: Literal["hold", "release", "requeue"], ids: Sequence[str]) -> None:
    """Keep jobs and elements (`12_3`, `12_[3-7]`) that wait from starting, let them go again, or stop those that run
    and queue them again. What is over, or has started meanwhile, is no error.

    UserError with scontrol's words where one could not be changed; the others were all the same.
    """
    try:
        answers = [_asked(["scontrol", verb, ",".join(batch)]) for batch in _batches(ids)]
    finally:
        snapshot.changed()
    complaints = [line for answer in answers for line in _complaints(answer)]
    if complaints:
        more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
        raise UserError(f"scontrol {verb}: {complaints[0]}{more}; the others were changed")


def requeue(job: str) -> bool:
    """Ask Slurm to queue a job or element (`12_3`) again. Whether it will: not where the site forbids it, or where
    scontrol is missing or does not answer. Slurm starts one that has ended again, too (22.05)."""
    try:
        return commands.run(["scontrol", "requeue", job]).code == 0
    except (Missing, Silent):
        return False


def _batches(ids: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for identifier in ids:
        if batch and sum(map(len, batch)) + len(batch) + len(identifier) > _LINE_CHARACTERS:
            yield batch
            batch = []
        batch.append(identifier)
    if batch:
        yield batch


def _asked(command: list[str]) -> Output:
    try:
        return commands.run(command)
    except Missing:
        raise UserError(f"there is no {command[0]} here; run on a login node") from None
    except Silent as error:
        raise UserError(f"Slurm does not answer ({error}); it may have been done: type the command again") from None


def _complaints(answer: Output) -> list[str]:
    """What was said beyond: it is over. Where Slurm has said something, a site's own lines beside it are none."""
    if answer.code == 0:
        return []
    lines = [line.strip() for line in (answer.err + "\n" + answer.out).splitlines() if line.strip()]
    lines = [line for line in lines if _OF_SLURM.search(line)] or lines
    lines = [line.removeprefix("scancel: ").removeprefix("error: ") for line in lines]
    serious = [line for line in lines if not _FOR_JOB.sub("", line).endswith(_OVER)]
    return serious if lines else [f"exit code {answer.code}"]
