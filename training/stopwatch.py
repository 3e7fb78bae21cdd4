"""Where the time of a stage goes: each moment belongs to the innermost phase that its main thread is in."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

# load: the model, its checks and the engine on it; tokenise: data read and encoded, or taken from the cache; dev: its
# score after an epoch; save: what is written and hashed of the stage, results included; evaluate: a target's languages.
Phase = Literal["load", "tokenise", "train", "dev", "save", "evaluate"]


class Stopwatch:
    """The seconds of each phase so far, and of what lies outside of all. For one thread."""

    def __init__(self) -> None:
        self.seconds: dict[Phase | None, float] = {}
        self._open: list[Phase | None] = [None]
        self._since = time.monotonic()

    @contextmanager
    def inside(self, phase: Phase) -> Iterator[None]:
        self._settle()
        self._open.append(phase)
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def read(self) -> dict[Phase | None, float]:
        """The seconds until now; None: outside of all phases."""
        self._settle()
        return dict(self.seconds)

    def _settle(self) -> None:
        now, phase = time.monotonic(), self._open[-1]
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._since
        self._since = now


_CURRENT: ContextVar[Stopwatch | None] = ContextVar("_CURRENT", default=None)  # other threads see none


@contextmanager
def timing() -> Iterator[Stopwatch]:
    """Inside, `phase` counts on this stopwatch."""
    watch = Stopwatch()
    token = _CURRENT.set(watch)
    try:
        yield watch
    finally:
        _CURRENT.reset(token)


@contextmanager
def phase(name: Phase) -> Iterator[None]:
    """Inside (also as a decorator), time is `name`'s, unless an inner phase takes it, where somebody counts."""
    watch = _CURRENT.get()
    if watch is None:
        yield
        return
    with watch.inside(name):
        yield
