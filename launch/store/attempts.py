"""Attempts and fencing without a server: who may publish a stage's result when several starts of it overlap.

An attempt is a folder `attempts/NNNN` made by one rename, with a file `open` in it. Whoever starts later renames the
`open` of all earlier attempts to `fenced`. A result is published by writing into one's own `open`, without creating it,
and renaming it to `result.json`: where it is gone, the attempt was fenced and its work is not published.
"""

import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from launch.store import records
from slurm import rlimits
from slurm.base import UserError, look
from slurm.base.files import (
    make_folder,
    move,
    move_new,
    seal,
    sync_folder,
    to_json,
    write_atomic,
    write_in_place,
    write_new,
    write_once,
)
from slurm.base.processes import is_alive, start_time
from slurm.granted import Granted

STALE_SECONDS = 180  # a heartbeat older than this, by the file server's clock, is a dead attempt's
_BEAT_SECONDS = 10
_NUMBER = re.compile(r"[0-9]{4,}")


class RunningElsewhere(Exception):
    """Another job's attempt at the stage is alive."""


class Fenced(Exception):
    """A later attempt at the stage has begun; what this one made is not published."""


@dataclass(frozen=True)
class FailureNote:
    """How an attempt failed, as it says itself."""

    cause: Annotated[str, Field(alias="class")]  # one of slurm.causes.CAUSES, in whatever version
    message: str

    def record(self) -> dict[str, Any]:
        return {"class": self.cause, "message": self.message}


@dataclass(frozen=True)
class BeforeNote(FailureNote):
    """How the start of a job before this one was ended by force, as its next start makes it out."""

    attempt: int  # its number

    def record(self) -> dict[str, Any]:
        return super().record() | {"attempt": self.attempt}


@dataclass(frozen=True)
class Starter:
    """Who starts an attempt: a Slurm element (`job` is `123_4`) or a local process (`job` is None)."""

    job: str | None = None
    restart: int = 0
    host: str | None = None
    pid: int | None = None
    pid_start: int | None = None
    name: str | None = None  # the job's, by which a submission knows its own
    node: str | None = None  # Slurm's name of it
    packages: tuple[str, ...] = ()  # other versions than at submission
    limits: tuple[str, ...] = ()  # of the process, lower than on ordinary nodes
    before: BeforeNote | None = None
    time: float | None = None  # when the attempt began (Unix time)
    granted: Granted | None = None  # what its processes have
    neighbours: int = 0  # processes of other stages in the same job, side by side with its own

    @property
    def share(self) -> float:
        """Of the job's processors, as its hours are counted."""
        return 1 / (1 + self.neighbours)

    @classmethod
    def this_process(cls) -> "Starter":
        """From Slurm's environment, where there is one."""
        array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
        job = f"{array}_{index}" if array else os.environ.get("SLURM_JOB_ID")
        restart = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        name, node = os.environ.get("SLURM_JOB_NAME"), os.environ.get("SLURMD_NODENAME")
        pid = os.getpid()
        return cls(job, restart, socket.gethostname(), pid, start_time(pid), name, node, limits=rlimits.met())

    def record(self) -> dict[str, Any]:
        """As starter.json has it."""
        record = vars(self) | {
            "packages": list(self.packages),
            "limits": list(self.limits),
            "before": self.before.record() if self.before else None,
            "granted": asdict(self.granted) if self.granted else None,
        }
        return {name: value for name, value in record.items() if value or name not in _LEFT_OUT}


@dataclass(frozen=True)
class EndNote:
    """That an attempt is over."""

    failure: FailureNote | None  # None: it ended well
    time: float


@dataclass(frozen=True)
class Beat:
    """How far an attempt is: steps of a training, languages of an evaluate."""

    step: int = 0
    total: int = 0
    loss: float | None = None
    language: str | None = None  # that it published last
    time: float | None = None  # Unix time


_STARTER, _END, _BEAT = TypeAdapter(Starter), TypeAdapter(EndNote), TypeAdapter(Beat)
_LEFT_OUT = (
    "packages",
    "limits",
    "before",
    "time",
    "granted",
    "neighbours",
)  # of a starter's record, where there are none
_UNKNOWN, _NO_BEAT = Starter(), Beat()


@dataclass(frozen=True)
class Attempt:
    """One start of a stage. Everything it writes lies below `folder`."""

    folder: Path

    @property
    def number(self) -> int:
        return int(self.folder.name)

    @property
    def stage_folder(self) -> Path:
        return self.folder.parent.parent

    def publish(self, record: dict[str, Any]) -> None:
        """Make `record` the stage's result, or raise Fenced."""
        content = seal(record)
        target = self.stage_folder / "result.json"
        try:
            write_in_place(self.folder / "open", content)
            move(self.folder / "open", target)
        except FileNotFoundError:
            # A network file system may lose the reply of a rename that was done: then the result there is ours.
            if _content(target) != content:
                raise Fenced(self.folder) from None
        sync_folder(self.stage_folder)

    def is_fenced(self) -> bool:
        """Whether a later attempt has begun."""
        return not look.exists(self.folder / "open")

    def end(self, failure: FailureNote | None = None) -> bool:
        """Note that this attempt is over, and why where it failed; whether the note is ours.

        Of several ranks' failures the first stays: the others mostly follow from it. A good end stands above all.
        """
        content = to_json({"failure": failure.record() if failure else None, "time": time.time()})
        if failure is not None:
            return write_once(self.folder / "end.json", content)
        write_atomic(self.folder / "end.json", content)
        return True


