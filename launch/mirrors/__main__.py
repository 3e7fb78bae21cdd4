"""The process of one mirror: `python -m launch.mirrors REQUEST`. It reports to a pipe, and its own output is nowhere.

Whatever the library does in here (prints without end, ends the process, never returns) stays in here.
"""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from launch.mirrors import sinks
from launch.mirrors.mirror import Mirror, alone
from launch.mirrors.sinks import Place
from slurm.base import UserError
from slurm.base.errors import one_line

NICE = 10
_PAUSE = 5.0  # seconds between two looks
_PARENT_DEATH_SIGNAL = 1  # prctl's PR_SET_PDEATHSIG


@dataclass(frozen=True)
class Request:
    """What a mirror's process is told. `report`: the pipe's descriptor."""

    kind: str
    file: str
    folder: str
    project: str
    online: bool
    follow: bool
    report: int


_REQUEST = TypeAdapter(Request)


def main() -> None:
    request = _REQUEST.validate_json(sys.argv[1])
    parent = os.getppid()
    _end_with_parent()
    os.nice(NICE)

    def report(**values: Any) -> None:
        if os.getppid() != parent:
            os._exit(1)  # nobody reads it any more
        os.write(request.report, (json.dumps(values) + "\n").encode())

    try:
        with alone(Path(request.folder)):
            _mirror(request, report)
        report(end="")
    except UserError as error:
        report(end=str(error))
    except Exception as error:
        line = one_line(error) if isinstance(error, OSError) else None
        report(end=line or f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def _end_with_parent() -> None:
    """Have the system end this process where the command that started it is killed, even while a library hangs."""
    with suppress(OSError, AttributeError):  # no Linux: then at the next report
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def _mirror(request: Request, report: Callable[..., None]) -> None:
    from launch import experiment, plan

    sink = sinks.open_sink(request.kind, Place(Path(request.folder), request.project, request.online))
    try:
        new_plan = plan.make(experiment.load(Path(request.file)))
        mirror = Mirror(new_plan, sink, Path(request.folder), lambda points: report(points=points))
        while not mirror.look() and request.follow:
            time.sleep(_PAUSE)
            report(points=0)
    finally:
        sink.close()


if __name__ == "__main__":
    main()
