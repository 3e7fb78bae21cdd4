"""One job array: its sbatch script, made by submitit, and its sending, which ends in an id, a refusal or a doubt.

`_make_submission_file_text` is private to submitit: the version is pinned and a contract test
(tests/slurm/test_arrays.py) holds it to what is used here.
"""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from submitit.slurm.slurm import SlurmExecutor

from slurm import commands, snapshot
from slurm.base import UserError, paths
from slurm.base.files import make_folder, write_atomic
from slurm.commands import UNCLEAR, Missing, NotRun, Output, Silent

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# While slurmctld has no room (MaxJobCount), sbatch tries for two minutes, sleeping 1, 2, … 15 s (22.05); killed in
# between, it would leave us in doubt.
SBATCH_TIMEOUT = 180.0  # seconds
# sbatch's words for "too many jobs": reasons that slurmctld gives with a refusal, and errno's EAGAIN for MaxJobCount.
LIMITS = (
    "AssocMaxSubmitJobLimit",
    "AssocGrpSubmitJobsLimit",
    "QOSMaxSubmitJobPerUserLimit",
    "QOSMaxSubmitJobPerAccountLimit",
    "QOSGrpSubmitJobsLimit",
    "MaxSubmitJobsPerAccount",
    "MaxSubmitJobsPerUser",
    "Slurm job queue full",
    "Slurm temporarily unable to accept job",
    "Resource temporarily unavailable",
    "Unable to create job record, try again",
)


@dataclass(frozen=True)
class ArrayRequest:
    """One array to send. `command` runs in every element; which one it is, it learns from SLURM_ARRAY_TASK_ID."""

    name: str
    command: tuple[str, ...]
    indices: tuple[int, ...]
    logs: Path
    flags: dict[str, Any] = field(default_factory=dict)  # sbatch's long flags
    throttle: int | None = None  # elements that run at the same time
    dependency: str | None = None
    setup: tuple[str, ...] = ()  # shell lines, as they are
    environment: dict[str, str] = field(default_factory=dict)  # set in every element
    # What else every element gets: sbatch's own environment, so that no value of it stands in the script. None: ours.
    passed: Mapping[str, str] | None = field(default=None, repr=False)
    remarks: tuple[str, ...] = ()  # for who reads the script
    signal_seconds: int = 120  # USR2 so long before the time limit
    umask: int = 0o077  # of sbatch, which Slurm hands on: it opens the logs before the script's first line


def index_list(indices: Iterable[int]) -> str:
    """Slurm's notation of a set of indices: `0-3,7`."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


class ArrayExecutor(SlurmExecutor):  # type: ignore[misc]  # submitit has no type information for us
    """submitit's executor, given one command for all elements instead of one pickle each."""

    def __init__(self, request: ArrayRequest) -> None:
        super().__init__(folder=request.logs)
        self.parameters = {
            "job_name": request.name,
            "time": None,  # else submitit asks for five minutes; the partition's own default is better
            "wckey": None,  # submitit's own default is a name that accounting may refuse
            "map_count": len(request.indices),  # makes submitit name the logs by array id and index
            "signal_delay_s": request.signal_seconds,
            "setup": [
                *(f"# {line}" for line in request.remarks),
                *(f"export {name}={shlex.quote(value)}" for name, value in sorted(request.environment.items())),
                *request.setup,
            ],
            "srun_args": _srun_flags(request),
            "additional_parameters": _flags(request),
        }

    @classmethod
    def affinity(cls) -> int:
        """Scripts can be shown where there is no Slurm."""
        return 1


def script(request: ArrayRequest) -> str:
    """The text that `sbatch` is given."""
    text: str = ArrayExecutor(request)._make_submission_file_text(shlex.join(request.command), "")
    return text


# With --parsable, and without it.
_ID = re.compile(r"^\s*(?:Submitted batch job )?(\d+)(?:;\S*| on cluster \S+)?\s*$", re.MULTILINE)
_NO_PARSABLE = re.compile(r"(unrecognized|unknown|invalid|illegal|unsupported) option.*parsable", re.IGNORECASE)


class Refused(UserError):
    """sbatch says no, for certain, because of what was asked for."""


class SendUnclear(UserError):
    """sbatch failed in a way that leaves open whether Slurm has taken the array: look for its name before a retry."""


class LimitReached(UserError):
    """Slurm took nothing because of how many jobs there are already: send it when there is room."""


