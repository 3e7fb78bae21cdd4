"""What doctor looks at, and that each thing that is wrong is named with its fix."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch import experiment
from launch.experiment import Experiment
from launch.preflight.doctor import Line, cluster, filesystem, machine, shell
from slurm import commands, room
from tests.launch.workspace import Workspace
from tests.slurm.answers import install
from tests.slurm.scripted import Limits, Scheduler


@pytest.fixture
def scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scheduler]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Scheduler(limits=Limits(submit=50)).installed() as made:
        yield made


def _on_slurm(workspace: Workspace, **cluster: str) -> Experiment:
    return experiment.load(workspace.file(cluster={"executor": "slurm", **cluster}))


def _by_name(lines: list[Line]) -> dict[str, Line]:
    assert all((line.fix == "") == (line.level == "ok") for line in lines), lines
    return {line.what: line for line in lines}


def test_a_cluster_that_is_well(workspace: Workspace, scheduler: Scheduler) -> None:
    found = _by_name(list(cluster.slurm_lines(_on_slurm(workspace, partition="gpu", time="1:00:00"))))
    assert {line.level for line in found.values()} == {"ok"}
    assert "22.05.8" in found["Slurm"].found and "MaxArraySize 1001" in found["limits"].found
    assert "50 jobs" in found["limits"].found and "sdiag" not in found["calls"].found
    assert found["commands"].found.endswith(
        "squeue, scontrol show partition, sinfo, sacct --jobs, sacct --jobs (used), sacctmgr, scontrol update, "
        "scancel, sbatch"
    )


def test_a_cluster_that_does_not_answer(workspace: Workspace, scheduler: Scheduler) -> None:
    scheduler.ctld = "down"
    (line,) = cluster.slurm_lines(_on_slurm(workspace))
    assert line.level == "error" and "Unable to contact slurm controller" in line.found
    scheduler.missing = {"scontrol"}
    (line,) = cluster.slurm_lines(None)
    assert line.level == "warning" and "scontrol not found" in line.found


@pytest.mark.parametrize(("has", "up", "words"), [(False, True, "none here"), (True, False, "does not answer")])
def test_accounting(workspace: Workspace, scheduler: Scheduler, has: bool, up: bool, words: str) -> None:
    scheduler.has_accounting, scheduler.dbd_up = has, up
    line = _by_name(list(cluster.slurm_lines(_on_slurm(workspace))))["accounting"]
    assert line.level == "warning" and words in line.found


def test_what_the_file_asks_for_and_the_cluster_lacks(workspace: Workspace, scheduler: Scheduler) -> None:
    scheduler.limits.partitions = {"debug": 600.0}
    found = _by_name(list(cluster.slurm_lines(_on_slurm(workspace, partition="debug", time="1:00:00"))))
    assert found["limits"].level == "error" and "10 minutes or less" in found["limits"].fix
    found = _by_name(list(cluster.slurm_lines(_on_slurm(workspace, partition="gpu"))))
    assert found["limits"].level == "error" and "partition: debug" in found["limits"].fix
    scheduler.limits.may_requeue = False
    found = _by_name(list(cluster.slurm_lines(_on_slurm(workspace))))
    assert found["requeue"].level == "warning"


def test_what_a_sites_own_commands_refuse_is_said_in_their_words(workspace: Workspace, scheduler: Scheduler) -> None:
    scheduler.unknown_options["squeue"] = {"--all"}
    scheduler.errors["sinfo"] = "sinfo: not for users"
    lines = _by_name(list(cluster.slurm_lines(_on_slurm(workspace))))
    assert lines["squeue"].level == "ok" and "asked as `squeue -h -a -u" in lines["squeue"].found
    assert "unrecognized option '--all'" in lines["squeue"].found
    assert lines["sinfo"].level == "warning" and "not for users" in lines["sinfo"].found
    assert "sinfo: not for users" in lines["words"].found
    scheduler.errors["squeue"] = "squeue: ERROR: ask the help desk"
    line = _by_name(list(cluster.slurm_lines(_on_slurm(workspace))))["squeue"]
    assert line.level == "error" and "ask the help desk" in line.found and "nothing is sent" in line.fix


def test_commands_that_change_jobs_are_tried_on_none(workspace: Workspace, scheduler: Scheduler) -> None:
    others = scheduler.add_others(3)
    scheduler.errors["scancel"] = "scancel: error: use the portal to cancel"
    lines = _by_name(list(cluster.slurm_lines(_on_slurm(workspace))))
    line = lines["scancel"]
    assert (line.level, line.found) == ("error", "refuses: use the portal to cancel") and "no job can be" in line.fix
    assert "scontrol update" in lines["commands"].found and all(element.live for element in others.elements)


def test_a_wish_of_the_shell_that_stops_submit_is_an_error(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_MEM_PER_NODE", "much")
    lines = [line for line in shell.shell_lines(_on_slurm(workspace)) if line.level == "error"]
    assert [line.found.partition(":")[0] for line in lines] == ["SBATCH_MEM_PER_NODE"]
    assert lines[0].fix == "unset it, or write cluster: {mem: …}"


def test_sbatch_is_asked_whether_it_would_take_it(workspace: Workspace, scheduler: Scheduler) -> None:
    line = _by_name(list(cluster.slurm_lines(_on_slurm(workspace, account="nobody"))))["sbatch"]
    assert line.level == "error" and "Invalid account" in line.found and "cluster:" in line.fix
    assert not scheduler.arrays


def test_a_loop_around_status_is_noticed(workspace: Workspace, scheduler: Scheduler) -> None:
    for _ in range(300):
        commands.run(["scontrol", "ping"])
    line = _by_name(list(cluster.slurm_lines(_on_slurm(workspace))))["calls"]
    assert line.level == "warning" and "scontrol 30" in line.found


def test_the_store_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    found = _by_name(list(filesystem.store_lines(tmp_path / "not" / "yet", on_slurm=False)))
    assert found["store"].level in ("ok", "warning") and found["clock"].level == "ok"
    assert set(found) == {"store", "clock", "space", "inodes", "shared"}
    assert os.listdir(tmp_path) == []


def test_a_clock_that_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 90)
    line = _by_name(list(filesystem.store_lines(tmp_path, on_slurm=False)))["clock"]
    assert line.level == "warning" and "+90 s" in line.found


def test_a_store_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    line = _by_name(list(filesystem.store_lines(tmp_path, on_slurm=False)))["store"]
    assert "no hard ones" in line.found or "takes" in line.found
    monkeypatch.setattr(os, "symlink", refuse)
    line = _by_name(list(filesystem.store_lines(tmp_path, on_slurm=False)))["store"]
    assert line.level == "error" and "hard or symbolic links" in line.fix
    assert os.listdir(tmp_path) == []


def test_a_store_where_a_rename_replaces_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then two attempts at a stage could have the same number."""
    monkeypatch.setattr(filesystem, "move_new", lambda source, target: True)
    line = _by_name(list(filesystem.store_lines(tmp_path, on_slurm=False)))["store"]
    assert line.level == "error" and "not atomic" in line.found


