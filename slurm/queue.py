"""What is in Slurm's queue: one `squeue` for all of the user's jobs, in a fixed format.

No answer, and one that cannot be read for certain, is None: unknown is neither success nor failure.
"""

import os
import pwd
import re
from collections.abc import Iterator
from dataclasses import dataclass

from slurm import commands
from slurm.commands import Missing, Silent
from slurm.jobstates import Phase, phase

# Array's id, index, state, partitions, time of submission, reason, account, QOS, name: what may hold a `|` comes last.
FORMAT = "%F|%K|%T|%P|%V|%r|%a|%q|%j"
_BARS = FORMAT.count("|")
_NO_INDEX = ("", "N/A")


@dataclass(frozen=True)
class QueueEntry:
    """One job or array element that is pending or running. `index` is None outside arrays."""

    job: str  # of the array
    index: int | None
    state: str  # Slurm's long name
    reason: str
    name: str
    submitted: str = ""  # YYYY-MM-DDTHH:MM:SS of the cluster; of the last requeue where there was one
    partition: str = ""  # of one that waits: all that it may run in, with commas
    account: str = ""
    qos: str = ""

    @property
    def phase(self) -> Phase:
        """Whether it waits or runs."""
        return phase(self.state)

    @property
    def pending(self) -> bool:
        """Waiting, as opposed to running in some way."""
        return self.phase == "pending"

    @property
    def never(self) -> bool:
        """Slurm says that what it waits for cannot happen any more."""
        return self.reason == "DependencyNeverSatisfied"


class Unreadable(Exception):
    """An answer of Slurm's that leaves open what it means, such as a list of indices that was cut off."""


def squeue() -> list[QueueEntry] | None:
    """The user's pending and running elements, one entry each; None where Slurm cannot be asked.

    Each entry counts as one job for limits of submission.
    """
    # --all: else jobs in hidden partitions would look as if they had vanished.
    output = commands.ask(["squeue", "--noheader", "--array", "--all", "--user", user(), "--format", FORMAT])
    if output is None:
        return None
    try:
        return [entry for line in output.splitlines() if line.count("|") >= _BARS for entry in _entries(line)]
    except Unreadable:
        return None


def user() -> str:
    """The name of the user that jobs are sent by."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # containers
        return str(os.getuid())


def _entries(line: str) -> Iterator[QueueEntry]:
    """The entries of one line: several where Slurm writes the waiting elements of an array as one."""
    job, index, state, partition, submitted_at, reason, account, qos, name = line.split("|", _BARS)
    indices = [None] if index in _NO_INDEX else expand(index)
    for number in indices:
        yield QueueEntry(job.strip(), number, state, reason, name, submitted_at, partition, account, qos)


def expand(indices: str) -> list[int]:
    """The indices in Slurm's notation: `7`, `[1-5%1]`, `0-8:2,12`. Unreadable where it was cut off (`1,2,...`)."""
    numbers: list[int] = []
    for part in indices.strip("[]").partition("%")[0].split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part.strip())
        if match is None:
            raise Unreadable(f"array indices {indices!r}")
        first, last, step = match.groups()
        numbers += range(int(first), int(last or first) + 1, int(step or 1))
    return numbers


def has_ended(job: str) -> bool | None:
    """Whether a job (`123` or `123_4`) is no longer pending or running; None where Slurm cannot be asked."""
    try:
        answer = commands.run(["squeue", "--noheader", "--array", "--all", "--jobs", job, "--format", "%T"])
    except (Missing, Silent):
        return None
    if answer.code:
        return True if "Invalid job id" in answer.err else None
    phases = {phase(line) for line in answer.out.splitlines() if line.strip() and not line.startswith("CLUSTER:")}
    return None if phases == {"unknown"} else not phases & {"pending", "running", "unknown"}
