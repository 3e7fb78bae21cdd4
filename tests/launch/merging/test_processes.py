"""The processes that `collect` lists and reads with: what they do at once, and that none outlives it."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import psutil
import pytest

from launch.merging import history, reading, scan
from tests.launch.merging import published
from tests.launch.workspace import Workspace

pytestmark = pytest.mark.usefixtures("settled")


@pytest.mark.parametrize("fails", [False, True])
def test_a_fork_lists_half_of_many_stages(workspace: Workspace, monkeypatch: Any, fails: bool) -> None:
    plan = workspace.plan()
    store, stages = published.publish(plan), plan.stages.values()
    scans = scan.of_stages(plan, store, stages)
    monkeypatch.setattr(scan, "_WORTH", 3)
    here, lines_of = os.getpid(), scan._lines

    def in_the_fork(folder: str) -> Any:
        if os.getpid() != here:
            raise OSError(5, "Input/output error")
        return lines_of(folder)

    if fails:
        monkeypatch.setattr(scan, "_lines", in_the_fork)
    children_before = _children()
    assert scan.of_stages(plan, store, stages) == scans and len(scans) == 13
    assert _children() <= children_before  # none is left


def _children() -> set[int]:
    """This process's, those too that nobody waited for."""
    return {child.pid for child in psutil.Process().children()}


def _killed_elsewhere(request: int) -> int:
    if parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return request


def test_without_room_for_a_second_process_one_does_all(workspace: Workspace, monkeypatch: Any) -> None:
    def no_room() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(reading, "_WORTH", 0)
    assert list(reading.each(_killed_elsewhere, range(50), 50)) == list(range(50))
    plan = workspace.plan()
    store = published.publish(plan)
    scans = scan.of_stages(plan, store, plan.stages.values())
    monkeypatch.setattr(scan, "_WORTH", 0)
    monkeypatch.setattr(os, "fork", no_room)
    assert scan.of_stages(plan, store, plan.stages.values()) == scans


def test_one_that_is_killed_leaves_the_day_to_the_next(workspace: Workspace, monkeypatch: Any) -> None:
    plan = workspace.plan()
    published.publish(plan)
    with monkeypatch.context() as broken:
        broken.setattr(history, "keep", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            published.collected(plan)
    collection = published.collected(plan)
    (of_today,) = (collection.path.parent / "history").iterdir()
    assert collection.changed and of_today.read_bytes() == collection.path.read_bytes()


_READS = """
import os
from launch.merging import reading
reading._WORTH = 0
if __name__ == "__main__":
    reading.each(os.system, ["echo a worker; sleep 0.1"] * 10_000, 1)
"""
_LISTS = """
import os, signal
from launch.merging import scan
here, scan._WORTH = os.getpid(), 0
def list_stage(place, unsettled_from):
    if os.getpid() == here:
        print("first", flush=True)
        os.kill(here, signal.SIGKILL)
    return scan.Scan("k" * 1000, "", {}, [])
scan._scan = list_stage
scan._scans([scan.Place("", "", "")] * 1000, 0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("script", [_READS, _LISTS])
def test_nothing_outlives_a_collector_that_is_killed(script: str, tmp_path: Path) -> None:
    path = tmp_path / "collector.py"
    path.write_text(script)
    command, environment = [sys.executable, str(path)], os.environ | {"PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, start_new_session=True) as process:
        assert process.stdout is not None and process.stdout.readline()
        process.kill()
        try:
            process.communicate(timeout=60)  # until the last that has its stdout is gone
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def test_many_files_are_read_by_two_processes(workspace: Workspace, monkeypatch: Any) -> None:
    monkeypatch.setattr(reading, "_WORTH", 10)
    plan = workspace.plan()
    published.publish(plan)
    began = time.monotonic()
    assert published.states(published.collected(plan)) == {"scored": 24}
    assert time.monotonic() - began < 60
