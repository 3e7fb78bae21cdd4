"""One mirror: look at the store, take to the sink what is new, remember how far that was.

What was mirrored is remembered in the mirror's own folder: whoever removes that begins anew, and typed again the
command adds what came since. Between the sink's write and the note of it lies a moment: a mirror that is killed there
writes some points twice, with the same steps and values.
"""

import fcntl
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from launch.mirrors import readings
from launch.mirrors.readings import Cursor
from launch.mirrors.sinks import Sink
from launch.plan import Plan, Stage
from launch.status import Observation
from launch.store import Store, records
from slurm.base import UserError
from slurm.base.files import make_folder, to_json, write_atomic

STATE, _LOCK = "stepstone.json", ".stepstone.lock"
_AT_ONCE = 500  # points that the sink gets in one call, so that a sign of life comes in between
_SAVE_SECONDS = 2.0
_ASK_SECONDS = 60.0


@dataclass(frozen=True)
class State:
    """How far each stage was mirrored, by its key."""

    cursors: dict[str, Cursor]
    schema: int = 1


_STATE = TypeAdapter(State)


@dataclass
class Mirror:
    """`tell`: gets the number of points after each write, and 0 as a sign of life."""

    plan: Plan
    sink: Sink
    folder: Path
    tell: Callable[[int], None]

    def __post_init__(self) -> None:
        state = records.read(self.folder / STATE, _STATE)
        self._cursors = state.cursors if state else {}
        self._saved_at = self._ask_at = self._open_again_at = time.monotonic()

    def look(self) -> bool:
        """Mirror what is new; whether that was the last of the experiment."""
        store = Store(self.plan.experiment.store)
        self._open_again(store)
        try:
            for stage in self.plan.stages.values():
                if not self._cursor(stage).done and store.exists(stage):
                    self._take(store, stage)
                    self.tell(0)
        finally:
            self._save()
        remaining = {stage.key for stage in self.plan.stages.values() if not self._cursor(stage).done}
        return not remaining or remaining <= self._unneeded(store)

    def _open_again(self, store: Store) -> None:
        """Go on with stages that were over and are to be done, or were done, anew; asked every minute."""
        if time.monotonic() < self._open_again_at:
            return
        self._open_again_at = time.monotonic() + _ASK_SECONDS
        for stage in self.plan.stages.values():
            cursor = self._cursor(stage)
            if cursor.done and not readings.is_still_over(self.plan, store, stage, cursor):
                self._cursors[stage.key] = replace(cursor, done=False)

    def _unneeded(self, store: Store) -> Set[str]:
        """Keys of seeds' stages that a race does without; asked every minute, as it asks Slurm too."""
        if self.plan.experiment.race is None or time.monotonic() < self._ask_at:
            return set()
        self._ask_at = time.monotonic() + _ASK_SECONDS
        return Observation(self.plan, store).racing.unneeded.keys()

    def _cursor(self, stage: Stage) -> Cursor:
        return self._cursors.get(stage.key, Cursor())

    def _take(self, store: Store, stage: Stage) -> None:
        before = self._cursor(stage)
        reading = readings.read(self.plan, store, stage, before)
        if not reading.points and not reading.cursor.done:
            self._cursors[stage.key] = reading.cursor
            return
        run = readings.run_of(self.plan, stage)
        for start in range(0, max(1, len(reading.points)), _AT_ONCE):
            points = reading.points[start : start + _AT_ONCE]
            is_last = start + _AT_ONCE >= len(reading.points)
            self.sink.write(run, points, last=is_last and reading.cursor.done)
            # What is behind the last of these points is read again after a failure, and passed over by its step.
            self._cursors[stage.key] = reading.cursor if is_last else replace(before, step=points[-1].step)
            self.tell(len(points))
            if time.monotonic() - self._saved_at > _SAVE_SECONDS:
                self._save()

    def _save(self) -> None:
        cursors = {key: records.without_defaults(cursor) for key, cursor in self._cursors.items()}
        write_atomic(self.folder / STATE, to_json({"schema": 1, "cursors": cursors}))
        self._saved_at = time.monotonic()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a mirror's folder. UserError where another command does so."""
    make_folder(folder, "--folder")
    with (folder / _LOCK).open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another stepstone mirror writes here; end it, or give --folder") from None
        yield
