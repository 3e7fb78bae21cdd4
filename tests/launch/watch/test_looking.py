"""The looking thread: what it leaves behind, and how seldom it looks."""

import shutil
import subprocess
from pathlib import Path

import pytest

from launch import submit
from launch.plan import Plan
from launch.watch import looking
from launch.watch.looking import Experiment
from tests.slurm.scripted import Scheduler


def test_a_question_is_ended_and_a_change_is_not(tmp_path: Path) -> None:
    processes = {}
    for name in ("squeue", "scancel"):
        shutil.copy("/bin/sleep", tmp_path / name)
        processes[name] = subprocess.Popen([tmp_path / name, "1000"])
    try:
        looking.end_questions()
        assert processes["squeue"].wait(timeout=20) == -15
        assert processes["scancel"].poll() is None
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


@pytest.mark.slow
def test_looks_share_one_question_a_minute(scheduler: Scheduler, plan: Plan) -> None:
    """Of five watchers too: each is an object like these."""
    submit.submit(plan)
    scheduler.advance(2)
    watchers = [Experiment(plan) for _ in range(5)]
    before = scheduler.calls["squeue"]
    for _ in range(12):  # ten minutes
        for watcher in watchers:
            watcher.look()
            assert watcher.trouble is None and watcher.picture is not None
        scheduler.now += 50
    assert scheduler.calls["squeue"] - before <= 10 + 2 + 1  # the queue, its forecast every five, the beginning
