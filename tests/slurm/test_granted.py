"""What a process has, by its control groups and its affinity, and a line for each thing of which that is too little."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm import granted
from slurm.granted import Granted
from slurm.resources import Asked
from tests.paths import ROOT

MB = 1 << 20
STEP = "slurm/uid_1000/job_7/step_0"


def _process(root: Path, files: dict[str, str], groups: str, mounts: str) -> Path:
    """A process's folder in /proc: its groups, and the mounts below `root` with the files in them."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content + "\n")
    proc = root / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(groups)
    (proc / "mountinfo").write_text(mounts.replace("ROOT", str(root)))
    return proc


def _version_1(root: Path, files: dict[str, str], mounted: str = "/", place: str = f"/{STEP}") -> Path:
    groups = f"5:memory:{place}\n4:cpu,cpuacct:{place}\n1:name=systemd:/init.scope\n0::/\n"
    mounts = (
        f"30 25 0:26 {mounted} ROOT/memory rw shared:9 - cgroup cgroup rw,memory\n"
        f"31 25 0:27 {mounted} ROOT/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        "32 25 0:28 / ROOT/unified rw - cgroup2 cgroup2 rw\n22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
    )
    return _process(root, files, groups, mounts)


def _version_2(root: Path, files: dict[str, str], place: str = f"/{STEP}/user/task_0") -> Path:
    mounts = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 25 0:26 / ROOT/fs rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
    return _process(root, files, f"0::{place}\n", mounts)


def test_version_2_takes_the_least_limit_above_a_process(tmp_path: Path) -> None:
    files = {
        f"fs/{STEP}/user/task_0/memory.max": "max",
        f"fs/{STEP}/memory.max": str(900 * MB),
        "fs/slurm/uid_1000/job_7/memory.max": str(800 * MB),
        "fs/slurm/memory.max": "max",
        f"fs/{STEP}/cpu.max": "100000 100000",
        "fs/slurm/cpu.max": "max 100000",
        "fs/elsewhere/memory.max": "1",
    }
    proc = _version_2(tmp_path, files)
    assert (granted.memory(proc), granted.cores(proc)) == (800, 1)


def test_version_1_keeps_each_controller_in_a_tree_of_its_own(tmp_path: Path) -> None:
    files = {
        f"memory/{STEP}/memory.limit_in_bytes": str(700 * MB),
        "memory/memory.limit_in_bytes": "9223372036854771712",
        f"cpu/{STEP}/cpu.cfs_quota_us": "-1",
        f"cpu/{STEP}/cpu.cfs_period_us": "100000",
        "cpu/slurm/cpu.cfs_quota_us": "150000",
        "cpu/slurm/cpu.cfs_period_us": "100000",
    }
    proc = _version_1(tmp_path, files)
    assert (granted.memory(proc), granted.cores(proc)) == (700, 1)


def test_a_container_shows_a_part_of_the_tree(tmp_path: Path) -> None:
    proc = _version_1(
        tmp_path, {"memory/step_0/memory.limit_in_bytes": str(64 * MB)}, "/slurm/uid_1000/job_7", f"/{STEP}"
    )
    assert granted.memory(proc) == 64
    (other := tmp_path / "other").mkdir()
    outside = _version_1(other, {"memory/memory.limit_in_bytes": str(32 * MB)}, "/docker/abc", "/elsewhere")
    assert granted.memory(outside) == 32


def test_without_control_groups_only_the_affinity_counts(tmp_path: Path) -> None:
    bound = len(os.sched_getaffinity(0))
    assert (granted.memory(tmp_path), granted.cores(tmp_path)) == (None, bound)
    no_limits = _version_2(tmp_path, {"fs/cpu.max": "max 100000", "fs/memory.max": "max"})
    assert (granted.memory(no_limits), granted.cores(no_limits)) == (None, bound)


