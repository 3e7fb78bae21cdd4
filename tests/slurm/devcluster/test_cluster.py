"""A real Slurm on this machine: what runs, where it listens, and that nothing of it stays."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from launch.cli.app import app
from slurm.base import UsageError, UserError
from slurm.devcluster import Options
from slurm.devcluster import cluster as subject
from slurm.devcluster.config import ClusterLayout, check_folder, nodes_of, real_memory, slurm_conf
from slurm.devcluster.processes import Daemons, observe
from tests.conftest import own_devcluster


def run(cluster: Any, *command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, env=cluster.environment, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def submit(cluster: Any, folder: Path, *options: str) -> str:
    """sbatch, from `folder`; the job's id."""
    return run(cluster, "sbatch", "--parsable", *options, cwd=folder).strip()


def wait_for(cluster: Any, job: str, wanted: str, *, elements: int = 1, seconds: float = 120) -> list[list[str]]:
    """sacct's rows of a job (id, state, node), once so many are in state `wanted`: accounting lags a little."""
    end = time.monotonic() + seconds
    while True:
        shown = run(cluster, "sacct", "-nPX", "-j", job, "-o", "JobID,State,NodeList")
        rows = [line.split("|") for line in shown.splitlines()]
        if [row[1] for row in rows] == [wanted] * elements:
            return rows
        assert time.monotonic() < end, shown
        time.sleep(0.1)


def wait_for_lines(path: Path, line: str, times: int = 1, seconds: float = 120) -> None:
    """Wait until a line stands so often in a file."""
    end = time.monotonic() + seconds
    while not (path.exists() and path.read_text(encoding="utf-8").splitlines().count(line) == times):
        assert time.monotonic() < end, path.read_text(encoding="utf-8") if path.exists() else f"no {path}"
        time.sleep(0.1)


def processes_of(folder: Path) -> set[int]:
    """Every living process whose environment names the cluster's folder: daemons, job steps, jobs."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or a kernel's or container's own
            if str(folder).encode() + b"/" in (process / "environ").read_bytes() and observe(int(process.name)):
                found.add(int(process.name))
    return found - {os.getpid()}


def listening(pids: set[int]) -> list[str]:
    """The addresses, in the kernel's hex, on which these processes listen (TCP over IPv4 and IPv6)."""
    inodes = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(FileNotFoundError):
                inodes.add(os.readlink(descriptor))
    rows = [
        line.split()
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text(encoding="utf-8").splitlines()[1:]
    ]
    return [row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]


# --- the shared cluster -----------------------------------------------------------------------------------------------