def attempts_of(stage_folder: Path) -> list[Attempt]:
    """The attempts at a stage, the oldest first."""
    try:
        names = [name for name in look.names(stage_folder / "attempts") if _NUMBER.fullmatch(name)]
    except (FileNotFoundError, PermissionError):  # closed: of a store that another user shares, it has just begun
        return []
    return [Attempt(stage_folder / "attempts" / name) for name in sorted(names, key=int)]


def starter_of(attempt: Attempt) -> Starter:
    """Who started an attempt; one of whom nothing is known where that cannot be read."""
    return records.read(attempt.folder / "starter.json", _STARTER) or _UNKNOWN


def end_of(attempt: Attempt) -> EndNote | None:
    """The note that `Attempt.end` left; None while it runs or where it was killed."""
    return records.read(attempt.folder / "end.json", _END)


def beat_of(attempt: Attempt) -> Beat:
    """The last heartbeat; an empty one where there is none that can be read."""
    try:
        return records.read(attempt.folder / "heartbeat.json", _BEAT) or _NO_BEAT
    except UserError:  # torn: nothing depends on it
        return _NO_BEAT


def seconds_of(attempt: Attempt) -> float:
    """From the beginning of an attempt to its last sign of life."""
    began = starter_of(attempt).time
    if began is None:
        return 0.0
    end = end_of(attempt)
    last = end.time if end else beat_of(attempt).time
    return 0.0 if last is None else max(0.0, last - began)


def begin(stage_folder: Path, starter: Starter, job_has_ended: Callable[[str], bool | None]) -> Attempt:
    """Start an attempt and fence all earlier ones. RunningElsewhere where another job's attempt is alive."""
    folder = make_folder(stage_folder / "attempts")
    for attempt in attempts_of(stage_folder):
        if not attempt.is_fenced() and not _is_over(attempt, starter, job_has_ended):
            raise RunningElsewhere(f"{attempt.folder} ({starter_of(attempt).record()})")
    attempt = _make(folder, replace(starter, time=time.time()))
    # By their numbers: a listing may be too old to name one that has just begun.
    for number in range(1, attempt.number):
        _fence(Attempt(_numbered(folder, number)))
    return attempt


def _make(folder: Path, starter: Starter) -> Attempt:
    temporary = make_folder(folder / f".tmp-{uuid.uuid4().hex}")
    write_atomic(temporary / "open", b"")
    write_atomic(temporary / "starter.json", to_json(starter.record()))
    write_atomic(temporary / "heartbeat.json", to_json({}))
    number = max((attempt.number for attempt in attempts_of(folder.parent)), default=0)
    while True:
        number += 1
        if move_new(temporary, _numbered(folder, number)):
            sync_folder(folder)
            return Attempt(_numbered(folder, number))


def _numbered(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}"


def _content(path: Path) -> bytes | None:
    try:
        return look.read_bytes(path)
    except FileNotFoundError:
        return None


def _fence(attempt: Attempt) -> None:
    with suppress(FileNotFoundError):  # fenced by another, or published
        move(attempt.folder / "open", attempt.folder / "fenced")


def _is_over(attempt: Attempt, starter: Starter, job_has_ended: Callable[[str], bool | None]) -> bool:
    """Whether an earlier attempt can no longer be running."""
    if end_of(attempt) is not None:
        return True
    holder = starter_of(attempt)
    if holder.job is not None and holder.job == starter.job:
        return True  # a later start of the same job: Slurm runs only one at a time
    if holder.job is None and holder.pid is not None and holder.host == starter.host:
        return not is_alive(holder.pid, holder.pid_start)
    return _is_stale(attempt) or (holder.job is not None and job_has_ended(holder.job) is True)


def _is_stale(attempt: Attempt) -> bool:
    """By the file server's clock on both sides: node clocks may differ."""
    probe = write_new(attempt.folder / "clock", b"")
    try:
        now = look.status(probe).st_mtime
        beat = look.status(attempt.folder / "heartbeat.json").st_mtime
    except FileNotFoundError:
        return False
    finally:
        probe.unlink(missing_ok=True)
    return now - beat > STALE_SECONDS


class Heartbeat:
    """A thread that says every few seconds that an attempt is alive and how far it is. Use as a context."""

    def __init__(self, attempt: Attempt) -> None:
        self._path = attempt.folder / "heartbeat.json"
        self._progress = _NO_BEAT
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def progress(self, step: int, total: int, *, loss: float | None = None, language: str | None = None) -> None:
        """What the next beat says."""
        self._progress = Beat(step, total, loss, language)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._beat()

    def _run(self) -> None:
        while not self._stopped.wait(_BEAT_SECONDS):
            self._beat()

    def _beat(self) -> None:
        try:
            progress = {} if self._progress is _NO_BEAT else vars(self._progress)
            record = {name: value for name, value in progress.items() if value is not None} | {"time": time.time()}
            write_atomic(self._path, to_json(record))
        except OSError:
            return  # a full disk must not end the training; the result's own write will say so
