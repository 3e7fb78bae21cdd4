"""What is in Slurm's queue: one `squeue` for all of the user's jobs, in a fixed format.

No answer is None: unknown is neither success nor failure. A refusal, and an answer that cannot be read for certain, are
an error of their own (`Refusal`): asked again, squeue would say the same.
"""

import os
import pwd
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from slurm import ways
from slurm.commands import Refusal, Silent
from slurm.jobstates import Phase, phase

# Array's id, index, state, partitions, time of submission, reason, account, QOS, name: what may hold a `|` comes last.
FORMAT = "%F|%K|%T|%P|%V|%r|%a|%q|%j"
_BARS = FORMAT.count("|")
_OF_USER = "user "  # begins lines that say whose they are
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

    Each entry counts as one job for limits of submission. Refusal with squeue's words where it will not tell.
    """
    try:
        return ways.ask("squeue", squeue_ways(), read)
    except Silent:
        return None


def squeue_ways() -> list[list[str]]:
    """How squeue may be asked for the user's elements; the last ways are those of sites that show nobody else's."""
    name, of_anybody = user(), f"{_OF_USER}%U|{FORMAT}"
    # --all: else jobs in hidden partitions would look as if they had vanished. Not --array: of elements with a constant
    # step (0-40:2) it leaves out the last (seen on 22.05); it serves where lists of indices are cut off.
    return [
        ["squeue", "--noheader", "--all", "--user", name, "--format", FORMAT],
        ["squeue", "-h", "-a", "-u", name, "-o", FORMAT],
        ["squeue", "--noheader", "--array", "--all", "--user", name, "--format", FORMAT],
        ["squeue", "-h", "-r", "-a", "-u", name, "-o", FORMAT],
        ["squeue", "-h", "-u", name, "-o", FORMAT],
        ["squeue", "-h", "-r", "-u", name, "-o", FORMAT],
        ["squeue", "-h", "--me", "-o", FORMAT],
        ["squeue", "-h", "-o", of_anybody],
        ["squeue", "-o", of_anybody],
    ]


def read(output: str) -> list[QueueEntry]:
    """The entries of this user in what squeue printed. What stands around them, such as a site's greeting, is not ours
    to read. Refusal where a list of indices was cut off."""
    lines = (line.removeprefix(f"{_OF_USER}{os.getuid()}|") for line in output.split("\n"))
    rows = (line.split("|", _BARS) for line in lines if line.count("|") >= _BARS)
    try:
        return [entry for row in rows for entry in _entries(row)]
    except Unreadable as error:
        raise Refusal(f"squeue's answer cannot be read: {error}") from None


def user() -> str:
    """The name of the user that jobs are sent by."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # containers
        return str(os.getuid())


def _entries(row: Sequence[str]) -> Iterator[QueueEntry]:
    """The entries of one row: several where Slurm writes the waiting elements of an array as one."""
    job, index, state, partition, submitted_at, reason, account, qos, name = row
    if not job.strip().isdecimal():  # a heading, of squeue or of a site; another user's
        return
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
    form = "%U|%F|%T"
    long = ["squeue", "--noheader", "--all", "--jobs", job, "--format", form]
    short = ["squeue", "-h", "-a", "-j", job, "-o", form]
    try:
        plain = ["squeue", "-j", job, "-o", form]
        output = ways.ask("squeue --jobs", [long, short, [*plain, "-h"], plain], str)
    except Refusal as refusal:
        return True if "Invalid job id" in str(refusal) else None
    except Silent:
        return None
    # Ids are used again, by others too; and a site's greeting is no state.
    rows = [row for line in output.split("\n") if len(row := line.split("|")) == 3 and row[1].strip().isdecimal()]
    phases = {phase(state) for uid, _, state in rows if uid.strip() == str(os.getuid())}
    return None if phases == {"unknown"} else not phases & {"pending", "running", "unknown"}