def test_a_process_that_is_bound_has_so_many_cores() -> None:
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); from slurm import granted as g; "
    code += "print(g.look(1, 3).cores, g.look(1, 3).gpus)"
    process = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.split() == ["1", "3"]


def test_a_real_control_group_limits_what_is_there() -> None:
    """Of version 1 or 2, whichever this machine's root may make."""
    trees = {Path("/sys/fs/cgroup/memory"): "memory.limit_in_bytes", Path("/sys/fs/cgroup"): "memory.max"}
    group: Path | None = None
    for tree, name in trees.items():
        folder = tree / f"stepstone-test-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        if (folder / name).exists():
            group = folder
            break
        folder.rmdir()
    if group is None:
        pytest.skip("no control group for memory can be made here")
    try:
        (group / trees[group.parent]).write_text(str(300 * MB))
        code = "import os, pathlib, sys; pathlib.Path(sys.argv[1], 'cgroup.procs').write_text(str(os.getpid())); "
        code += "from slurm import granted; print(granted.memory())"
        command, environment = [sys.executable, "-c", code, str(group)], os.environ | {"PYTHONPATH": str(ROOT)}
        process = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert process.stdout == "300\n"
    finally:
        group.rmdir()


@pytest.mark.parametrize(
    ("environment", "count"),
    [
        ({}, None),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2"}, 3),
        ({"CUDA_VISIBLE_DEVICES": ""}, 0),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, 0),
        ({"CUDA_VISIBLE_DEVICES": "1,-1,2"}, 1),
        ({"CUDA_VISIBLE_DEVICES": "MIG-a1/2/0, GPU-8a6f"}, 2),
        ({"ROCR_VISIBLE_DEVICES": "0"}, 1),
    ],
)
def test_gpus_that_the_environment_shows(environment: dict[str, str], count: int | None) -> None:
    assert granted.visible_gpus(environment) == count


@pytest.mark.parametrize(
    ("asked", "had", "said"),
    [
        (Asked(tasks=4, gpus=4, cores=1), Granted(1, 1, 4), "4 processes asked for, 1 started;"),
        (
            Asked(cores=2),
            Granted(1, 1),
            "2 cores a process asked for, 1 to use; where the site binds too narrowly, write",
        ),
        (Asked(), Granted(1, 1), "8 cores a process in the job, 1 to use; write cluster: {cpus-per-task: 8}"),
        (Asked(tasks=2), Granted(2, 2), "4 cores a process in the job, 2 to use; write cluster: {cpus-per-task: 4}"),
        (Asked(gpus=4, tasks=4), Granted(4, 2, 0), "4 GPUs a node asked for, 0 to be seen;"),
        (Asked(gpus=4), Granted(1, 8, 1), "4 GPUs a node asked for, 1 to be seen;"),
        (Asked(memory=8192), Granted(1, 8, memory=4096), "8,192 MB of memory a node asked for, 4,096 MB to use"),
    ],
)
def test_each_thing_that_falls_short_is_a_line(asked: Asked, had: Granted, said: str) -> None:
    (line,) = granted.compare(asked, had, {"SLURM_CPUS_ON_NODE": "8"}).short_of
    assert line.startswith(said) and "\n" not in line


@given(st.integers(1, 8), st.integers(1, 16), st.integers(0, 8), st.none() | st.integers(1, 9999), st.integers(0, 64))
def test_what_was_asked_for_or_more_is_no_difference(
    tasks: int, cores: int, gpus_of_each: int, memory: int | None, more: int
) -> None:
    asked = Asked(2, tasks, cores, gpus_of_each * tasks, memory)
    # Each process may see all GPUs of the node, or its own.
    for gpus in (gpus_of_each * tasks, gpus_of_each, None):
        had = Granted(2 * tasks, cores + more, gpus, None if memory is None else memory + more)
        assert granted.compare(asked, had, {}) == had
    assert granted.cores_to_use(asked, {}) <= cores