@pytest.mark.slurm
@pytest.mark.slow
class TestRunningCluster:
    def test_array_spreads_over_both_nodes_and_sacct_sees_it(self, devcluster: Any, tmp_path: Path) -> None:
        # 8 elements of 1 CPU that overlap: 4 fit on a node
        job = submit(devcluster, tmp_path, "--array=0-7", "--output=%a.out", "--wrap", "sleep 2; hostname")
        rows = wait_for(devcluster, job, "COMPLETED", elements=8)
        assert {row[2] for row in rows} == {"node1", "node2"}
        assert {row[0] for row in rows} == {f"{job}_{index}" for index in range(8)}
        nodes = {row[0]: row[2] for row in rows}
        for index in range(8):
            assert (tmp_path / f"{index}.out").read_text().strip() == nodes[f"{job}_{index}"]

    def test_sizes(self, devcluster: Any) -> None:
        shown = run(devcluster, "sinfo", "-hN", "-p", "gpu", "-o", "%N %c %m %G")
        assert shown.splitlines() == ["node1 4 64000 gpu:2", "node2 4 64000 gpu:2"]
        assert "MaxArraySize            = 1001" in run(devcluster, "scontrol", "show", "config")
        partitions = run(devcluster, "sinfo", "-h", "-o", "%P").split()
        assert sorted(partitions) == ["cpu", "gpu*", "preempt"]

    def test_gpus_are_given_out(self, devcluster: Any, tmp_path: Path) -> None:
        show = "srun sh -c 'echo $SLURM_PROCID $CUDA_VISIBLE_DEVICES'"
        job = submit(
            devcluster,
            tmp_path,
            "--gpus-per-node=2",
            "--ntasks-per-node=2",
            "--nodes=1",
            "--output=out",
            "--wrap",
            show,
        )
        wait_for(devcluster, job, "COMPLETED")
        assert sorted((tmp_path / "out").read_text().split("\n")[:-1]) == ["0 0,1", "1 0,1"]

    @pytest.mark.parametrize(
        ("nodes", "tasks", "places"),
        [(1, 2, [("0", "0"), ("1", "0")]), (2, 1, [("0", "0"), ("1", "1")])],
        ids=["two tasks on a node", "a task on each of two nodes"],
    )
    def test_srun(self, devcluster: Any, tmp_path: Path, nodes: int, tasks: int, places: list[tuple[str, str]]) -> None:
        show = "srun sh -c 'echo $SLURM_PROCID $SLURM_NODEID $(hostname)'"
        size = (f"--nodes={nodes}", f"--ntasks-per-node={tasks}", "--output=out")
        wait_for(devcluster, submit(devcluster, tmp_path, *size, "--wrap", show), "COMPLETED")
        lines = sorted(line.split() for line in (tmp_path / "out").read_text().splitlines())
        assert [(rank, node) for rank, node, _ in lines] == places
        assert len({host for _, _, host in lines}) == nodes

    def test_listens_on_loopback_only(self, devcluster: Any, tmp_path: Path) -> None:
        job = submit(devcluster, tmp_path, "--nodes=2", "--output=out", "--wrap", "srun sh -c 'echo up; sleep 60'")
        try:
            wait_for_lines(tmp_path / "out", "up", times=2)
            addresses = listening(processes_of(devcluster.folder))
        finally:
            run(devcluster, "scancel", job)
        assert len(addresses) >= 5  # slurmctld, slurmdbd, two slurmd, and srun's own
        assert {address[-8:] for address in addresses} == {"0100007F"}  # 127.0.0.1, also as an IPv6-mapped one

    def test_refusals_are_real(self, devcluster: Any) -> None:
        for option in ("--partition=nope", "--account=nope", "--array=0-1001"):
            command = ["sbatch", option, "--wrap", "true"]
            done = subprocess.run(command, env=devcluster.environment, capture_output=True, text=True, timeout=60)
            assert done.returncode == 1, option
            assert "error" in done.stderr

    def test_preempted_job_is_requeued(self, devcluster: Any, tmp_path: Path) -> None:
        script = 'echo run $SLURM_RESTART_COUNT; test -n "$SLURM_RESTART_COUNT" || sleep 60'
        whole = ("--nodes=2", "--exclusive")
        low = submit(
            devcluster,
            tmp_path,
            *whole,
            "--partition=preempt",
            "--requeue",
            "--output=low",
            "--open-mode=append",
            "--wrap",
            script,
        )
        wait_for_lines(tmp_path / "low", "run")
        high = submit(devcluster, tmp_path, *whole, "--output=high", "--wrap", "true")
        wait_for(devcluster, high, "COMPLETED")
        wait_for(devcluster, low, "COMPLETED")
        assert (tmp_path / "low").read_text().endswith("run 1\n")

    def test_up_again_changes_nothing(self, devcluster: Any) -> None:
        options = Options(devcluster.folder, cpus_per_node=4, memory_per_node=64000, gpus_per_node=2)
        before = subject.status(devcluster.folder)
        subject.up(options)
        assert subject.status(devcluster.folder) == before  # the pids too
        assert before.healthy
        assert list(before.nodes) == ["node1", "node2"]

    def test_command_line(self, devcluster: Any) -> None:
        folder = ["--folder", str(devcluster.folder)]
        assert (
            CliRunner().invoke(app, ["devcluster", "env", *folder]).output
            == f"export SLURM_CONF={devcluster.folder}/etc/slurm.conf\n"
        )
        done = CliRunner().invoke(app, ["devcluster", "status", *folder])
        assert done.exit_code == 0
        assert "slurmctld      up, pid" in done.output