def send(request: ArrayRequest, notice: Callable[[str], None] = lambda words: None) -> str:
    """Send the array and return its job id. The script stays beside the logs. `notice` gets what sbatch has to say
    though it took the array, a line each.

    Refused with sbatch's own words, LimitReached, SendUnclear (see there). UserError: nothing can be sent now.
    """
    make_folder(request.logs)
    path = request.logs / "script.sh"
    write_atomic(path, script(request))
    try:
        answer = commands.run(["sbatch", "--parsable", str(path)], SBATCH_TIMEOUT, request.umask, request.passed)
        if answer.code and _NO_PARSABLE.search(answer.err + answer.out):  # refused for certain: a site's own sbatch
            answer = commands.run(["sbatch", str(path)], SBATCH_TIMEOUT, request.umask, request.passed)
    except Missing:
        raise UserError("there is no sbatch here; run on a login node, or set `cluster: {executor: local}`") from None
    except NotRun as error:
        raise UserError(f"{error}; it was not sent: type the command again") from None
    except Silent as error:
        raise SendUnclear(f"{error}: it may have sent {request.name}") from None
    finally:
        snapshot.changed()
    job = _outcome(answer, request.name)
    for line in answer.err.splitlines():
        if line.strip():
            notice(" ".join(line.split()).removeprefix("sbatch: "))
    return job


def try_sending(request: ArrayRequest, folder: Path) -> None:
    """Ask sbatch whether it would take the array now; nothing is sent. The script is left in a folder.

    Refused with its words; UserError where nobody answers.
    """
    path = folder / "script.sh"
    write_atomic(path, script(request))
    try:
        answer = commands.run(["sbatch", "--test-only", str(path)], SBATCH_TIMEOUT, request.umask, request.passed)
    except Missing:
        raise Refused("there is no sbatch on this machine") from None
    except Silent as error:
        raise UserError(f"Slurm does not answer ({error})") from None
    if answer.is_silence:
        raise UserError(f"Slurm does not answer ({answer.said})")
    if answer.code:
        raise Refused(answer.said)


def _outcome(answer: Output, name: str) -> str:
    """The id in sbatch's answer, else what its failure means."""
    ids = _ID.findall(answer.out)  # sites' own lines may stand around it
    if answer.code == 0 and ids:
        return str(ids[-1])
    refusal = _refusal(answer.err.strip() or answer.out.strip() or f"exit code {answer.code}, without a word")
    if answer.code == 0 or answer.code < 0 or ids or _matches(UNCLEAR, _reason(answer.err)):
        raise SendUnclear(f"sbatch failed ({refusal}): it may have sent {name}")
    if "Unable to contact slurm controller (connect failure)" in refusal:
        raise UserError(f"Slurm does not answer ({refusal}); nothing was sent, try again later")
    if _matches(LIMITS, refusal):
        raise LimitReached(f"sbatch refused: {refusal}")
    raise Refused(f"sbatch refused: {refusal}")


def _flags(request: ArrayRequest) -> dict[str, Any]:
    flags = {name.replace("_", "-"): value for name, value in request.flags.items()}
    flags["array"] = index_list(request.indices) + (f"%{request.throttle}" if request.throttle else "")
    # All of sbatch's environment, which is made of what may go. A list of names would have Slurm log the user in on the
    # node for the rest, which fails now and then, and brings all that the list was to keep out.
    flags["export"] = "ALL"
    # Soft limits of the login shell (ulimit) are meant for login nodes.
    flags = {"propagate": "NONE"} | flags
    flags["kill-on-invalid-dep"] = "yes"
    flags["requeue"] = True
    if request.dependency:
        flags["dependency"] = request.dependency
    folder = paths.current_folder()
    if folder != Path.cwd() and not _CONTROL.search(str(folder)):
        flags["chdir"] = folder  # else sbatch asks the system, which has resolved it
    # A newline would end the comment line of the script and run what follows it.
    for name, value in flags.items():
        assert not _CONTROL.search(f"{name}{value}"), f"control character in sbatch flag {name}={value!r}"
    for line in request.remarks:
        assert not _CONTROL.search(line), f"control character in {line!r}"
    return flags


def _srun_flags(request: ArrayRequest) -> list[str]:
    # One rank that dies would leave the others waiting until the time limit.
    flags = ["--export=ALL", "--kill-on-bad-exit=1"]
    # Since 22.05 srun does not take sbatch's: where tasks are bound, each would get one core.
    cores = {name.replace("_", "-"): value for name, value in request.flags.items()}.get("cpus-per-task")
    return [*flags, f"--cpus-per-task={cores}"] if cores else flags


def _matches(words: Iterable[str], text: str) -> bool:
    return any(word.lower() in text.lower() for word in words)


def _reason(output: str) -> str:
    """Why the request itself failed: sites' own messages beside it may say anything."""
    reasons = re.findall(r"Batch job submission failed: (.*)", output)
    return str(reasons[-1]) if reasons else output


def _refusal(output: str) -> str:
    """sbatch's words: the lines that it marks as errors, else its own, else the last one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line] or [line for line in lines if line.startswith("sbatch: ")]
    messages = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in errors]
    return "; ".join(dict.fromkeys(messages)) if messages else lines[-1]
