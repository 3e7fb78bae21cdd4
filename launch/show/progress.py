"""How far an experiment is: bars that stay in place, in a terminal."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from launch.standing.so_far import Standing
from launch.text import duration


class Bars:
    """One bar for all stages, and one for each that runs."""

    def __init__(self, console: Console) -> None:
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
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
        more = ", ".join([*states, *([] if not seconds else [f"about {duration(seconds)} left"])])
        self.progress.update(
            self._all,
            completed=count_finished,
            total=standing.total,
            so_far=f"{count_finished}/{standing.total}",
            more=more,
        )
        now = {stage.name: stage for stage in standing.running}
        for name in self._running.keys() - now.keys():
            self.progress.remove_task(self._running.pop(name))
        for name, stage in now.items():
            if name not in self._running:
                self._running[name] = self.progress.add_task(f"  {name}", total=None, so_far="", more="")
            if stage.total:
                so_far = f"{stage.step}/{stage.total}"
                self.progress.update(self._running[name], completed=stage.step, total=stage.total, so_far=so_far)


@contextmanager
def bars(console: Console) -> Iterator[Bars | None]:
    """Inside, the bars are on the screen; None where that is no terminal, a dumb one, or colours are not welcome."""
    if not console.is_terminal or console.is_dumb_terminal or "NO_COLOR" in os.environ:
        yield None
        return
    drawn_bars = Bars(console)
    with drawn_bars.progress:
        yield drawn_bars
