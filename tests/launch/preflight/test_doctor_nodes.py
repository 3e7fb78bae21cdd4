"""What doctor is told by jobs on nodes: one for each kind that the file would use, and nothing of them stays."""

import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch import experiment
from launch.cli.app import app
from launch.job.node_probe import NodeRecord
from launch.preflight.doctor import nodes
from launch.preflight.doctor.lines import Line
from launch.store import provenance
from slurm import ways
from slurm.base import UsageError
from slurm.base.files import seal, write_atomic
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Run, Scheduler

WELL = NodeRecord("node1", 0.1, packages=provenance.versions(), gpus=1, cores=2)
KINDS = """\
gpu|64|512000|gpu:a100:4|fast|idle|node[1-2]
gpu|64|512000|gpu:a100:4|fast|down*|node9
gpu|16|64000|(null)|slow|mixed|node3
gpu|8|1000|(null)|old|drained|node4
cpu|16|64000|(null)|slow|idle|node5
"""


@pytest.fixture
def scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scheduler]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    real = ways.ask
    kinds = lambda topic, every_way, read: read(KINDS) if topic == "sinfo kinds" else real(topic, every_way, read)  # noqa: E731
    monkeypatch.setattr(ways, "ask", kinds)
    with Scheduler().installed() as ready:
        yield ready


def _writes(record: NodeRecord, scheduler: Scheduler) -> None:
    def work(run: Run) -> int:
        match = re.search(r"launch.job.node_probe (\S+)", run.element.array.script)
        assert match
        write_atomic(Path(match[1]) / "node.json", seal(asdict(record)))
        return 0

    scheduler.work = work


def _lines(workspace: Workspace) -> list[Line]:
    cluster = {"executor": "slurm", "partition": "gpu", "time": "10:00:00", "exclude": "node7"}
    return list(nodes.node_lines(experiment.load(workspace.file(cluster=cluster))))


def test_every_kind_of_node_is_asked_as_the_file_asks(workspace: Workspace, scheduler: Scheduler) -> None:
    _writes(WELL, scheduler)
    lines = _lines(workspace)
    assert {line.level for line in lines} == {"ok"} and len(lines) == 15
    assert lines[0].what == "changes" and "got another throttle, and was cancelled" in lines[0].found
    flags = [array.flags for array in scheduler.arrays if "hold" not in array.flags]
    (held,) = [array for array in scheduler.arrays if "hold" in array.flags]
    assert held.throttle == 2 and not scheduler.live
    assert [flag["exclude"] for flag in flags] == ["node7,node3,node4", "node7,node[1-2],node9,node4"]
    assert {(flag["partition"], flag["time"]) for flag in flags} == {("gpu", "5")}
    assert not list(workspace.root.rglob(".stepstone-doctor*"))


def test_what_is_wrong_on_a_node_is_named_with_its_mend(workspace: Workspace, scheduler: Scheduler) -> None:
    _writes(
        replace(WELL, skew=-90.0, store="/store: Read-only file system", home="/home/ada is not there", gpus=0,
                torch="ImportError: libcuda.so.1", packages=WELL.packages | {"torch": "1.0"},
                limits=("CPU time 600 s (ulimit -t)",)),
        scheduler,
    )  # fmt: skip
    found = {line.what.partition(" on ")[0]: line for line in _lines(workspace)}
    assert {topic: line.level for topic, line in found.items() if line.level != "ok"} == {
        "store": "error", "Python": "error", "packages": "error", "clock": "warning", "home": "warning",
        "limits": "warning",
    }  # fmt: skip
    assert "torch 1.0 instead of" in found["packages"].found and "-90 s" in found["clock"].found
    assert all(line.fix for line in found.values() if line.level != "ok")


def test_a_job_that_cannot_look_says_why(workspace: Workspace, scheduler: Scheduler) -> None:
    def no_log(run: Run) -> int:
        scheduler.kill(run.element, "FAILED", 0, 53)
        return 0

    scheduler.work = no_log
    lines = _lines(workspace)[1:]
    assert {line.level for line in lines} == {"error"}
    assert "log could not be created (0:53)" in lines[0].found and "as nodes see them" in lines[0].fix


def test_a_job_that_waits_too_long_is_cancelled(workspace: Workspace, scheduler: Scheduler) -> None:
    scheduler.limits.slots = 0
    lines = _lines(workspace)[1:]
    assert {line.level for line in lines} == {"warning"} and "still waits after 5 minutes" in lines[0].found
    assert not scheduler.live
    assert scheduler.calls["squeue"] < 2 * nodes.PATIENCE / 15  # for both jobs together


def test_a_job_that_slurm_took_without_a_word_is_cancelled(workspace: Workspace, scheduler: Scheduler) -> None:
    scheduler.limits.slots = 0
    scheduler.send_faults += ["silent-accepted", "refused"]
    assert {line.level for line in _lines(workspace)} <= {"warning", "error"}
    assert scheduler.arrays and not scheduler.live
    assert not list(workspace.root.rglob(".stepstone-doctor*"))


def test_a_throttle_that_cannot_be_changed_is_named(workspace: Workspace, scheduler: Scheduler) -> None:
    _writes(WELL, scheduler)
    scheduler.errors["scontrol update"] = "slurm_update error: Access/permission denied"
    (line,) = [line for line in _lines(workspace) if line.what == "scontrol update"]
    assert line.level == "warning" and "Access/permission denied" in line.found and "keeps its throttle" in line.fix
    assert not scheduler.live and any("hold" in array.flags for array in scheduler.arrays)


def test_kinds_that_take_no_such_job_are_left_out(workspace: Workspace, scheduler: Scheduler) -> None:
    scheduler.errors["sbatch"] = (
        "sbatch: error: Batch job submission failed: Requested node configuration is not available"
    )
    (line,) = _lines(workspace)
    assert line.level == "warning" and line.found == "no job could be sent"


def test_it_needs_a_file_for_slurm(workspace: Workspace) -> None:
    for arguments in (["--nodes"], [str(workspace.file(cluster={"executor": "local"})), "--nodes"]):
        done = CliRunner().invoke(app, ["doctor", *arguments])
        assert isinstance(done.exception, UsageError), arguments
