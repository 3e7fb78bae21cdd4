"""How tests drive the app: Textual's pilot, with looks that are made when a test asks for one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from launch.plan import Plan
from launch.watch import looking
from launch.watch.app import WatchApp
from launch.watch.asking import Question
from launch.watch.grid import Grid
from slurm import snapshot

SIZE = (80, 24)
_PATIENCE = 20.0  # seconds, on a busy machine


class Drive:
    """The app under a pilot."""

    def __init__(self, app: WatchApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for it; a test fails that waits in vain."""
        end = asyncio.get_running_loop().time() + _PATIENCE
        while not is_so():
            assert asyncio.get_running_loop().time() < end, f"in vain; on the screen:\n{self.text}"
            await self.pilot.pause(0.01)
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def look(self) -> None:
        """Have the experiment looked at anew, by the key for it, and Slurm asked as after a change."""
        looks = self.app.shown.looks
        snapshot.changed()
        await self.press("g")
        await self.until(lambda: self.app.shown.looks > looks)

    async def question(self) -> Question:
        """The one that comes up."""
        await self.until(lambda: isinstance(self.app.screen, Question))
        assert isinstance(self.app.screen, Question)
        return self.app.screen

    async def said(self, words: str) -> None:
        """Until that was said in a toast."""
        await self.until(lambda: any(words in note.message for note in self.app._notifications))

    async def shows(self, words: str) -> None:
        await self.until(lambda: words in self.text)

    def shown(self, name: str) -> str:
        """The text of one line."""
        return str(self.app.screen_stack[0].query_one(f"#{name}", Static).render())

    def grid(self, name: str) -> Grid:
        return self.app.screen.query_one(f"#{name}", Grid)

    @property
    def text(self) -> str:
        """What is on the screen, as text."""
        lines: list[str] = []
        with suppress(Exception):  # while it changes
            width = self.app.size.width
            lines = [
                "".join(s.text for s in strip).ljust(width) for strip in self.app.screen._compositor.render_strips()
            ]
        return "\n".join(line.rstrip() for line in lines)


def drive(
    monkeypatch: pytest.MonkeyPatch,
    plans: Plan | Sequence[Plan],
    steps: Callable[[Drive], Awaitable[None]],
    size: tuple[int, int] = SIZE,
) -> None:
    """Run the app headless, wait for the first look, and go through the steps."""
    monkeypatch.setattr(looking, "_SECONDS", 3600.0)
    monkeypatch.setattr(looking, "_MOST_SECONDS", 3600.0)

    async def run() -> None:
        app = WatchApp([plans] if isinstance(plans, Plan) else list(plans))
        async with app.run_test(size=size) as pilot:
            driven = Drive(app, pilot)
            await driven.until(lambda: app.shown.looks > 0)
            await steps(driven)
        app.looker.stop()

    asyncio.run(run())
