"""Reading what a stage's job prints while it prints it: across requeues and later attempts, until the stage is over.

Files are looked at every second, which asks Slurm nothing. Where the stage stands is seen on the disk; Slurm's queue is
looked at as seldom as `submit --wait` does, together with all the user's other commands.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launch import executors
from launch.logbook import parts
from launch.logbook.parts import Reader, StageFilter
from launch.logbook.selection import intended_for, may_run
from launch.plan import Plan, Stage
from launch.status import Observation, StageState
from launch.store import Location, Store, submissions
from slurm.base.errors import Patience

POLL_SECONDS = 1.0  # between two looks at the files
STATE_SECONDS, STATE_SECONDS_HERE = 15.0, 2.0  # between two looks at where the stage stands, on Slurm and without
_SHARE = 5.0  # times as long as such a look takes is waited before the next
_OVER = ("finished", "failed", "held", "cancelled", "new")
Write = Callable[[Path, Sequence[str]], None]  # lines of a file
Report = Callable[[str], None]


def follow(
    plan: Plan,
    stage: Stage,
    write: Write,
    report: Report,
    *,
    errors: bool = False,
    last: int | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> StageState:
    """Hand on what the stage's job printed and prints, until the stage is over; how it ended.

    errors: only files of errors, where there are any. last: of what is there already so many lines of each file; None:
    all of the job's last start. Trouble of the file system is reported, and waited for.
    """
    follower = _Follower(plan, stage, write, report, errors, last)
    patience = Patience(report)
    while True:
        with patience.look():
            state = follower.look()
            if state is not None:
                return state
        wait(POLL_SECONDS)


@dataclass
class _Follower:
    plan: Plan
    stage: Stage
    write: Write
    report: Report
    errors: bool
    last: int | None
    readers: dict[Path, Reader] = field(default_factory=dict)
    location: Location | None = None
    state: StageState | None = None  # as it was seen last
    _had_result: bool = False  # when this began: what runs makes its encoder again
    _elements: dict[Path, list[Location]] = field(default_factory=dict)  # of the stage, by submission: read once each
    _next_state: float = 0.0  # when it is looked at again (monotonic)

    def look(self) -> StageState | None:
        """Hand on what was printed since; once the stage is over, how it ended."""
        self._find_element()
        is_over = self._is_over()
        if is_over and self._find_element():
            return None  # sent again since
        self._read()
        if not is_over:
            return None
        for path, reader in self.readers.items():
            if line := reader.rest():
                self.write(path, [line])
        return self.state

    def _find_element(self) -> bool:
        """Where the stage was last sent; whether that is another element than before."""
        elements: dict[Path, list[Location]] = {}
        for submission in submissions.read_all(self.plan.experiment.store):
            if submission.folder in self._elements:
                elements[submission.folder] = self._elements[submission.folder]
            elif submission.arrays:  # else its submitter has yet to say what it sends
                elements[submission.folder] = intended_for([submission], self.stage.key)
        self._elements = elements
        newest_first = (location for folder in reversed(elements) for location in reversed(elements[folder]))
        location = next(filter(may_run, newest_first), None)
        is_other = location != self.location
        if is_other:
            self.location, self.readers = location, {}
        return is_other

    def _read(self) -> None:
        if self.location is None:
            return
        self.location.submission.look_again()
        is_first_look = not self.readers
        paths = executors.of_location(self.location).logs(self.location)
        for path in parts.in_order(paths, errors=self.errors):
            if path not in self.readers:
                self.readers[path] = self._begin(path) if is_first_look else Reader(path, self._filter())
            lines, is_anew = self.readers[path].read()
            if is_anew:
                self.report(f"{path} begins anew")
            if lines:
                self.write(path, lines)

    def _begin(self, path: Path) -> Reader:
        """A reader that goes on after what is there of the last start, which is handed on."""
        all_parts = parts.parts_of(path)
        reader = Reader(path, self._filter(), all_parts[-1].begin if all_parts else 0)
        if self.last is not None:
            lines, _ = reader.read()
            if lines[-self.last :] and self.last:
                self.write(path, lines[-self.last :])
        return reader

    def _filter(self) -> StageFilter:
        return StageFilter(self.stage.folder)

    def _is_over(self) -> bool:
        """Whether the stage is over, as far as may be looked at now."""
        began = time.monotonic()
        store = Store(self.plan.experiment.store)
        if self.state is not None and not self._had_result and store.is_finished(self.plan, self.stage):
            self.state = StageState("finished")
            return True
        if began < self._next_state:
            return False
        state = Observation(self.plan, store).state(self.stage)
        has_queue = self.location is not None and executors.of_location(self.location).has_queue
        pause = STATE_SECONDS if has_queue else STATE_SECONDS_HERE
        self._next_state = time.monotonic() + max(pause, _SHARE * (time.monotonic() - began))
        if self.state is None:
            self._had_result = store.is_finished(self.plan, self.stage)
        if self.state is None or (self.state.state, self.state.job) != (state.state, state.job):
            self._tell(state)
        self.state = state
        return state.state in _OVER

    def _tell(self, state: StageState) -> None:
        if state.state in ("queued", "running", "unknown"):
            why = f": {state.plain_reason}" if state.reason else ""
            self.report(f"{self.stage.name} is {state.state} as job {state.job}{why}")
