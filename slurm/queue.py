"""What Slurm knows of the user's jobs: one `squeue` for all of them, one `sacct` for those that left it.

Fixed formats, never JSON, which differs between versions. No answer is None: unknown is neither success nor failure.
"""

import os
import pwd
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

_TIMEOUT = 60  # seconds
_PENDING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}


@dataclass(frozen=True)
class QueueEntry:
    """One job or array element that is pending or running. `index` is None outside arrays."""

    job: str  # of the array
    index: int | None
    state: str  # Slurm's long name
    reason: str
    name: str

    @property
    def pending(self) -> bool:
        """Waiting, as opposed to running in some way."""
        return self.state in _PENDING

    @property
    def never(self) -> bool:
        """Slurm says that what it waits for cannot happen any more."""
        return self.reason == "DependencyNeverSatisfied"


def squeue() -> list[QueueEntry] | None:
    """The user's pending and running elements, one entry each; None where Slurm cannot be asked."""
    user = pwd.getpwuid(os.getuid()).pw_name
    output = _ask(["squeue", "--noheader", "--array", "--user", user, "--format", "%F|%K|%T|%r|%j"])
    return None if output is None else [_queue_entry(line) for line in output.splitlines() if line.count("|") >= 4]


def _queue_entry(line: str) -> QueueEntry:
    job, index, state, reason, name = line.split("|", 4)
    return QueueEntry(job, int(index) if index.isdigit() else None, state, reason, name)


def ended_states(jobs: Iterable[str]) -> dict[tuple[str, int], str] | None:
    """How the elements of some arrays stand in accounting, by (job, index), in Slurm's words such as
    "FAILED 1:0" or "TIMEOUT 0:0"; None where there is no accounting."""
    listed = ",".join(sorted(set(jobs)))
    if not listed:
        return {}
    output = _ask(
        ["sacct", "--noheader", "--parsable2", "--allocations", "--jobs", listed, "--format", "JobID,State,ExitCode"]
    )
    if output is None:
        return None
    states = {}
    for line in output.splitlines():
        identifier, _, rest = line.partition("|")
        job, _, index = identifier.partition("_")
        if index.isdigit():
            states[job, int(index)] = rest.replace("|", " ")
    return states


def named_in_accounting(name: str, since: str) -> list[str] | None:
    """Ids of the user's arrays of that name since a time (YYYY-MM-DDTHH:MM:SS); None where there is no accounting."""
    command = ["sacct", "--noheader", "--parsable2", "--allocations", "--name", name, "--starttime", since]
    output = _ask([*command, "--format", "JobID,JobName"])
    if output is None:
        return None
    return sorted(
        {line.partition("|")[0].partition("_")[0] for line in output.splitlines() if line.endswith(f"|{name}")}
    )


def has_ended(job: str) -> bool | None:
    """Whether a job (`123` or `123_4`) is no longer pending or running; None where Slurm cannot be asked."""
    result = _run(["squeue", "--noheader", "--jobs", job, "--format", "%T"])
    if result is None:
        return None
    if result.returncode:
        return True if "Invalid job id" in result.stderr else None
    return not result.stdout.strip()


def _ask(command: list[str]) -> str | None:
    result = _run(command)
    return result.stdout if result is not None and result.returncode == 0 else None


def _run(command: list[str]) -> subprocess.CompletedProcess[str] | None:
    environment = os.environ | {"SLURM_BITSTR_LEN": "0", "SLURM_TIME_FORMAT": "standard"}
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
