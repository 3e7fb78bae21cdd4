"""Looking at experiments in a thread of its own, within the budget of questions to Slurm that all commands share.

A look reads the disk; Slurm is asked through `Observation`'s cache, once a minute for all that a user has open. Trouble
of the file system, or a store that is not there any more, leaves the last picture as it was, with its age.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from launch import standing
from launch.plan import Plan
from launch.standing import Overview
from launch.status import Observation
from launch.store import Store
from launch.submit.beside import Collector
from launch.submit.notify import Notifier
from launch.watch import sheet
from launch.watch.sheet import Sheet
from slurm import starts
from slurm.base import UserError
from slurm.base.errors import one_line
from slurm.queue import QueueEntry
from slurm.starts import Starts

_SECONDS = 5.0  # between two looks
_SHARE = 20  # a look takes no more than this part of the time,
_MOST_SECONDS = 60.0  # unless pauses would become longer than this: of what takes so long, a look a minute
_QUESTIONS = ("squeue", "sacct")


@dataclass(frozen=True)
class Picture:
    """What one look has seen."""

    store: Store
    observation: Observation
    overview: Overview
    sheet: Sheet  # the texts that are drawn
    taken: float  # Unix time
    starts: Starts | None = None  # when Slurm means to start what waits

    @cached_property
    def queued(self) -> dict[tuple[str, int | None, str], QueueEntry]:
        """What is in the queue, by job, index and name: ids are used again, names are not."""
        return {(entry.job, entry.index, entry.name): entry for entry in self.observation.entries or ()}


@dataclass
class Experiment:
    """One experiment that is watched, and what was seen of it last. Written by the looking thread alone."""

    plan: Plan
    notifier: Notifier | None = None  # tells the user's command of what is seen
    collector: Collector | None = None  # has the table made anew
    picture: Picture | None = None
    trouble: str | None = None  # why there is no newer picture
    looks: int = 0
    seconds: float = 0.0  # that the last look took
    _seen_store: bool = field(default=False, repr=False)
    _telling: threading.Thread | None = field(default=None, repr=False)

    def look(self) -> None:
        """Look once. Never fails: `trouble` says what stood in the way."""
        began = time.monotonic()
        try:
            self.picture, self.trouble = self._take(), None
        except (OSError, UserError) as error:
            line = one_line(error) if isinstance(error, OSError) else str(error)
            self.trouble = line or f"{type(error).__name__}: {error}"
        except Exception as error:  # a defect is told too, rather than leaving a picture to grow old
            self.trouble = f"looking failed: {type(error).__name__}: {error}"
        else:
            self._notify(self.picture.observation)
            self._collect(self.picture.observation)
        self.looks, self.seconds = self.looks + 1, time.monotonic() - began

    def _notify(self, observation: Observation) -> None:
        """In a thread of its own: the command may take half a minute. What comes up meanwhile, the next look tells."""
        if self.notifier is None or (self._telling is not None and self._telling.is_alive()):
            return
        self._telling = threading.Thread(target=self.notifier.look, args=(observation,), name="telling", daemon=True)
        self._telling.start()

    def _collect(self, observation: Observation) -> None:
        if self.collector is not None:
            is_over = not any(observation.is_sent(stage) for stage in self.plan.stages.values())
            self.collector.look(len(observation.finished), is_over=is_over)

    def _take(self) -> Picture:
        root = self.plan.experiment.store
        is_there = (root / "submissions").is_dir() or (root / "stages").is_dir()
        if self._seen_store and not is_there:
            # Of a store that is not mounted, everything looks new.
            raise UserError(f"{root}: the store is not there (any more); is its file system mounted here?")
        self._seen_store = is_there
        looked_at, store = time.time(), Store(root)
        observation = Observation(self.plan, store)
        overview = standing.take(self.plan, store, observation)
        waits = any(entry.pending for entry in observation.entries or ())
        expected_starts = starts.look() if waits else None
        texts = sheet.make(self.plan, store, observation, overview, expected_starts)
        return Picture(store, observation, overview, texts, looked_at, expected_starts)


def end_questions() -> None:
    """End what is still being asked of Slurm: who leaves waits for no answer, and leaves no process behind. What
    changes the queue (sbatch, scancel, scontrol) is let to its end."""
    for children in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError, ValueError):
            for pid in map(int, children.read_text(encoding="ascii").split()):
                if Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() in _QUESTIONS:
                    os.kill(pid, signal.SIGTERM)


class Looker:
    """Looks at all experiments in turn, again and again; `tell` is called after each look."""

    def __init__(self, experiments: Sequence[Experiment], tell: Callable[[Experiment], None]) -> None:
        self._experiments, self._tell = experiments, tell
        self._wake, self._ended = threading.Event(), False
        # Without it the process may end: a look at a file system that hangs is not waited for.
        self._thread = threading.Thread(target=self._run, name="looking", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No more looks; one that is under way is not waited for."""
        self._ended = True
        self._wake.set()

    def look_now(self) -> None:
        """Look as soon as may be. Slurm's answers may be as old as ever, but for what was changed from here."""
        self._wake.set()

    def _run(self) -> None:
        while not self._ended:
            self._wake.clear()
            for experiment in self._experiments:
                experiment.look()
                self._tell(experiment)
            seconds = sum(experiment.seconds for experiment in self._experiments)
            self._wake.wait(min(max(_SECONDS, _SHARE * seconds), _MOST_SECONDS))
