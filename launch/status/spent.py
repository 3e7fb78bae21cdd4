"""What became of the seconds that the attempts at a stage held their processors, from their own notes alone.

An attempt holds them from the start of its job's process (of a job's first stage; else from its own beginning) to its
last sign of life; beside neighbours in its job (`pack`) its part of them. What it did until it was interrupted is lost
only beyond the step from which a later attempt went on, or the newest checkpoint while none has; a published language
is never lost. Steps are taken to be equally long.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from launch.status.history import AttemptNotes, Failure
from launch.store import times
from launch.store.times import StageTimes
from slurm.causes import Cause

# Of each: what its seconds went into.
USEFUL: Final = "useful"  # trained or evaluated what stands, or will where a checkpoint has it
STARTING: Final = "starting"  # held from the start of a job's process until its first stage began: imports
IDLE: Final = "idle"  # held, and neither trained nor evaluated: loading, tokenising, saving
RUNNING: Final = "running"  # an attempt that is not over
AGAIN: Final = "again/"  # before the cause: done again, as Slurm took the job away
FAILED: Final = "failed/"  # before the cause: lost in a failure
TAKEN_AWAY: tuple[Cause, ...] = ("time", "preempted", "node")

Spent = dict[str, float]  # seconds
_STEP = b'{"step"'  # how the line of a step begins


def of_stage(every: Sequence[AttemptNotes], failures: Sequence[Failure], *, may_run: bool = True) -> Spent:
    """Of all attempts at one stage, the oldest first, and how those failed that did. `may_run`: an element may be at
    the last one, where it has no end."""
    by_number = {failure.attempt: failure for failure in failures}
    outcomes: Spent = {}
    goes_on_from: float = max((notes.step for notes in every), default=0) if _is_open(every) else float("inf")
    for notes in reversed(every):
        stage_times, failure = times.of_attempt(notes.attempt), by_number.get(notes.number)
        job_share = notes.starter.share
        first_step = _first_step(notes) if failure is not None or len(every) > 1 else None
        _add(outcomes, STARTING, times.seconds_held(0.0, stage_times) * job_share)
        seconds = notes.seconds * job_share
        idle = min(seconds, _idle(stage_times) * job_share)
        _add(outcomes, IDLE, idle)
        if failure is not None:
            share, kind = _kept(notes, first_step, goes_on_from), AGAIN if failure.cause in TAKEN_AWAY else FAILED
            _add(outcomes, USEFUL, share * (seconds - idle))
            _add(outcomes, f"{kind}{failure.cause}", (1 - share) * (seconds - idle))
        else:
            _add(outcomes, USEFUL if notes.end else RUNNING if may_run else f"{FAILED}unknown", seconds - idle)
        if first_step is not None:
            goes_on_from = min(goes_on_from, first_step)
    return outcomes


def _is_open(every: Sequence[AttemptNotes]) -> bool:
    """Whether no attempt has ended well: then what is lost, the newest checkpoint says."""
    return not any(notes.end is not None and notes.end.failure is None for notes in every)


def _kept(notes: AttemptNotes, first_step: int | None, goes_on_from: float) -> float:
    """The share of an interrupted attempt that another one need not do again."""
    if notes.languages:  # and was at the next one when it was interrupted
        return notes.languages / max(notes.languages, min(notes.beat.total, notes.languages + 1))
    if first_step is None:
        return 0.0
    done_steps = max(notes.beat.step, notes.step) - first_step
    return max(0.0, min(1.0, (goes_on_from - first_step) / done_steps)) if done_steps > 0 else 0.0


def _idle(stage_times: StageTimes | None) -> float:
    if stage_times is None:
        return 0.0
    return sum((stage_times.load, stage_times.tokenise, stage_times.save, stage_times.other))


def _first_step(notes: AttemptNotes) -> int | None:
    """How many steps of a training were done when an attempt did its first; None where it did none."""
    with suppress(OSError, ValueError, KeyError, TypeError), (notes.attempt.folder / "log.jsonl").open("rb") as file:
        for line in file.read(times.HEAD).splitlines():
            if line.startswith(_STEP):
                return int(json.loads(line)["step"])
    return None


def _add(outcomes: Spent, outcome: str, seconds: float) -> None:
    if seconds > 0:
        outcomes[outcome] = round(outcomes.get(outcome, 0.0) + seconds, 3)