# --- a cluster of its own ---------------------------------------------------------------------------------------------


@pytest.mark.slurm
@pytest.mark.slow
def test_whole_life_beside_another_cluster(devcluster: Any, devcluster_folder: Path, tmp_path: Path) -> None:
    """From nothing, by another process without stdin: up, a job, a lost node, new settings, down, up, down for good."""
    folder = devcluster_folder
    small = ["--folder", str(folder), "--nodes", "2", "--cpus-per-node", "2"]
    said = stepstone_devcluster("up", *small)
    assert said.splitlines()[0] == f"export SLURM_CONF={folder}/etc/slurm.conf"
    assert subject.status(folder).healthy
    assert subject.status(devcluster.folder).healthy

    own = SimpleNamespace(environment=os.environ | subject.environment(folder))

    job = submit(own, tmp_path, "--output=out", "--open-mode=append", "--wrap", "echo run; srun sleep 987")
    wait_for_lines(tmp_path / "out", "run")
    subject.power_off(folder, "node2")
    done = CliRunner().invoke(app, ["devcluster", "status", "--folder", str(folder)])
    assert done.exit_code == 3
    assert "node2          down" in done.output

    subject.up(Options(folder, nodes=1, cpus_per_node=3, gpus_per_node=0))
    assert run(own, "sinfo", "-hN", "-p", "gpu", "-o", "%N %c %G").split() == ["node1", "3", "(null)"]
    wait_for_lines(tmp_path / "out", "run", times=2)  # the restart requeued the job
    assert run(own, "squeue", "-ho", "%A %T").split() == [job, "RUNNING"]

    subject.down(folder)
    assert processes_of(folder) == set()
    with pytest.raises(UserError, match="no cluster here"):
        subject.environment(tmp_path / "elsewhere")
    stepstone_devcluster("up", *small)  # the queue is still there
    assert run(own, "squeue", "-ho", "%A").split() == [job]
    stepstone_devcluster("down", "--folder", str(folder), "--wipe")
    assert processes_of(folder) == set()
    assert not folder.exists()
    assert subject.status(devcluster.folder).healthy


@pytest.mark.slurm
def test_two_come_up_at_once(devcluster_folder: Path) -> None:
    with own_devcluster("other") as other, ThreadPoolExecutor() as threads:
        folders = (devcluster_folder, other)
        list(threads.map(lambda folder: stepstone_devcluster("up", "--folder", str(folder), "--nodes", "1"), folders))
        assert all(subject.status(folder).healthy for folder in folders)


