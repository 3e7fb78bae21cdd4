"""When Slurm means to start what waits: one `squeue --start` for all commands that a user has open, every five minutes.

A forecast of the backfill scheduler, which knows of some jobs only and changes its mind; a cluster without it says
nothing. The file `starts/starts.json` in the user's cache holds the last answer (sealed).
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slurm import queue, usercache, ways
from slurm.base import UserError
from slurm.base.files import make_folder, seal, unseal
from slurm.commands import Refusal, Silent
from slurm.endings import ElementId

MAX_AGE = 300.0  # seconds
_WAIT = 20.0  # for another command's answer, seconds
_POLL = 0.1
_FORMAT = "%F|%K|%S|%j"  # array's id, index, expected start, name
_BARS = _FORMAT.count("|")


@dataclass(frozen=True)
class Starts:
    """When elements that wait are expected to start. Those that Slurm says nothing of are not in it. Unix times."""

    times: dict[ElementId, float]
    taken: float  # when Slurm was asked


def look(max_age: float = MAX_AGE) -> Starts | None:
    """What Slurm expects, at most `max_age` seconds old; None where it does not say. For who has elements that wait.

    Never fails. That there was no answer is remembered as long as an answer.
    """
    folder = _folder()
    patience = time.monotonic() + _WAIT
    while True:
        answer = _read(folder, max_age)
        if answer is not None:
            return answer[0]
        with usercache.asking(folder) as ours:
            if ours:
                answer = _read(folder, max_age)  # another one may have asked meanwhile
                return _ask_and_keep(folder) if answer is None else answer[0]
        if time.monotonic() > patience:
            return None
        time.sleep(_POLL)


def _ask_and_keep(folder: Path | None) -> Starts | None:
    starts = _ask()
    rows = None if starts is None else [[*vars(element).values(), when] for element, when in starts.times.items()]
    asked_at = time.time() if starts is None else starts.taken
    usercache.keep(folder, "starts.json", seal({"schema": 1, "taken": asked_at, "starts": rows}))
    return starts


def _ask() -> Starts | None:
    now = time.time()
    try:
        return Starts(ways.ask("squeue --start", _ways(), _times), now)
    except (Silent, Refusal):
        return None


def _ways() -> list[list[str]]:
    """How squeue may be asked; without --start the same column holds the same time."""
    name = queue.user()
    return [
        ["squeue", "--start", "--noheader", "--all", "--user", name, "--format", _FORMAT],
        ["squeue", "--start", "-h", "-u", name, "-o", _FORMAT],
        ["squeue", "--start", "-h", "--me", "-o", _FORMAT],
        ["squeue", "-h", "-a", "-u", name, "-t", "PD", "-o", _FORMAT],
    ]


def _times(output: str) -> dict[ElementId, float]:
    """By element, in what squeue printed; lines that are none of it, such as a site's greeting, are passed over."""
    times: dict[ElementId, float] = {}
    for row in (line.split("|", _BARS) for line in output.split("\n") if line.count("|") >= _BARS):
        job, indices, start, name = (field.strip() for field in row)
        when = _unix(start)
        if when is None or not job.isdecimal() or not indices or indices == "N/A":
            continue
        with suppress(queue.Unreadable):  # a list that was cut off: of those nothing is known
            times |= {ElementId(job, index, name): when for index in queue.expand(indices)}
    return times


def _unix(moment: str) -> float | None:
    """Of YYYY-MM-DDTHH:MM:SS, as squeue prints it in the time zone of this machine; None for N/A."""
    try:
        return time.mktime(time.strptime(moment, "%Y-%m-%dT%H:%M:%S"))
    except (ValueError, OverflowError):
        return None


def _folder() -> Path | None:
    base = usercache.folder()
    try:
        return make_folder(base / "starts") if base else None
    except UserError:
        return None


def _read(folder: Path | None, max_age: float) -> tuple[Starts | None] | None:
    """What was answered last, in a tuple, as it may be nothing; None: too old, or of another version."""
    try:
        record = unseal(usercache.kept(folder, "starts.json") or b"")
        if record is None or record["schema"] != 1 or not 0 <= time.time() - record["taken"] < max_age:
            return None
        rows = record["starts"]
        return (None if rows is None else Starts({ElementId(*row): when for *row, when in rows}, record["taken"]),)
    except (OSError, KeyError, TypeError, ValueError):
        return None
