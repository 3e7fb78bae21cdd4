"""Limits of a process (`ulimit`): which it met, and which failures are theirs, where more memory would not help.

They come from the node, from the shell of local workers, or from the login shell where the file sends them
(`sbatch: {propagate: …}`). What a limit refuses looks as if a machine were short of it.
"""

import re
import resource
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from slurm.causes import Verdict, one_line

# What is unlimited on ordinary nodes; and what is not, below so much.
_UNLIMITED = (
    ("virtual memory", "v", resource.RLIMIT_AS, 2**30, " GiB"),
    ("data", "d", resource.RLIMIT_DATA, 2**30, " GiB"),
    ("file size", "f", resource.RLIMIT_FSIZE, 2**30, " GiB"),
    ("CPU time", "t", resource.RLIMIT_CPU, 1, " s"),
)
_LIMITED = (("open files", "n", resource.RLIMIT_NOFILE, 1024), ("processes", "u", resource.RLIMIT_NPROC, 1024))
_HEADING = "limits of this process: "
_LIMIT = re.compile(r"([a-zA-Z][a-zA-Z ]*?) ([\d.]+(?: GiB| s)?) \(ulimit -(\w)\)")
# An allocation that was refused. A process over its cgroup's memory is not refused: it is killed.
_REFUSED = re.compile(
    r"MemoryError|DefaultCPUAllocator|[Cc]annot allocate memory|std::bad_alloc|failed to map segment|"
    r"Unable to allocate|memory allocation of \d+ bytes failed"
)
_EARLY = 0.1  # of a hard limit of CPU time: left for saving, as at the end of it the kernel kills
_MOST_EARLY = 300  # seconds of CPU time


@cache
def met() -> tuple[str, ...]:
    """The soft limits of this process that are lower than on ordinary nodes: `virtual memory 7.6 GiB (ulimit -v)`.

    As they were when it was first asked: the kernel raises that of CPU time with every warning.
    """
    limits = []
    for name, letter, kind, unit, unit_name in _UNLIMITED:
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            limits.append(f"{name} {soft / unit:.4g}{unit_name} (ulimit -{letter})")
    for name, letter, kind, least in _LIMITED:
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY and soft < least:
            limits.append(f"{name} {soft} (ulimit -{letter})")
    return tuple(limits)


def log_line(limits: Sequence[str]) -> str:
    """What a job prints of them at its start, and `in_log` reads."""
    return _HEADING + ", ".join(limits)


def in_log(log_tail: str) -> tuple[str, ...]:
    """The limits that a process said it met."""
    lines = (line.removeprefix(_HEADING) for line in log_tail.splitlines() if line.startswith(_HEADING))
    return tuple(dict.fromkeys(match[0] for line in lines for match in _LIMIT.finditer(line)))


def ask_to_be_warned() -> None:
    """Have SIGXCPU come some time before the hard limit of CPU time, at which the kernel kills without a word."""
    met()
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    warning = _warning(hard)
    if warning is not None and not 0 <= soft < warning:  # RLIM_INFINITY is -1
        resource.setrlimit(resource.RLIMIT_CPU, (warning, hard))


def _warning(hard: int) -> int | None:
    """Seconds of CPU time at which to warn of a hard limit; None: there is none."""
    return None if hard == resource.RLIM_INFINITY else max(1, int(hard - min(_MOST_EARLY, hard * _EARLY)))


def blamed(verdict: Verdict, limits: Sequence[str]) -> Verdict:
    """A verdict, where what it says is the doing of one of these limits: then with that cause, and the mend."""
    by_letter = {match[3]: limit for limit in limits if (match := _LIMIT.search(limit))}
    memory = by_letter.get("v") or by_letter.get("d")
    if memory and verdict.cause in ("host-oom", "code", "unknown") and _REFUSED.search(verdict.evidence):
        return Verdict("ulimit", one_line(f"{_words(memory)}: {verdict.evidence}"))
    if "t" in by_letter and verdict.cause == "unknown":
        return Verdict("ulimit", one_line(f"{_words(by_letter['t'])}, most likely: {verdict.evidence}"))
    if verdict.cause == "ulimit" and not _LIMIT.search(verdict.evidence) and limits:
        return replace(verdict, evidence=one_line(f"{verdict.evidence}; it had {', '.join(limits)}"))
    return verdict


def cpu_time_came() -> Verdict:
    """Of a process that SIGXCPU asked to stop."""
    limit = next((limit for limit in met() if limit.startswith("CPU time")), "CPU time (ulimit -t)")
    return Verdict("ulimit", f"{_words(limit)}; it resumes from its checkpoint")


def _words(limit: str) -> str:
    match = _LIMIT.search(limit)
    letter = match[3] if match else "t"
    return f"its limit of {limit} was met (lift it: `ulimit -{letter} unlimited` in `setup:`, or before `submit`)"
