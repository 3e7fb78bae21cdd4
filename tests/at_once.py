"""Several real processes that do the same thing at the same time."""

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest

# Forked, so that they are at the same step within microseconds; what they run is files only, no torch.
_FORK = multiprocessing.get_context("fork")
_SECONDS = 30


def trials(count: int) -> list[Any]:
    """Numbers of trials, for `parametrize`: of what chance decides, one is quick and the others are slow."""
    return [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, count))]


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What `count` processes answer that call `work(number)` together; AssertionError where one fails or hangs."""
    barrier = _FORK.Barrier(count)
    ends = [_FORK.Pipe(duplex=False) for _ in range(count)]
    processes = [_FORK.Process(target=_run, args=(barrier, ends[n][1], work, n), daemon=True) for n in range(count)]
    for process in processes:
        process.start()
    try:
        return [_answer(process, receiver) for process, (receiver, _) in zip(processes, ends, strict=True)]
    except BaseException:
        for process in processes:
            process.kill()
        raise
    finally:
        for process in processes:
            process.join(_SECONDS)


def _answer(process: BaseProcess, receiver: Connection) -> Any:
    if not receiver.poll(_SECONDS):
        assert process.pid is not None
        os.kill(process.pid, signal.SIGABRT)  # pytest's faulthandler says where it stands
        process.join(1)
        raise AssertionError("a process hangs")
    answer, failure = receiver.recv()
    assert failure is None, failure
    return answer


def _run(barrier: Barrier, sender: Connection, work: Callable[[int], Any], number: int) -> None:
    barrier.wait(_SECONDS)
    try:
        sender.send((work(number), None))
    except BaseException:
        sender.send((None, traceback.format_exc()))
