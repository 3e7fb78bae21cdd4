"""The looking thread: what it leaves behind, and how seldom it looks."""

import shutil
import subprocess
from pathlib import Path

import pytest

from launch import submit
from launch.plan import Plan
from launch.store import provenance
from launch.submit.beside import Collector
from launch.watch import looking
from launch.watch.looking import Experiment
from tests.launch.workspace import Workspace
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


class _Counting(Collector):
    """Starts no process; notes with how many stages one would have been started."""

    def _start(self, finished_count: int) -> None:
        self.collected = finished_count
        counts.append(finished_count)


counts: list[int] = []


def test_what_is_watched_is_collected_when_it_is_over(
    scheduler: Scheduler, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not at once where all was over before anybody watched."""
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    plan = workspace.plan(cluster={"executor": "slurm", "partition": "gpu"}, seeds=["1"], collect={"job": "false"})
    submit.submit(plan)
    counts.clear()
    watched = Experiment(plan, collector=_Counting(plan, "watch", print))
    watched.look()
    assert counts == []
    scheduler.run_all()
    scheduler.now += 70
    watched.look()
    assert counts == [len(plan.stages)]
    watched.look()
    Experiment(plan, collector=_Counting(plan, "watch", print)).look()
    assert counts == [len(plan.stages)]