@pytest.mark.parametrize(
    ("options", "level", "words"),
    [
        ("rw,vers=4.2,hard,acregmax=60", "ok", "60 s old"),
        ("rw,hard,nocto", "warning", "nocto"),
        ("rw,hard,acdirmax=600", "warning", "600 s old"),
        ("rw,actimeo=3,soft", "warning", "soft"),
    ],
)
def test_how_nfs_is_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, level: str, words: str
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 {options} 0 0\n")
    monkeypatch.setattr(room, "_MOUNTS", mounts)
    line = _by_name(list(filesystem.store_lines(tmp_path, on_slurm=True)))["client"]
    assert line.level == level and words in line.found and bool(line.fix) == (level != "ok")


def test_a_full_disk_and_one_without_inodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(tmp_path)
    fields = list(real)[:10]
    fields[4] = fields[3] = 1000  # blocks
    fields[7] = fields[6] = 20_000  # inodes
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(fields))
    found = _by_name(list(filesystem.store_lines(tmp_path, on_slurm=False)))
    assert found["space"].level == "error" and found["inodes"].level == "warning"


def test_a_store_of_this_machine_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "mount_of", lambda path: ("/", "ext4"))
    assert _by_name(list(filesystem.store_lines(tmp_path, on_slurm=True)))["shared"].level == "warning"
    monkeypatch.setattr(filesystem, "mount_of", lambda path: ("/", "nfs4"))
    assert _by_name(list(filesystem.store_lines(tmp_path, on_slurm=True)))["shared"].level == "ok"


