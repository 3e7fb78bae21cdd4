"""What files and Slurm say of one stage: attempts and why it waits, the ends of its logs, curves. Read by a thread."""

import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from launch import executors
from launch.plan import Stage
from launch.status import history
from launch.store import Location, Submission, attempts
from launch.store import logs as job_logs
from launch.text import clock, duration, moment
from launch.watch.looking import Picture
from slurm import reasons
from slurm.base import UserError
from slurm.base.errors import one_line
from slurm.endings import ElementId
from slurm.queue import QueueEntry

Pane = Literal["attempts", "stdout", "stderr", "log", "curves"]
PANES: tuple[Pane, ...] = ("attempts", "stdout", "stderr", "log", "curves")
_TAIL = 64 << 10  # bytes of a file
_LINES = 500
_AT_ONCE = 8 << 20  # bytes of a log that are read for curves at once
_POINTS = 2048  # of a curve; of more, every other one is kept
# Escape sequences of a terminal, and other control characters: a log may hold anything.
_CONTROL = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\-_])|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_WHO = {"nobody": "", "you": "you can: ", "administrator": "for an administrator: "}


@dataclass(frozen=True)
class Curve:
    """One quantity over time. `unit`: behind its numbers."""

    name: str
    values: Sequence[float]
    unit: str = ""

    @property
    def numbers(self) -> str:
        """The last value, and between which it was."""
        if not self.values:
            return "nothing yet"
        last, lowest, highest = (_number(value) for value in (self.values[-1], min(self.values), max(self.values)))
        return f"{last}{self.unit}  ({lowest} to {highest})"


@dataclass(frozen=True)
class Page:
    """What one pane shows of a stage."""

    stage: str  # its key
    pane: Pane
    lines: Sequence[str] = ()
    curves: Sequence[Curve] = ()


@dataclass(frozen=True)
class Quantity:
    """What is taken from a log's lines: `take` gives its value in one, None where it says nothing of it."""

    name: str
    take: Callable[[Mapping[str, Any]], float | None]
    unit: str = ""


def _field(name: str) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda record: _plain_number(record.get(name))


def _mean_of(name: str) -> Callable[[Mapping[str, Any]], float | None]:
    def take(record: Mapping[str, Any]) -> float | None:
        numbers = _numbers(record.get(name))
        return sum(numbers) / len(numbers) if numbers else None

    return take


def _gigabytes(name: str) -> Callable[[Mapping[str, Any]], float | None]:
    """The fullest one's, where there are several."""

    def take(record: Mapping[str, Any]) -> float | None:
        value = record.get(name)
        numbers = _numbers(value if isinstance(value, list) else [value])
        return max(numbers) / 1e9 if numbers else None

    return take


# Those of the training are shown in any case; of what a job used, what its samples have.
_TRAINING = (Quantity("loss", _field("loss")), Quantity("tokens/s", _field("tokens_per_second")))
_USED = (
    Quantity("GPUs busy", _mean_of("gpus"), " %"),
    Quantity("GPU memory", _gigabytes("gpu_memory"), " GB"),
    Quantity("memory", _gigabytes("memory"), " GB"),
)


@dataclass
class Series:
    """Numbers of a log that grows, by name: each read goes on where the one before ended."""

    path: Path
    quantities: Sequence[Quantity]
    values: dict[str, list[float]] = field(default_factory=dict)
    _offset: int = 0
    _file: int = 0  # its inode
    _every: dict[str, tuple[int, int]] = field(default_factory=dict)  # keep every so many-th; passed since

    def read_on(self) -> None:
        """Take in what was added; all of it where the file is another one; nothing where there is none."""
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._file or status.st_size < self._offset:
                    self.values, self._every = {}, {}
                    self._offset, self._file = 0, status.st_ino
                file.seek(self._offset)
                block = file.read(_AT_ONCE)
        except FileNotFoundError:
            return
        whole_lines, newline, _ = block.rpartition(b"\n")
        self._offset += len(whole_lines) + len(newline)
        for line in whole_lines.splitlines():
            record = _record(line)
            for quantity in self.quantities:
                value = quantity.take(record)
                if value is not None:
                    self._add(quantity.name, value)

    def curves(self, *, also_empty: bool) -> list[Curve]:
        quantities = [quantity for quantity in self.quantities if also_empty or quantity.name in self.values]
        return [
            Curve(quantity.name, list(self.values.get(quantity.name, ())), quantity.unit) for quantity in quantities
        ]

    def _add(self, name: str, value: float) -> None:
        every, skipped = self._every.get(name, (1, 0))
        points = self.values.setdefault(name, [])
        if skipped + 1 < every:
            self._every[name] = (every, skipped + 1)
            return
        points.append(value)
        if len(points) > _POINTS:
            del points[1::2]
            every *= 2
        self._every[name] = (every, 0)


