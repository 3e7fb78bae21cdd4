"""Every command that Slurm is asked with goes through `run`: one place to count calls, and to put a scripted scheduler.

The environment is made the same for all: no abbreviated index lists, plain times, and nothing of the job we may be in.
"""

import errno
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from slurm import usercache
from slurm.environment import without_slurms

TIMEOUT = 60.0  # seconds
_SET = {"SLURM_BITSTR_LEN": "0", "SLURM_TIME_FORMAT": "standard"}
# Of what cannot be started: there is no such program. Anything else may be otherwise the next time.
_NO_PROGRAM = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ENOTDIR, errno.ELOOP)


@dataclass(frozen=True)
class Output:
    """What a command said. `code`: its exit code."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Its last line of complaint, for people."""
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {self.code}"


class Missing(Exception):
    """There is no such command on this machine."""


class Silent(Exception):
    """No answer in time: what was asked for may have been done all the same."""


class NotRun(Silent):
    """No answer, since it could not be started (too many processes, too long a line): nothing was asked for."""


Runner = Callable[[Sequence[str], float, int, Mapping[str, str]], Output]


def run(
    command: Sequence[str], timeout: float = TIMEOUT, umask: int = -1, variables: Mapping[str, str] | None = None
) -> Output:
    """Run one of Slurm's commands, with a umask of its own (-1: ours), in an environment of its own (None: ours, but
    for what would change its answers).

    Missing where it does not exist, Silent where it does not answer in time, NotRun where it cannot be started.
    """
    usercache.count(command[0])
    return runner(command, timeout, umask, environment() if variables is None else variables)


def ask(command: Sequence[str], timeout: float = TIMEOUT) -> str | None:
    """What a command that changes nothing prints; None where it is missing, silent or fails."""
    try:
        answer = run(command, timeout)
    except (Missing, Silent):
        return None
    return answer.out if answer.code == 0 else None


def _run(command: Sequence[str], timeout: float, umask: int, variables: Mapping[str, str]) -> Output:
    try:
        process = subprocess.run(
            list(command), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=timeout, env=variables, umask=umask, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Silent(f"{command[0]} did not answer in {timeout:.0f} s") from None
    except OSError as error:
        if error.errno in _NO_PROGRAM:
            raise Missing(command[0]) from None
        raise NotRun(f"{command[0]} could not be started: {error.strerror}") from None
    return Output(process.returncode, process.stdout, process.stderr)


def environment() -> dict[str, str]:
    """This process's, as Slurm's commands are to see it: sent from inside a job, that job's settings would leak."""
    return without_slurms(os.environ) | _SET


runner: Runner = _run  # tests put a scripted scheduler here
