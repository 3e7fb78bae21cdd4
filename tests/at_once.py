"""Several real processes that do the same thing at the same time."""

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

# Forked, so that they are at the same step within microseconds; what they run is files only, no torch.
_FORK = multiprocessing.get_context("fork")
_SECONDS = 30


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What `count` processes answer that call `work(number)` together; AssertionError where one fails or hangs."""
    barrier = _FORK.Barrier(count)
    ends = [_FORK.Pipe(duplex=False) for _ in range(count)]
    processes = [_FORK.Process(target=_run, args=(barrier, ends[n][1], work, n), daemon=True) for n in range(count)]
    for process in processes:
        process.start()
    try:
        return [_answer(receiver) for receiver, _ in ends]
    finally:
        for process in processes:
            process.join(_SECONDS)


def _answer(receiver: Connection) -> Any:
    assert receiver.poll(_SECONDS), "a process hangs"
    answer, failure = receiver.recv()
    assert failure is None, failure
    return answer


def _run(barrier: Barrier, sender: Connection, work: Callable[[int], Any], number: int) -> None:
    barrier.wait(_SECONDS)
    try:
        sender.send((work(number), None))
    except BaseException:
        sender.send((None, traceback.format_exc()))