def stepstone_devcluster(*arguments: str) -> str:
    command = [str(Path(sys.executable).parent / "stepstone"), "devcluster", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- without a cluster ------------------------------------------------------------------------------------------------


def test_nodes_share_the_real_machine(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    nodes = nodes_of(Options(tmp_path, nodes=2), 17000)
    assert sum(node.cpus for node in nodes) == max(cores, 2)
    assert real_memory() - 2 < sum(node.memory for node in nodes) <= real_memory()
    assert len({node.port for node in nodes} | {17000, 17001}) == 4


def test_tasks_are_bound_where_that_is_asked_for(tmp_path: Path) -> None:
    layout = ClusterLayout(tmp_path)
    free, tight = (slurm_conf(layout, Options(tmp_path, bind_tasks=bind), 17000, (22, 5)) for bind in (False, True))
    assert "\nTaskPlugin=task/none\n" in free and "autobind" not in free
    assert "\nTaskPlugin=task/affinity\nTaskPluginParam=autobind=cores\n" in tight


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("/tmp/" + "x" * 90, "characters too long for the unix sockets"),
        ("/tmp/a b", "only letters"),
        ("/tmp/a\nNodeName=evil", "only letters"),
        ("/etc/hostname", "is not a folder"),
        ("/etc", "holds other files"),
    ],
)
def test_bad_folders_are_refused(folder: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        check_folder(Path(folder))
    assert "--folder" in str(caught.value)


def test_longest_folder_fits() -> None:
    """The limit is that of the kernel: a socket as long as Slurm's longest can be bound below the longest folder."""
    with tempfile.TemporaryDirectory() as short:  # pytest's own folders have long names
        _check_longest_folder(Path(short))


def _check_longest_folder(below: Path) -> None:
    from slurm.devcluster.config import _LONGEST_SOCKET, _SOCKET_LIMIT

    room = _SOCKET_LIMIT - len(_LONGEST_SOCKET) - len(str(below)) - 1
    folder = below / ("x" * room)
    assert check_folder(folder) == folder
    with pytest.raises(UsageError, match="1 characters too long"):
        check_folder(below / ("x" * (room + 1)))
    path = Path(str(folder) + _LONGEST_SOCKET)
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


@pytest.mark.skipif(os.geteuid() != 0, reason="up first asks for root")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nodes": 0}, "--nodes 0: must be between 1 and"),
        ({"cpus_per_node": 0}, "--cpus-per-node 0: must be"),
        ({"max_array_size": 1}, "--max-array-size 1: must be"),
        ({"port_base": 80}, "--port-base 80: must be"),
        ({"users": ("root", "no-such-user")}, "knows no such user"),
        ({"bind_tasks": True, "cpus_per_node": 65000}, "--bind-tasks: tasks can be bound to the"),
    ],
)
def test_bad_numbers_are_refused_before_anything_is_made(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        subject.up(Options(tmp_path / "c", **change))
    assert not (tmp_path / "c").exists()


def test_down_of_a_foreign_folder_touches_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UserError):
        subject.down(tmp_path, wipe=True)
    assert (tmp_path / "mine").read_text() == "precious"


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    (tmp_path / "run").mkdir()
    (tmp_path / "log").mkdir()
    made = Daemons(tmp_path / "run", tmp_path / "log")
    yield made
    for name in made.names():
        made.stop(name, kill=True)


PATH = {"PATH": os.environ["PATH"]}


def test_a_daemon_leaves_our_session_and_dies_on_request(daemons: Daemons) -> None:
    pid = daemons.spawn("sleeper", ["sleep", "60"], PATH)
    assert daemons.alive("sleeper")
    assert os.getsid(pid) == pid
    daemons.stop("sleeper")
    assert observe(pid) is None
    assert not Path(f"/proc/{pid}").exists()  # no zombie either
    assert daemons.names() == []


def test_a_reused_pid_is_never_killed(daemons: Daemons) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        daemons.record("old", stranger.pid)
        record = daemons.run / "old.json"
        process = observe(stranger.pid)
        assert process is not None
        record.write_text(record.read_text().replace(str(process.started), str(process.started - 1)))
        daemons.stop("old", kill=True)
        assert stranger.poll() is None
        stranger.kill()


def test_a_deaf_daemon_is_killed(daemons: Daemons) -> None:
    pid = daemons.spawn("deaf", ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"], PATH)
    daemons.wait_for("deaf", 5, lambda: daemons.output("deaf").read_text() == "deaf\n")
    daemons.stop("deaf", patience=0.2)
    assert observe(pid) is None


def test_a_daemon_that_ends_while_starting_is_reported_with_its_last_words(daemons: Daemons) -> None:
    daemons.spawn("broken", ["sh", "-c", "echo port taken >&2; exit 1"], PATH)
    with pytest.raises(UserError, match=r"broken ended while starting; .*broken.out ends with: port taken"):
        daemons.wait_for("broken", 5, lambda: False)


def test_layout_marks_and_closes_its_folders(tmp_path: Path) -> None:
    layout = ClusterLayout(tmp_path / "c")
    layout.make()
    for name in ("run", "ctld", "mysql"):
        assert (layout.folder / name).stat().st_mode & 0o777 == 0o700
