"""Training in windows: a loop stops between two steps until it is told how many more to do, and counts what it did."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Measured:
    """Real tokens (specials included, padding not) and seconds of a window; `cpu_seconds`: of all threads together,
    which a busy machine changes little."""

    tokens: int
    seconds: float
    examples: int = 0
    cpu_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Real tokens per second."""
        return self.tokens / self.seconds


class Windows:
    """Between the steps of a training loop. `ask`: the number of steps of the next window, 0 to end."""

    def __init__(self, ask: Callable[[], int], tell: Callable[[Measured], None]) -> None:
        self._ask, self._tell = ask, tell
        self._left, self._examples, self._begun, self._cpu_begun = 0, 0, 0.0, 0.0
        self._tokens: Any = 0

    def begin(self) -> bool:
        """Before the first step. False: there is nothing to do."""
        self._left, self._tokens, self._examples = self._ask(), 0, 0
        synchronise()
        self._begun, self._cpu_begun = time.perf_counter(), time.process_time()
        return self._left > 0

    def step_done(self, tokens: Any, examples: int) -> bool:
        """After each step; `tokens`: a number, or one still on the GPU. False: it was the last."""
        self._tokens, self._examples, self._left = self._tokens + tokens, self._examples + examples, self._left - 1
        if self._left > 0:
            return True
        synchronise()
        seconds, cpu_seconds = time.perf_counter() - self._begun, time.process_time() - self._cpu_begun
        self._tell(Measured(int(self._tokens), seconds, self._examples, cpu_seconds))
        return self.begin()


def synchronise() -> None:
    """Wait for the GPU, where there is one: its work is only queued."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(work: Callable[[], object], tokens: int, examples: int) -> Measured:
    """What `work` takes, which is on so many tokens of so many examples."""
    synchronise()
    begun, cpu_begun = time.perf_counter(), time.process_time()
    work()
    synchronise()
    return Measured(tokens, time.perf_counter() - begun, examples, time.process_time() - cpu_begun)
