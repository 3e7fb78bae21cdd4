"""Collecting beside `submit --wait` and `watch`: a process of its own, niced, started when more is finished and not too
soon after the last. It holds up nobody, and what is wrong with it is a line."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import IO

from launch.plan import Plan
from launch.store import collects, provenance
from slurm.base.files import to_json

_END_SECONDS = 600.0  # that the end of all is kept waiting for its table
_STOP_SECONDS = 5.0  # that it is given to end when told to, and again when killed
_MOST_BYTES = 8192  # of what it printed last
Report = Callable[[str], None]


@dataclass
class _Process:
    """One collecting that was started."""

    process: "subprocess.Popen[bytes]"
    output: IO[bytes]
    finished_count: int  # stages when it was started

    def line(self) -> str:
        """The last that it printed."""
        self.output.seek(max(0, self.output.seek(0, os.SEEK_END) - _MOST_BYTES))
        lines = self.output.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {self.process.returncode}")


@dataclass
class Collector:
    """Has an experiment's table made anew beside who looks at it again and again. `report`: what went wrong, once as
    long as it is the same."""

    plan: Plan
    by: str  # the command that waits
    report: Report
    began: float = field(default_factory=time.monotonic)  # the last one, or this command
    collected: int | None = None  # finished stages when the last that made a table was started, or at the first look
    tried: int | None = None  # finished stages when the last was started, whatever came of it
    trouble: str = ""  # that was reported last
    _running: _Process | None = None

    @property
    def process(self) -> "subprocess.Popen[bytes] | None":
        """The one that is at work, or has ended and was not looked at since."""
        return self._running.process if self._running else None

    @property
    def is_at_work(self) -> bool:
        return self._running is not None

    def look(self, finished_count: int, *, is_over: bool = False) -> None:
        """With so many stages finished: start where a table lacks some, and it is time, or (`is_over`) nothing runs any
        more, once at once. Never waits, never fails."""
        every = self.plan.experiment.collect.every
        self.collected = finished_count if self.collected is None else self.collected
        is_due = (is_over and finished_count != self.tried) or time.monotonic() - self.began >= 60 * every
        if every and self._is_over() and finished_count != self.collected and is_due and self._may_write():
            self._start(finished_count)

    def end(self, finished_count: int) -> None:
        """All is over: have the table of all of it, and say where it is."""
        if not self.plan.experiment.collect.every or not finished_count:
            return
        patience = time.monotonic() + _END_SECONDS
        self._wait(patience)
        self._start(finished_count)
        self._wait(patience)
        if not self.trouble:
            e = self.plan.experiment
            self.report(f"collected: {collects.results_folder(e.store, e.name)}")

    def stop(self) -> None:
        """End what is at work; files that it would have written are as they were. What hangs in a file system, and so
        cannot be killed, is left: it is over when that answers."""
        if self._running is None:
            return
        process = self._running.process
        for end in (process.terminate, process.kill):
            end()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
                break
        self._running.output.close()
        self._running = None

    def _may_write(self) -> bool:
        """Not where another's experiment is watched: its owner collects."""
        return os.access(self.plan.experiment.store, os.W_OK)

    def _start(self, finished_count: int) -> None:
        self.began, self.tried = time.monotonic(), finished_count
        request = to_json(asdict(collects.request_of(self.plan)))
        try:
            output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process is over
            with tempfile.TemporaryFile() as file:
                file.write(request)
                file.seek(0)
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "launch.collecting", self.by],
                    stdin=file, stdout=output, stderr=output, start_new_session=True,
                    env=os.environ | {"PYTHONPATH": str(provenance.code_root())},
                )  # fmt: skip
        except OSError as error:
            self._tell(str(error))
            return
        self._running = _Process(process, output, finished_count)

    def _is_over(self) -> bool:
        """Whether none is at work; what the last one said is reported."""
        if self._running is None:
            return True
        code = self._running.process.poll()
        if code is None:
            return False
        with self._running.output:
            self._tell(self._running.line() if code else "")
        self.collected = self.collected if code else self._running.finished_count
        self._running = None
        return True

    def _wait(self, patience: float) -> None:
        """Until it is over; `patience`: no longer than until then (monotonic)."""
        if self._running is None:
            return
        try:
            self._running.process.wait(max(0.0, patience - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.stop()
            self._tell(f"took more than {_END_SECONDS:.0f} s, and was ended")
            return
        self._is_over()

    def _tell(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            self.report(f"collect: {trouble}")
        self.trouble = trouble
