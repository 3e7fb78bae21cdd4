"""How far what runs is: by its last heartbeat, and by what its log says of its speed."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Final

from launch.plan import Stage
from launch.store import Store, attempts
from launch.store.attempts import Attempt, Beat

MOST_READ: Final = 100  # stages at work of which one look reads how far they are
_TAIL = 1 << 13  # bytes of a log that its speed is told by: the last few dozen steps


@dataclass(frozen=True)
class Progress:
    """A stage at work: so many of its steps, or languages, are done; `total` 0: it has not said so yet.

    `step_seconds`: measured, of one step or language; None: nothing tells. `beat`: when it was last heard of (Unix
    time). `seconds`: since its attempt began, until then.
    """

    name: str
    step: int
    total: int
    loss: float | None = None
    step_seconds: float | None = None
    beat: float | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.step}/{self.total}" if self.total else self.name

    @property
    def share(self) -> float | None:
        """Of its steps, or languages; None while it has not said so."""
        return min(1.0, self.step / self.total) if self.total else None

    @property
    def seconds_left(self) -> float | None:
        """As fast as it was; None while nothing tells."""
        if not self.total or self.step_seconds is None:
            return None
        return float(max(0, self.total - self.step) * self.step_seconds)


def of_stages(store: Store, stages: Iterable[Stage]) -> dict[str, Progress]:
    """How far some stages are, by key; those without an attempt that was heard of are left out. Three small files of
    each are read, so ask for no more than are shown."""
    by_key = {stage.key: of_stage(store, stage) for stage in stages if store.exists(stage)}
    return {key: progress for key, progress in by_key.items() if progress is not None}


def of_stage(store: Store, stage: Stage) -> Progress | None:
    """How far a stage's last attempt is; None where there is none."""
    every = attempts.attempts_of(store.stage_folder(stage.folder))
    if not every:
        return None
    beat, began = attempts.beat_of(every[-1]), attempts.starter_of(every[-1]).time
    seconds = max(0.0, beat.time - began) if began is not None and beat.time is not None else None
    step_seconds = _of_training(every[-1]) if stage.kind == "train" else _of_languages(beat, seconds)
    return Progress(stage.name, beat.step, beat.total, beat.loss, step_seconds, beat.time, seconds)


def _of_training(attempt: Attempt) -> float | None:
    """By the wall clock where the log has a line about an interval, else by what its last steps took."""
    lines = _last_lines(attempt.folder / "log.jsonl")
    intervals = [line for line in lines if "interval" in line]
    if intervals:
        first, last = map(int, intervals[-1]["interval"])
        return float(intervals[-1]["seconds"]) / max(1, last - first + 1)
    steps = [float(line["seconds"]) for line in lines if "step" in line and "seconds" in line]
    # The first step of a start also waits for what is compiled or read then.
    return float(mean(steps[1:] or steps)) if steps else None


def _of_languages(beat: Beat, seconds: float | None) -> float | None:
    return seconds / beat.step if seconds is not None and beat.step else None


def _last_lines(path: Path) -> list[Mapping[str, Any]]:
    """The records at a log's end; the line that is being written, or was cut in the middle, is left out."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read().splitlines()
    except OSError:
        return []
    records: list[Mapping[str, Any]] = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records