def _plain_number(value: object) -> float | None:
    """None also for what no curve has a place for: NaN and infinities, which JSON logs of a diverged training hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    with suppress(OverflowError):  # a whole number beyond all floats
        number = float(value)
        return number if math.isfinite(number) else None
    return None


def _numbers(values: object) -> list[float]:
    items = values if isinstance(values, list) else []
    return [number for item in items if (number := _plain_number(item)) is not None]


class StageReader:
    """Reads the panes of one stage; what it has read of curves it remembers."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._series: dict[Path, Series] = {}

    def read(self, picture: Picture, pane: Pane) -> Page:
        """One pane as it is now; trouble of the file system is what it says then."""
        try:
            if pane == "curves":
                return Page(self.stage.key, pane, curves=self._curves(picture))
            return Page(self.stage.key, pane, lines=self._lines(picture, pane))
        except OSError as error:
            return Page(self.stage.key, pane, [f"cannot be read now: {one_line(error) or error}"])
        except UserError as error:
            return Page(self.stage.key, pane, [str(error)])

    def _lines(self, picture: Picture, pane: Pane) -> list[str]:
        if pane == "attempts":
            return standing_lines(picture, self.stage) + attempt_lines(picture, self.stage)
        if pane == "log":
            attempt = self._last_attempt(picture)
            return tail_of(attempt / "log.jsonl") if attempt else ["no attempt yet"]
        location = picture.observation.locations.get(self.stage.key)
        if location is None:
            return ["it was never sent; `stepstone submit FILE` sends it"]
        ending = ".err" if pane == "stderr" else ".out"
        lines: list[str] = []
        for path in _fresh_logs(location):
            if path.name.endswith(ending):
                lines += plain_lines(job_logs.of_last_start(_end_of(path), self.stage.folder))
        return lines[-_LINES:] or [f"nothing on {pane} yet"]

    def _curves(self, picture: Picture) -> list[Curve]:
        attempt = self._last_attempt(picture)
        if attempt is None:
            return []
        curves: list[Curve] = []
        for name, quantities in (("log.jsonl", _TRAINING), ("usage.jsonl", _USED)):
            series = self._series.setdefault(attempt / name, Series(attempt / name, quantities))
            series.read_on()
            curves += series.curves(also_empty=quantities is _TRAINING and self.stage.kind == "train")
        return curves

    def _last_attempt(self, picture: Picture) -> Path | None:
        every = attempts.attempts_of(picture.store.stage_folder(self.stage.folder))
        return every[-1].folder if every else None


def _fresh_logs(location: Location) -> list[Path]:
    """By a new listing: the picture's is as old as itself."""
    anew = replace(location, submission=Submission(location.submission.folder))
    return executors.of_location(anew).logs(anew)


# --- in words


def standing_lines(picture: Picture, stage: Stage) -> list[str]:
    """Where it stands and why; why Slurm lets it wait, and what can be done about that."""
    state = picture.observation.state(stage)
    job = f" as job {state.job}" if state.job and state.state != "finished" else ""
    since = f" since {clock(state.since)}" if state.since else ""
    lines = [f"{stage.name}, key {stage.key}: {state.state}{job}{since}"]
    entry = queue_entry(picture, stage)
    if state.reason and (entry is None or not entry.pending or state.state != "queued"):
        cause = "" if state.cause in (None, "unknown") else f"{state.cause}: "
        lines.append(f"  {cause}{state.reason}")
    if entry is not None and entry.pending and state.state in ("queued", "held"):
        lines += waiting_lines(entry)
        lines += _start_line(picture, entry)
    progress = picture.overview.progress.get(stage.key)
    if progress is not None and progress.total:
        time_left = "" if progress.seconds_left is None else f", about {duration(progress.seconds_left)} left"
        lines.append(f"  {progress.step} of {progress.total} {_UNITS[stage.kind]}{time_left}")
    return lines


_UNITS = {"train": "steps", "evaluate": "languages"}


def waiting_lines(entry: QueueEntry) -> list[str]:
    """Why an element waits, in plain words, and what can be done."""
    reason = reasons.explain(entry.reason)
    if reason is None:
        return [f"  it waits: Slurm says {entry.reason}"]
    return [f"  it waits: {reason.words} ({entry.reason})", f"  {_WHO[reason.who]}{reason.remedy}"]


def _start_line(picture: Picture, entry: QueueEntry) -> list[str]:
    if picture.starts is None or entry.index is None:
        return []
    when = picture.starts.times.get(ElementId(entry.job, entry.index, entry.name))
    return [] if when is None else [f"  Slurm means to start it at {moment(when)}, which it may change"]


def queue_entry(picture: Picture, stage: Stage) -> QueueEntry | None:
    """The stage's element in the queue, as Slurm has it."""
    location = picture.observation.locations.get(stage.key)
    if location is None or stage.key in picture.observation.finished:
        return None
    return picture.queued.get((location.job or "", location.index, location.name))


def attempt_lines(picture: Picture, stage: Stage) -> list[str]:
    """Every attempt with its cause and evidence."""
    store = picture.store
    if not store.exists(stage):
        return ["no attempt yet"]
    lines = history.lines(store.stage_folder(stage.folder), picture.observation.failures(stage))
    return [_CONTROL.sub("", line) for line in lines] or ["no attempt yet"]


# --- files


def tail_of(path: Path) -> list[str]:
    """The last lines of a file; what is being written just now included."""
    try:
        return plain_lines(_end_of(path))[-_LINES:] or ["empty so far"]
    except FileNotFoundError:
        return [f"no {path.name} yet"]


def _end_of(path: Path) -> str:
    """Whole lines, of so many bytes at most."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL))
        block = file.read()
    if size > _TAIL:
        block = block.partition(b"\n")[2]
    return block.decode(errors="replace")


def plain_lines(text: str) -> list[str]:
    """Without what would move a terminal's cursor; of a line that was written over, what was seen last."""
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    cleaned_lines = [_CONTROL.sub("", line).expandtabs(4) for line in lines]
    while cleaned_lines and not cleaned_lines[-1].strip():
        cleaned_lines.pop()
    return cleaned_lines


def _record(line: bytes) -> Mapping[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
