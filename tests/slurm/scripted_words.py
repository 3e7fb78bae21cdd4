"""What the scripted scheduler's commands share: how command lines and scripts are read, and refusals."""

import re
import shlex
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from slurm.commands import Silent

if TYPE_CHECKING:
    from tests.slurm.scripted import Scheduler

UNREACHABLE = "Unable to contact slurm controller (connect failure)"
_SBATCH = {
    "account", "array", "begin", "chdir", "comment", "constraint", "cpus-per-task", "dependency", "error", "exclude",
    "export", "gpus", "gpus-per-node", "gpus-per-task", "gres", "hold", "job-name", "kill-on-invalid-dep", "licenses",
    "mail-type", "mail-user", "mem", "mem-per-cpu", "mem-per-gpu", "nodelist", "nodes", "ntasks", "ntasks-per-node",
    "open-mode", "output", "partition", "propagate", "qos", "requeue", "reservation", "signal", "time", "umask",
    "wckey",
}  # fmt: skip


class Refused(Exception):
    """The words on stderr; the exit code is 1."""


def options_of(words: Sequence[str], known: dict[str, bool]) -> tuple[dict[str, str], list[str]]:
    """Options by their names in `known` (True: takes a value), and the other words."""
    found: dict[str, str] = {}
    others: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            others.append(word)
            continue
        name, given, value = word.partition("=")
        assert name in known, f"the scripted scheduler does not know {word} in {shlex.join(words)}"
        assert known[name] or not given, f"{name} takes no value: {shlex.join(words)}"
        found[name] = (value if given else rest.pop(0)) if known[name] else ""
    return found, others


def first(found: dict[str, str], *names: str) -> str | None:
    return next((found[name] for name in names if name in found), None)


def flags_of(script: str) -> dict[str, str]:
    """The #SBATCH lines by long flag."""
    lines = [line.removeprefix("#SBATCH ").strip() for line in script.splitlines() if line.startswith("#SBATCH ")]
    flags = {}
    for line in lines:
        name, _, value = line.removeprefix("--").partition("=")
        assert line.startswith("--") and name in _SBATCH, f"the scripted scheduler does not know sbatch's {line}"
        flags[name] = value.strip("\"'")
    return flags


def indices_of(text: str) -> tuple[list[int | None], int | None]:
    """`0-3,7%2` as indices and throttle."""
    listed, _, throttle = text.partition("%")
    indices: list[int | None] = []
    for part in listed.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        assert match, f"not a set of array indices: {text}"
        indices += range(int(match[1]), int(match[2] or match[1]) + 1, int(match[3] or 1))
    return indices, int(throttle) if throttle else None


def seconds_of(text: str) -> float:
    """Slurm's notations of a time limit: minutes, MM:SS, HH:MM:SS, D-HH[:MM[:SS]]."""
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        return float(((int(days) * 24 + hours) * 60 + minutes) * 60 + seconds)
    if len(parts) == 3:
        return float(parts[0] * 3600 + parts[1] * 60 + parts[2])
    return float(parts[0] * 60 + (parts[1] if len(parts) == 2 else 0))


def moment(seconds: float | None) -> str:
    return "N/A" if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))


def need_control(scheduler: "Scheduler", name: str, timeout: float, words: str) -> None:
    if scheduler.ctld == "stopped":
        time_out(scheduler, name, timeout)
    if scheduler.ctld == "down":
        raise Refused(words)


def time_out(scheduler: "Scheduler", name: str, timeout: float) -> None:
    scheduler.now += timeout
    raise Silent(f"{name} did not answer in {timeout:.0f} s")
