"""log.jsonl: a line per step, per interval about speed, per point of dev, per epoch. Rank 0 writes.

A step: step, epoch, task, loss, learning_rate, grad_norm, examples, tokens, seconds.
An interval: interval [first step, last step], and of it tokens_per_second and samples_per_second (over all ranks), mfu
(of all ranks' devices; null: the device's peak is unknown), padding (share of computed tokens, this rank's), data_wait,
optimizer and stall (shares of the time: waiting for data, updating, copying a checkpoint).
A point of dev: dev_point (steps done), progress (share of the training at which it was due), task, head, metrics.
The last line says where the time of the whole stage went; the job writes it (`launch.store.times`).
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from training.flops import mfu

T = TypeVar("T")
_SECONDS = 30.0  # at least between two lines about speed


@dataclass
class Times:
    """Sums since the last line about speed. Seconds are rank 0's."""

    steps: int = 0
    examples: int = 0
    tokens: int = 0
    filler: int = 0
    computed: int = 0
    flops: float = 0.0
    data_wait: float = 0.0
    update: float = 0.0
    stall: float = 0.0


class TrainingLog:
    """What happens in a stage, to log.jsonl. `peak`: FLOP/s of one rank's device, if known."""

    def __init__(self, out: Path, *, first: bool, world: int, peak: float | None = None) -> None:
        self._path, self._first, self._world, self.peak = out / "log.jsonl", first, world, peak
        self.times = Times()
        self._since = time.monotonic()

    def line(self, **values: Any) -> None:
        if self._first:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")

    def step_done(self, number: int) -> None:
        """A line about speed, where it is time for one."""
        if time.monotonic() - self._since >= _SECONDS:
            self.interval(number)

    def interval(self, last: int) -> None:
        """The line about the steps since the line before; nothing where there were none."""
        sums, seconds = self.times, time.monotonic() - self._since
        if sums.steps and seconds > 0:
            rate = mfu(sums.flops, seconds, self.peak, self._world)
            self.line(
                interval=[last - sums.steps + 1, last],
                seconds=round(seconds, 3),
                tokens_per_second=round(sums.tokens / seconds, 1),
                samples_per_second=round(sums.examples / seconds, 2),
                mfu=None if rate is None else round(rate, 4),
                padding=round(sums.filler / max(1, sums.computed), 4),
                data_wait=round(sums.data_wait / seconds, 4),
                optimizer=round(sums.update / seconds, 4),
                stall=round(sums.stall / seconds, 4),
            )
        self.pause()

    def pause(self) -> None:
        """Begin a new interval here: what went before (scoring dev) is no training."""
        for field in fields(self.times):
            setattr(self.times, field.name, field.default)
        self._since = time.monotonic()


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """What a call gives, and its seconds."""
    started_at = time.monotonic()
    return call(), time.monotonic() - started_at
