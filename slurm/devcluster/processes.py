"""Daemons that outlive the command that started them: a record of each, and never a signal to a stranger's process."""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from slurm.base import UserError
from slurm.base.files import read_json, write_atomic
from slurm.base.processes import start_time

_TURN = 0.02  # seconds between two looks while something comes up or goes down
_children: set[int] = set()  # what this very process started and has not reaped yet


@dataclass(frozen=True)
class Process:
    """A process as it was when recorded. A pid alone may be reused; with start time and boot id it may not."""

    pid: int
    started: int  # clock ticks since boot
    boot: str


def observe(pid: int) -> Process | None:
    """The process `pid` as it is now; None where it is gone or only a zombie is left of it."""
    start = start_time(pid)
    if start is None:
        return None
    return Process(pid, start, Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())


def first_child(pid: int) -> int | None:
    """The pid of the first child of `pid`, if it has one."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(children[0]) if children else None


def program(pid: int) -> str:
    """The name of the program that `pid` runs; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def wait_until(event: str, seconds: float, ready: Callable[[], bool], log: Path | None = None) -> None:
    """Look until `ready`; where that takes too long, raise with the last line of `log`."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise UserError(f"{event}: not ready after {seconds:.0f} s{_last_words(log)}")
        time.sleep(_TURN)


def _last_words(log: Path | None) -> str:
    if log is None or not log.exists():
        return ""
    lines = log.read_text(errors="replace").splitlines() or ["(empty)"]
    return f"; {log} ends with: {lines[-1]}"


@dataclass(frozen=True)
class Daemons:
    """The daemons of one cluster: `<run>/<name>.json` says which process each one is."""

    run: Path
    log: Path

    def spawn(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Start `command` in a session of its own, away from our terminal, folder and stdin; its pid, recorded."""
        out = os.open(self.output(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            pid = os.posix_spawnp(
                "env",  # changes the folder and then becomes the command: the pid stays
                ["env", "-C", "/", *command],
                dict(environment),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, out, 1),
                    (os.POSIX_SPAWN_DUP2, out, 2),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGUSR2],
            )
        finally:
            os.close(out)
        _children.add(pid)
        self.record(name, pid)
        return pid

    def output(self, name: str) -> Path:
        """Where a daemon's own stdout and stderr go."""
        return self.log / f"{name}.out"

    def record(self, name: str, pid: int) -> None:
        """Remember that `name` is the process `pid` (nothing, where it is gone already)."""
        if process := observe(pid):
            write_atomic(self.run / f"{name}.json", json.dumps(asdict(process)))

    def names(self) -> list[str]:
        """Every recorded daemon, alive or not."""
        return sorted(path.stem for path in self.run.glob("*.json"))

    def find(self, name: str) -> Process | None:
        """The recorded process, where that very process still lives."""
        record = read_json(self.run / f"{name}.json")
        if record is None:
            return None
        process = Process(**record)
        return process if observe(process.pid) == process else None

    def alive(self, name: str) -> bool:
        _reap_children()
        return self.find(name) is not None

    def wait_for(self, name: str, seconds: float, ready: Callable[[], bool]) -> None:
        """Wait until `ready`; at once an error with the daemon's last words where it ends before."""
        wait_until(name, seconds, lambda: not self.alive(name) or ready(), self.output(name))
        if not self.alive(name):
            raise UserError(f"{name} ended while starting{_last_words(self.output(name))}")

    def signal(self, name: str, number: signal.Signals) -> None:
        """Signal a daemon; through a pid descriptor, so that no other process can slip in between look and act."""
        process = self.find(name)
        if process is None:
            return
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return
        try:
            if self.find(name) == process:
                signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)

    def stop(self, name: str, *, kill: bool = False, patience: float = 15) -> None:
        """End a daemon and forget it; one that has not ended after `patience` seconds is killed."""
        self.signal(name, signal.SIGKILL if kill else signal.SIGTERM)
        end = time.monotonic() + patience
        while self.alive(name) and time.monotonic() < end:
            time.sleep(_TURN)
        self.signal(name, signal.SIGKILL)
        wait_until(f"the end of {name}", 10, lambda: not self.alive(name))
        (self.run / f"{name}.json").unlink(missing_ok=True)


def _reap_children() -> None:
    """Take the exit status of those ended daemons that this very process started, so that no zombie stays."""
    for pid in tuple(_children):
        try:
            ended_pid, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # somebody else has done it
            ended_pid = pid
        if ended_pid:
            _children.discard(pid)
