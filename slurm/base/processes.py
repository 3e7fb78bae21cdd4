"""Processes of this host, told apart from later ones with the same number by their start time.

Read from /proc and not by psutil: a start is kept in locks, claims and attempts as clock ticks since boot, which never
change. psutil gives seconds since 1970, worked out from the boot time, which moves when the clock is set: a start that
was noted before would then be another process's. Not covered: processes of other hosts.
"""

import os
import time
from pathlib import Path


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None where there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces
    return None if fields[0] in "ZX" else int(fields[19])


def seconds_since_start() -> float:
    """How long ago this process started."""
    ticks = start_time(os.getpid())
    if ticks is None:
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


def is_alive(pid: int, start: int | None) -> bool:
    """Whether that very process still runs. `start` as `start_time` gave it."""
    now = start_time(pid)
    return now is not None and (start is None or now == start)
