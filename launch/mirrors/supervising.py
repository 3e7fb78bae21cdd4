"""A process for each mirror, and an eye on it: one that hangs is ended, and one that fails is told of in one line.

They need nothing of each other, and no job needs any of them.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from launch.mirrors.__main__ import Request
from launch.mirrors.sinks import KINDS, PACKAGES, Place
from launch.store import provenance
from slurm.base import UsageError

PATIENCE = 300.0  # seconds without a sign of life: such as one write to a server that does not answer
_ONLINE_ONLY = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID", "TRACKIO_WEBHOOK_URL")
# No program tells its makers how it is used. Each of these is documented by the program that it is for.
_PRIVATE = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # not about that: its folder of files, which needs no data base
    "WANDB_ERROR_REPORTING": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


@dataclass
class Outcome:
    """What became of one mirror. `failure`: "" where it did all."""

    kind: str
    place: Place
    points: int = 0
    failure: str = ""


@dataclass
class _Child:
    outcome: Outcome
    process: subprocess.Popen[bytes]
    pipe: int
    last_sign: float
    unread: bytes = b""
    has_ended: bool = False


def check(kinds: Sequence[str]) -> None:
    """UsageError for a mirror that is not known, or whose library is not installed."""
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"--to {kind}: unknown; it takes {', '.join(KINDS)}")
        if find_spec(kind) is None:
            package = PACKAGES.get(kind, kind)
            raise UsageError(
                f"--to {kind}: {package} is not installed; type: pip install {package} (or stepstone[mirrors])"
            )


def mirror(
    file: Path,
    places: Mapping[str, Place],
    *,
    follow: bool,
    say: Callable[[str], None],
    patience: float = PATIENCE,
) -> list[Outcome]:
    """Mirror an experiment to each of some places, by kind; with `follow` until all of its stages are finished.

    Returns when every process has ended, whatever they do, and ends them all where it is interrupted.
    """
    children = [_start(file, kind, place, follow=follow) for kind, place in places.items()]
    try:
        with selectors.DefaultSelector() as selector:
            for child in children:
                selector.register(child.pipe, selectors.EVENT_READ, child)
            while selector.get_map():
                for key, _ in selector.select(timeout=min(1.0, patience)):
                    _listen(key.data, selector)
                for child in [key.data for key in selector.get_map().values()]:
                    if time.monotonic() - child.last_sign > patience:
                        child.outcome.failure = f"gave no sign of life for {patience:.0f} s, and was ended"
                        _leave(child, selector)
    finally:
        for child in children:
            _end(child)
            if child.outcome.failure:
                say(f"{child.outcome.kind}: {child.outcome.failure}")
    return [child.outcome for child in children]


def _start(file: Path, kind: str, place: Place, *, follow: bool) -> _Child:
    reader, writer = os.pipe()
    request = Request(kind, str(file), str(place.folder), place.project, place.online, follow, writer)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "launch.mirrors", json.dumps(asdict(request))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[writer],
        start_new_session=True,  # so that what it starts ends with it
        env=_environment(place),
    )
    os.close(writer)
    return _Child(Outcome(kind, place), process, reader, time.monotonic())


def _environment(place: Place) -> dict[str, str]:
    variables = dict(os.environ) | _PRIVATE
    python_path = [str(provenance.code_root()), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables["PYTHONPATH"] = os.pathsep.join(python_path)
    if not place.online:
        variables = {name: value for name, value in variables.items() if name not in _ONLINE_ONLY}
        variables |= {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline", "TRACKIO_DIR": str(place.folder)}
    return variables


def _listen(child: _Child, selector: selectors.BaseSelector) -> None:
    """Take what it reports; at the pipe's end it is over."""
    content = os.read(child.pipe, 1 << 16)
    child.last_sign = time.monotonic()
    *lines, child.unread = (child.unread + content).split(b"\n")
    for line in lines:
        with suppress(ValueError):
            report = json.loads(line)
            child.outcome.points += report.get("points", 0)
            if "end" in report:
                child.has_ended, child.outcome.failure = True, report["end"]
    if not content:
        if not child.has_ended:
            code = child.process.wait()
            child.outcome.failure = f"its process ended (exit code {code}) before it was done"
        _leave(child, selector)


def _leave(child: _Child, selector: selectors.BaseSelector) -> None:
    selector.unregister(child.pipe)
    _end(child)


def _end(child: _Child) -> None:
    """The process, and all that it started."""
    if child.pipe >= 0:
        os.close(child.pipe)
        child.pipe = -1
        with suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()
