"""Where the time of an attempt went: the last line of its log.jsonl. Attempts of earlier versions have none."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from launch.store.attempts import Attempt
from launch.text import duration
from slurm.base.files import write_atomic
from training.stopwatch import Phase

HEAD = 1 << 13  # bytes of a log in which a training's first step stands
_TAIL = 1 << 13  # bytes of a log that are looked at: the line is its last
_SHOWN = 0.05  # seconds: phases that took less are not worth a person's time


@dataclass(frozen=True)
class StageTimes:
    """Seconds of rank 0. `queue` and `imports` are of a job's first stage alone: until its process began, from when it
    was sent or what it waited for had ended (None: not known), and from then until the stage began."""

    queue: float | None = None
    imports: float = 0.0
    load: float = 0.0
    tokenise: float = 0.0
    train: float = 0.0
    dev: float = 0.0
    save: float = 0.0
    evaluate: float = 0.0
    other: float = 0.0
    languages: dict[str, float] = field(
        default_factory=dict
    )  # of an evaluate, those of rank 0, each with its tokenising

    def line(self) -> str:
        """For people: what took longest comes first."""
        phases = {name: seconds for name, seconds in asdict(self).items() if isinstance(seconds, float)}
        order = sorted(phases, key=lambda name: (name != "queue", -phases[name]))
        parts = [f"{name} {duration(phases[name])}" for name in order if phases[name] >= _SHOWN]
        slowest = sorted(self.languages, key=lambda code: -self.languages[code])
        languages = ", ".join(f"{code} {duration(self.languages[code])}" for code in slowest)
        return f"time: {', '.join(parts) or 'none'}" + (f"; languages: {languages}" if languages else "")


_TIMES = TypeAdapter(StageTimes)


def of_phases(
    seconds: Mapping[Phase | None, float], languages: Mapping[str, float], queue: float | None, imports: float
) -> StageTimes:
    """The record of what a stopwatch counted in a stage."""

    def counted(phase: Phase | None) -> float:
        return round(seconds.get(phase, 0.0), 3)

    return StageTimes(
        queue=None if queue is None else round(queue, 3),
        imports=round(imports, 3),
        load=counted("load"),
        tokenise=counted("tokenise"),
        train=counted("train"),
        dev=counted("dev"),
        save=counted("save"),
        evaluate=counted("evaluate"),
        other=counted(None),
        languages={code: round(value, 3) for code, value in languages.items()},
    )


def note(attempt: Attempt, times: StageTimes, **more: Any) -> None:
    """Add the line to an attempt's log.jsonl, with what else is told in it."""
    with (attempt.folder / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"times": asdict(times)} | more) + "\n")


def of_attempt(attempt: Attempt) -> StageTimes | None:
    """What `note` wrote; None where it did not come to that, or cannot be read."""
    try:
        return _TIMES.validate_python(last_line(attempt)["times"])
    except (KeyError, ValidationError):
        return None


def last_line(attempt: Attempt) -> dict[str, Any]:
    """The line that `note` wrote; empty where it did not come to that, or cannot be read."""
    lines = _tail(attempt.folder / "log.jsonl").splitlines()
    last = lines[-1] if lines else b""
    try:
        return dict(json.loads(last)) if last.startswith(b'{"times"') else {}
    except ValueError:  # torn: nothing depends on it
        return {}


def shorten(attempt: Attempt) -> None:
    """Leave of an attempt's log.jsonl what its times and its first step are read from; a line stands for the rest."""
    path = attempt.folder / "log.jsonl"
    content = path.read_bytes()
    head = content[: content.rfind(b"\n", 0, HEAD) + 1]
    tail = content[content.find(b"\n", max(0, len(content) - _TAIL)) + 1 :]
    if len(head) + len(tail) < len(content):
        # As long as what it stands for in the head, so that this reads as it did.
        mark = json.dumps({"removed_bytes": len(content) - len(head) - len(tail)}).ljust(HEAD - len(head))
        write_atomic(path, head + mark.encode() + b"\n" + tail)


def seconds_held(seconds: float, stage_times: StageTimes | None) -> float:
    """How long an attempt held its processors that was alive for so many seconds: of a job's first stage from the start
    of the job's process. `stage_times`: as `of_attempt` gives them."""
    return seconds + (stage_times.imports if stage_times else 0.0)


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            return file.read()
    except OSError:
        return b""
