"""Collecting beside a command that waits: in its own time, told in a line, and in nobody's way."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from launch import submit
from launch.plan import Plan
from launch.store import collects, provenance
from launch.submit import beside
from launch.submit.beside import Collector
from tests.launch import stub_job
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Scheduler

SLURM = {"executor": "slurm", "partition": "gpu"}


@pytest.fixture
def plan(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """All of it finished, and not collected."""
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    with Scheduler(stub_job.work).installed() as scheduler:
        plan = workspace.plan(cluster=SLURM, seeds=["1"], collect={"job": "false", "every": "5", "report": "false"})
        submit.submit(plan)
        scheduler.run_all()
    return plan


def _results(plan: Plan) -> Path:
    return collects.results_folder(plan.experiment.store, plan.experiment.name)


def _wait(collector: Collector, count: int) -> None:
    patience = time.monotonic() + 60
    while collector.is_at_work:
        assert time.monotonic() < patience
        time.sleep(0.05)
        collector.look(count)


@pytest.mark.slow
def test_it_starts_when_more_is_finished_and_it_is_time(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, now, monotonic = list[str](), 0.0, time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + now)
    collector = Collector(plan, "watch", lines.append)
    for count, minutes, starts in [(2, 0, False), (3, 4, False), (3, 6, True), (3, 20, False), (4, 21, True)]:
        now = 60.0 * minutes
        collector.look(count)
        assert collector.is_at_work == starts, (count, minutes)
        _wait(collector, count)
    collector.look(5)
    assert not collector.is_at_work
    collector.look(5, is_over=True)
    assert collector.is_at_work
    _wait(collector, 5)
    assert lines == [] and (_results(plan) / "table.md").exists()
    note = collects.last_note(plan.experiment.store, plan.experiment.name)
    assert note is not None and note.by == "watch"


@pytest.mark.slow
def test_what_is_wrong_is_one_line_once(plan: Plan) -> None:
    lines = list[str]()
    (plan.experiment.path.parent / "model" / "config.json").unlink()
    collector = Collector(plan, "submit --wait", lines.append)
    collector.end(3)
    collector.end(3)
    (line,) = lines
    assert line.startswith("collect: data or model of small are not what they were")
    assert not (_results(plan) / "table.md").exists()


@pytest.mark.slow
def test_one_that_failed_is_tried_again_in_its_time(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, now, monotonic = list[str](), 0.0, time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + now)
    config = plan.experiment.path.parent / "model" / "config.json"
    content = config.read_bytes()
    config.unlink()
    collector = Collector(plan, "watch", lines.append)
    collector.look(0)
    collector.look(3, is_over=True)
    _wait(collector, 3)
    assert len(lines) == 1
    collector.look(3, is_over=True)
    assert not collector.is_at_work  # not again and again
    config.write_bytes(content)
    now = 360.0
    collector.look(3, is_over=True)
    assert collector.is_at_work
    _wait(collector, 3)
    assert len(lines) == 1 and (_results(plan) / "table.md").exists()
    now = 720.0
    collector.look(3, is_over=True)
    assert not collector.is_at_work


class _Unkillable(subprocess.Popen[bytes]):
    """As one that waits for a dead file system."""

    def kill(self) -> None:
        pass


@pytest.mark.parametrize("kind", [subprocess.Popen, _Unkillable])
def test_what_hangs_holds_nobody_up(plan: Plan, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    monkeypatch.setattr(beside, "_STOP_SECONDS", 0.1)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    collector, output = Collector(plan, "watch", print), tempfile.TemporaryFile()  # noqa: SIM115 - the collector's
    process = kind([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        collector._running = beside._Process(process, output, 1)
        collector.stop()
        assert not collector.is_at_work and output.closed
        assert (process.poll() is None) == (kind is _Unkillable)
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_who_watches_anothers_experiment_collects_nothing(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (plan.experiment.store, os.W_OK))
    collector = Collector(plan, "watch", print)
    collector.look(0)
    collector.look(1, is_over=True)
    assert not collector.is_at_work and not _results(plan).exists()


def test_who_leaves_leaves_no_process(plan: Plan) -> None:
    collector = Collector(plan, "watch", print)
    collector.look(0)
    collector.look(1, is_over=True)
    process: Any = collector.process
    collector.stop()
    collector.stop()
    assert not Path(f"/proc/{process.pid}").exists() and not collector.is_at_work


def test_it_is_niced(plan: Plan) -> None:
    collector = Collector(plan, "watch", print)
    collector.look(0)
    collector.look(1, is_over=True)
    process: Any = collector.process
    patience = time.monotonic() + 30
    while os.getpriority(os.PRIO_PROCESS, process.pid) <= os.getpriority(os.PRIO_PROCESS, 0):
        assert process.poll() is None and time.monotonic() < patience
        time.sleep(0.001)
    collector.stop()


def test_every_0_is_never(plan: Plan, workspace: Workspace) -> None:
    never = workspace.plan(cluster=SLURM, seeds=["1"])
    lines = list[str]()
    collector = Collector(never, "watch", lines.append)
    collector.look(0)
    collector.look(1, is_over=True)
    collector.end(3)
    assert not collector.is_at_work and not _results(never).exists() and lines == []
