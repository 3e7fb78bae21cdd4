"""CPU time, memory and input/output of some processes and all that they started, from /proc.

Of what a process started and waited for, the kernel counts CPU time and bytes as the process's own. Memory is counted
once for each process that has it, shared pages too, as Slurm's accounting does.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slurm import granted

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")  # a second
_PAGE = os.sysconf("SC_PAGE_SIZE")  # bytes
# Of /proc/<pid>/stat, behind the name, from 0: user and system time, its own and of what it waited for; resident pages;
# ticks that its main thread waited for disks.
_CPU, _RESIDENT, _DELAY = slice(11, 15), 21, 39
_NAMED_ANEW = 8  # looks after which it is asked anew which processes there are


@dataclass(frozen=True)
class ProcessUse:
    """Of several processes together, since each one's start."""

    cpu: float = 0.0  # seconds
    memory: int = 0  # bytes resident now
    read: int = 0  # bytes, from disks and file servers
    written: int = 0  # bytes
    io_wait: float | None = None  # seconds that main threads waited for disks; None: the kernel does not count them


class Tree:
    """Some processes of this host, and what they started."""

    def __init__(self, roots: Sequence[int], proc: Path = PROC) -> None:
        self._proc, self._roots = proc, [pid for pid in roots if _is_ours(proc, pid)]
        self._pids: list[int] = []
        self._looks = 0
        self._counts_delays = _text(proc / "sys/kernel/task_delayacct").strip() != "0"

    def look(self) -> ProcessUse:
        """Now. What has ended is left out; whoever waited for it has what it used."""
        if self._looks % _NAMED_ANEW == 0:
            self._pids = [pid for root in self._roots for pid in _with_children(self._proc, root)]
        self._looks += 1
        ticks = pages = delay = read = written = 0
        for pid in self._pids:
            with suppress(OSError, ValueError, IndexError):
                fields = (self._proc / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
                ticks += sum(map(int, fields[_CPU]))
                pages += int(fields[_RESIDENT])
                delay += int(fields[_DELAY])
                counts = dict(line.split(b": ") for line in (self._proc / str(pid) / "io").read_bytes().splitlines())
                read += int(counts[b"read_bytes"])
                written += int(counts[b"write_bytes"])
        io_wait = delay / _TICKS if self._counts_delays else None
        return ProcessUse(ticks / _TICKS, pages * _PAGE, read, written, io_wait)

    def peak(self) -> int:
        """Bytes: the most that was ever resident of each process, together; 0: not known."""
        peaks = (_text(self._proc / str(pid) / "status").partition("VmHWM:")[2].split() for pid in self._pids)
        return sum(int(words[0]) * 1024 for words in peaks if words)


def job_peak(job: str | None, proc: Path = PROC) -> int | None:
    """Bytes: the most that the control group of a Slurm job on this node held, with what it cached of files; None: no
    such group, or nobody counts."""
    for folder in granted.groups(proc / "self", "memory"):
        if job is not None and folder.name == f"job_{job}":
            peak = (_text(folder / "memory.peak") or _text(folder / "memory.max_usage_in_bytes")).strip()
            return int(peak) if peak.isdecimal() else None
    return None


def _with_children(proc: Path, pid: int) -> Iterator[int]:
    """A process and all below it; itself alone where the kernel does not tell them."""
    yield pid
    try:
        threads = os.listdir(proc / str(pid) / "task")
    except OSError:
        return
    for thread in threads:
        for child in _text(proc / str(pid) / "task" / thread / "children").split():
            yield from _with_children(proc, int(child))


def _is_ours(proc: Path, pid: int) -> bool:
    """Whether that is a process of this user: in another container a number may be somebody else's."""
    try:
        return (proc / str(pid)).stat().st_uid == os.geteuid()
    except OSError:
        return False


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8", errors="replace")
    except OSError:
        return ""
