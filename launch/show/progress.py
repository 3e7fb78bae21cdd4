"""How far an experiment is: bars that stay in place, in a terminal."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from launch.standing.so_far import Standing
from launch.text import duration

_MOST_BAR, _LEAST_BAR, _LEAST_NAME = 24, 8, 12  # columns
_NUMBERS = 42  # columns of what stands beside name and bar: `12345/15000 about 2.1 days left 1:02:03`, and gaps


class _BarsAndStates(Progress):
    """Bars, and below them how many stages are in other states."""

    states = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        if self.states:
            yield Text(self.states)


class Bars:
    """One bar for all stages, and one for each that runs. Names give way to numbers where the window is narrow."""

    def __init__(self, console: Console) -> None:
        bar_width = max(_LEAST_BAR, min(_MOST_BAR, console.width // 5))
        self._name_width = max(_LEAST_NAME, console.width - bar_width - _NUMBERS)
        self.progress = _BarsAndStates(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=bar_width),
            TextColumn("{task.fields[so_far]}", markup=False),
            TextColumn("{task.fields[more]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,  # what is left on the screen is the last line
        )
        self._all = self.progress.add_task("stages", total=None, so_far="", more="")
        self._running: dict[str, TaskID] = {}

    def say(self, line: str) -> None:
        self.progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def draw(self, standing: Standing) -> None:
        count_finished, seconds = standing.counts["finished"], standing.seconds_left
        states = [f"{count} {state}" for state in ("queued", "failed", "held") if (count := standing.counts[state])]
        self.progress.states = ", ".join(states)
        self.progress.update(
            self._all,
            completed=count_finished,
            total=standing.total,
            so_far=f"{count_finished}/{standing.total}",
            more=f"about {duration(seconds)} left" if seconds else "",
        )
        now = {stage.name: stage for stage in standing.running}
        for name in self._running.keys() - now.keys():
            self.progress.remove_task(self._running.pop(name))
        for name, stage in now.items():
            if name not in self._running:
                self._running[name] = self.progress.add_task(f"  {self._fitting(name)}", total=None, so_far="", more="")
            if stage.total:
                so_far = f"{stage.step}/{stage.total}"
                self.progress.update(self._running[name], completed=stage.step, total=stage.total, so_far=so_far)

    def _fitting(self, name: str) -> str:
        """A stage's name without its middle, where it is too long for its column."""
        room = self._name_width - 2  # it is indented
        half = (room - 1) // 2
        return name if len(name) <= room else f"{name[:half]}…{name[-half:]}"


@contextmanager
def bars(console: Console) -> Iterator[Bars | None]:
    """Inside, the bars are on the screen; None where that is no terminal, a dumb one, or colours are not welcome."""
    if not console.is_terminal or console.is_dumb_terminal or "NO_COLOR" in os.environ:
        yield None
        return
    drawn_bars = Bars(console)
    with drawn_bars.progress:
        yield drawn_bars
