"""Two attempts at one stage, with many real processes: sleeps, SIGKILL at any time, starts over; one result, for good.

Every process does what the job does: leave where there is a result, begin, look again, work, publish.
"""

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from launch.store import attempts
from launch.store.attempts import Fenced, RunningElsewhere, Starter, attempts_of, begin
from slurm.base.files import read_sealed
from slurm.base.processes import start_time

# Not forked from here: copying the page tables of a test run of some GB takes longer than a process's whole work.
_FROM_SERVER = multiprocessing.get_context("forkserver")
_FROM_SERVER.set_forkserver_preload([__name__])
PUBLISHED, FENCED, ELSEWHERE, FINISHED = 0, 10, 11, 12
PROCESSES, RESTARTS = 8, 12

TRIALS = [("mixed", 1), *(pytest.param(kind, 30, marks=pytest.mark.slow) for kind in ("requeued", "jobs", "mixed"))]


def _start_of(kind: str, number: int) -> Starter:
    """`requeued`: all are starts of one job, so each fences those before it. `jobs`: each is a process of its own, left
    alone while it lives. `mixed`: both."""
    job = "7_0" if kind == "requeued" or (kind == "mixed" and number % 2) else None
    return Starter(job, number, "here", os.getpid(), start_time(os.getpid()))


def _work(folder: Path, kind: str, number: int, seed: float) -> int:
    chance = random.Random(seed)
    if read_sealed(folder / "result.json") is not None:
        return FINISHED
    try:
        attempt = begin(folder, _start_of(kind, number), lambda job: False)
    except RunningElsewhere:
        return ELSEWHERE
    if read_sealed(folder / "result.json") is not None:
        return FINISHED
    time.sleep(chance.random() * 0.02)
    try:
        attempt.publish({"by": number, "attempt": attempt.number})
    except Fenced:
        return FENCED
    return PUBLISHED


def _exit_with(folder: Path, kind: str, number: int, seed: float) -> None:
    os._exit(_work(folder, kind, number, seed))


def _process(folder: Path, kind: str, number: int, seed: float) -> BaseProcess:
    process = _FROM_SERVER.Process(target=_exit_with, args=(folder, kind, number, seed), daemon=True)
    process.start()
    return process


def _round(folder: Path, kind: str, seed: int) -> Counter[int]:
    """How the processes of one stage ended. AssertionError where its result changes."""
    chance = random.Random(seed)
    folder.mkdir()
    alive = [_process(folder, kind, n, chance.random()) for n in range(PROCESSES)]
    begun, seen, ends = PROCESSES, set[bytes](), Counter[int]()
    until = time.monotonic() + 20
    while alive:
        assert time.monotonic() < until, "a process hangs"
        time.sleep(chance.random() * 0.005)
        if begun < PROCESSES + RESTARTS:
            chance.choice(alive).kill()
            alive.append(_process(folder, kind, begun, chance.random()))
            begun += 1
        for process in [process for process in alive if process.exitcode is not None]:
            ends[process.exitcode or 0] += 1
            alive.remove(process)
        seen |= _content(folder)
    last = _process(folder, kind, begun, 0.0)  # the next `submit`
    last.join(20)
    ends[last.exitcode or 0] += 1
    seen |= _content(folder)
    assert len(seen) == 1, seen
    return ends


def _content(folder: Path) -> set[bytes]:
    path = folder / "result.json"
    return {path.read_bytes()} if path.exists() else set()


@pytest.mark.parametrize(("kind", "rounds"), TRIALS)
def test_one_result_whatever_is_killed(tmp_path: Path, kind: str, rounds: int) -> None:
    ends: Counter[int] = Counter()
    for number in range(rounds):
        found = _round(tmp_path / str(number), kind, number)
        assert found[PUBLISHED] <= 1, found  # none where the publisher was killed just after
        assert read_sealed(tmp_path / str(number) / "result.json") is not None
        ends += found
    known = {PUBLISHED, FENCED, ELSEWHERE, FINISHED, -signal.SIGKILL}
    assert set(ends) <= known, ends
    assert rounds == 1 or (ends[-signal.SIGKILL] and ends[FINISHED])  # by chance, so not in each round


def test_the_loser_says_fenced_and_keeps_its_work_to_itself(tmp_path: Path) -> None:
    first = begin(tmp_path, Starter("7_0", 0, "a", 1, None), lambda job: False)
    second = begin(tmp_path, Starter("7_0", 1, "b", 1, None), lambda job: False)
    with pytest.raises(Fenced):
        first.publish({"by": 1})
    assert not (tmp_path / "result.json").exists()
    second.publish({"by": 2})
    assert [attempt.is_fenced() for attempt in attempts_of(tmp_path)] == [True, True]
    assert read_sealed(tmp_path / "result.json") == {"by": 2}


@pytest.mark.parametrize("skew", [-86_400.0, 86_400.0])
def test_a_heartbeats_age_is_the_file_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skew: float) -> None:
    """A node whose clock is a day off neither fences a live attempt nor waits for a dead one."""
    first = begin(tmp_path, Starter("7_0", 0, "a", 1, None), lambda job: None)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + skew)
    with pytest.raises(RunningElsewhere):
        begin(tmp_path, Starter("8_0", 0, "b", 1, None), lambda job: None)
    old = now - attempts.STALE_SECONDS - 20
    os.utime(first.folder / "heartbeat.json", (old, old))
    assert begin(tmp_path, Starter("8_0", 0, "b", 1, None), lambda job: None).number == 2
