"""Every command that Slurm is asked with goes through `run`: one place to count calls, and to put a scripted scheduler.

The environment is made the same for all: no abbreviated index lists, plain times, and nothing of the job we may be in.
"""

import errno
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from slurm import usercache
from slurm.environment import without_slurms

TIMEOUT = 60.0  # seconds
_SAID_LENGTH = 500  # characters of a complaint that are told
_SET = {"SLURM_BITSTR_LEN": "0", "SLURM_TIME_FORMAT": "standard"}
# Of what cannot be started: there is no such program. Anything else may be otherwise the next time.
_NO_PROGRAM = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ENOTDIR, errno.ELOOP)

# Commands' words when a message got lost on its way there or back: what was asked for may be done all the same.
# From slurm_errno.c and strerror(3); 22.05's library holds all but the last six, which are the system's own.
UNCLEAR = (
    "Socket timed out on send/recv operation",
    "Zero Bytes were transmitted or received",
    "Unable to contact slurm controller (send failure)",
    "Unable to contact slurm controller (receive failure)",
    "Unable to contact slurm controller (shutdown failure)",
    "Communication connection failure",
    "Communication shutdown failure",
    "Message send failure",
    "Message receive failure",
    "Failed to send entire message",
    "Unexpected message received",
    "Unexpected missing socket error",
    "Insane message length",
    "Header lengths are longer than data received",
    "Protocol authentication error",  # of the answer, perhaps
    "Connection timed out",
    "Connection reset by peer",
    "Broken pipe",
    "Transport endpoint is not connected",
    "Interrupted system call",
    "Input/output error",
)
# The words of whoever cannot answer now and may later, beside those. Anything else that a command fails with is a
# refusal: asked in the same way again, it says the same again.
_SILENCE = (
    *UNCLEAR,
    "Unable to contact slurm controller",
    "Unable to establish controller machine",
    "standby mode",
    "Problem talking to the database",
    "failed to open persistent connection",
    "PersistInit",
    "Connection refused",
    "No route to host",
    "Network is unreachable",
    "Host is down",
    "Name or service not known",
    "Temporary failure in name resolution",
    "Munge encode failed",
    "Munge decode failed",
    "Resource temporarily unavailable",
    "Too many open files",
    "Cannot allocate memory",
    "too many requests",
    "rate limit",
    "try again",
)
# What stands beside a complaint and says nothing of it.
_HINT = re.compile(r"^(Try|See) .*(help|man)|^Usage:|^For more information", re.IGNORECASE)
_COMPLAINS = re.compile(r"\b(error|fatal|failure):|(unrecognized|unknown|invalid|illegal) option", re.IGNORECASE)


@dataclass(frozen=True)
class Output:
    """What a command said. `code`: its exit code."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Its complaint, for people: the lines that call themselves one, else the last one; sites print more."""
        text = self.err if self.err.strip() else self.out
        lines = [" ".join(line.split()) for line in text.splitlines() if line.strip() and not _HINT.match(line.strip())]
        complaints = [line for line in lines if _COMPLAINS.search(line)] or lines[-1:]
        return "; ".join(dict.fromkeys(complaints))[:_SAID_LENGTH] or f"exit code {self.code}, without a word"

    @property
    def is_silence(self) -> bool:
        """Whether it failed for want of somebody to ask: later it may not."""
        text = (self.err + self.out).lower()
        return self.code < 0 or (self.code > 0 and any(words.lower() in text for words in _SILENCE))


class Refusal(Exception):
    """It answered, and will not do what it is asked in that way; its own words."""


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
    answer = runner(command, timeout, umask, environment() if variables is None else variables)
    if answer.err.strip():
        usercache.keep_words(command[0], answer.code, answer.err)
    return answer


def answer_of(command: Sequence[str], timeout: float = TIMEOUT) -> str:
    """What a command that changes nothing prints.

    Refusal with its words where it will not; Silent where nobody answers it. One that is not there refuses, too.
    """
    try:
        answer = run(command, timeout)
    except Missing:
        raise Refusal(f"there is no {command[0]} on this machine") from None
    if answer.is_silence:
        raise Silent(answer.said)
    if answer.code:
        raise Refusal(answer.said)
    return answer.out


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
    except subprocess.TimeoutExpired as expired:
        words = Output(0, "", (expired.stderr or b"").decode(errors="replace"))
        last_words = f": {words.said}" if words.err.strip() else ""
        raise Silent(f"{command[0]} did not answer in {timeout:.0f} s{last_words}") from None
    except OSError as error:
        if error.errno in _NO_PROGRAM:
            raise Missing(command[0]) from None
        raise NotRun(f"{command[0]} could not be started: {error.strerror}") from None
    return Output(process.returncode, process.stdout, process.stderr)


def environment() -> dict[str, str]:
    """This process's, as Slurm's commands are to see it: sent from inside a job, that job's settings would leak."""
    return without_slurms(os.environ) | _SET


runner: Runner = _run  # tests put a scripted scheduler here