def test_packages_beside_constraints(tmp_path: Path) -> None:
    pins = tmp_path / "constraints.txt"
    pins.write_text("torch==2.9\nsubmitit==1.5.4\n# a comment\nrich==1\n")
    versions = {"torch": "2.9", "submitit": "1.5.4", "rich": "1"}
    assert machine.package_line(pins, versions.get).level == "ok"
    assert machine.package_line(pins, (versions | {"torch": "2.9+cpu"}).get).level == "ok"
    line = machine.package_line(pins, (versions | {"torch": "2.8"}).get)
    assert line.level == "warning" and "torch 2.8 (tested: 2.9)" in line.found and "install -c" in line.fix
    line = machine.package_line(pins, {"torch": "2.9"}.get)
    assert line.level == "error" and "submitit" in line.found
    assert machine.package_line(tmp_path / "none", versions.get).level == "ok"


def test_gpus_of_the_cluster(workspace: Workspace, scheduler: Scheduler) -> None:
    asked = experiment.load(workspace.file(cluster={"executor": "slurm", "gpus-per-node": 1, "partition": "gpu"}))
    line = machine.gpu_line(asked)
    assert line.level == "error" and "partition gpu has no GPUs" in line.found


def test_a_list_of_partitions(workspace: Workspace, scheduler: Scheduler) -> None:
    scheduler.limits.partitions = {"debug": 600.0, "gpu": 86400.0}
    line = _by_name(list(cluster.slurm_lines(_on_slurm(workspace, partition="gpu,debug", time="5"))))["limits"]
    assert line.level == "ok"
    line = _by_name(list(cluster.slurm_lines(_on_slurm(workspace, partition="gpu,debug", time="20"))))["limits"]
    assert line.level == "error" and "over debug's limit" in line.found
    line = _by_name(list(cluster.slurm_lines(_on_slurm(workspace, partition="gpu,nowhere"))))["limits"]
    assert line.level == "error" and line.found == "no partition nowhere" and "debug | gpu" in line.fix
    line = _by_name(list(cluster.slurm_lines(_on_slurm(workspace, time="20"))))["limits"]  # of the default one
    assert line.level == "error" and "over debug's limit" in line.found


def test_preemption_is_told_as_the_cluster_has_it(workspace: Workspace, scheduler: Scheduler) -> None:
    """A setting without a value stands above it."""
    line = _by_name(list(cluster.slurm_lines(_on_slurm(workspace))))["requeue"]
    assert line.found == "allowed; preemption: REQUEUE"


def test_gpus_of_one_of_several_partitions(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, sinfo="cpu|(null)\nold|gpu:v100:4\nnew|gpu:h100:8(S:0-1)\n")
    cluster = {"executor": "slurm", "gpus-per-node": 1, "partition": "cpu,new"}
    line = machine.gpu_line(experiment.load(workspace.file(cluster=cluster)))
    assert (line.level, line.found) == ("ok", "cpu,new: gpu:h100:8(S:0-1)")


def test_the_shell_that_it_is_typed_in(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SBATCH_ACCOUNT": "nlp", "SBATCH_EXPORT": "NONE", "LD_PRELOAD": "", "MY_TOKEN": "0xT"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(shell.rlimits, "met", lambda: ("CPU time 600 s (ulimit -t)",))
    lines = list(shell.shell_lines(_on_slurm(workspace)))
    assert [line.level for line in lines] == ["ok", "ok", "warning", "ok"]
    assert "MY_TOKEN" in lines[0].found and "0xT" not in str(lines)
    assert lines[1].found == "account: nlp, from SBATCH_ACCOUNT; the file says nothing of it"
    assert "SBATCH_EXPORT=NONE is not taken" in lines[2].found and lines[2].fix == "unset it"
    assert lines[3].found == "CPU time 600 s (ulimit -t): of this shell alone, jobs have their node's"
    sent = experiment.load(workspace.file(cluster={"executor": "slurm", "sbatch": {"propagate": "CPU"}}))
    assert list(shell.shell_lines(sent))[-1].fix == "remove `sbatch: {propagate: …}`"
    local = list(shell.shell_lines(experiment.load(workspace.file())))
    assert [line.fix for line in local] == ["lift it in this shell before `submit`"]
