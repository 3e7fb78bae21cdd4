"""How each daemon and each virtual node of a real Slurm on one machine is started."""

import json
import os
import shutil
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

from slurm.base import UserError
from slurm.base.files import read_json, write_atomic
from slurm.devcluster.config import ClusterLayout
from slurm.devcluster.processes import first_child, program

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# A node's first process. It ignores SIGCHLD, so that the kernel reaps what is orphaned on the node.
_FIRST_PROCESS = (
    'hostname "$1" && mount --bind "$2" /etc/hosts && mount -t tmpfs tmpfs /dev/shm'
    " && exec env --ignore-signal=CHLD sleep infinity"
)


def state_of(layout: ClusterLayout) -> dict[str, Any]:
    """What the cluster remembers: its ports, its number of nodes, the users it takes jobs from."""
    return {"port_base": None, "nodes": 0, "users": []} | (read_json(layout.state) or {})


def remember(layout: ClusterLayout, **changes: Any) -> None:
    """Change what the cluster remembers."""
    write_atomic(layout.state, json.dumps(state_of(layout) | changes))


def slurm_version() -> tuple[int, int]:
    words = _run(["slurmctld", "-V"], {}).split()  # such as: slurm-wlm 22.05.8
    year, month = words[-1].split(".")[:2]
    return int(year), int(month)


def make_gpus(layout: ClusterLayout, count: int) -> None:
    """Fake GPUs: Slurm insists on character devices, so these are further names of the null device."""
    for index in range(count):
        path = layout.folder / "dev" / f"nvidia{index}"
        if not path.exists():
            try:
                os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
            except OSError as error:
                raise UserError(f"{path}: cannot make a fake GPU: {error.strerror}. Type --gpus-per-node 0.") from error


def start_munged(layout: ClusterLayout) -> None:
    if layout.daemons.alive("munged"):
        return
    folder = layout.folder / "munge"
    command = ["munged", "--foreground", "--force", f"--socket={layout.munge_socket}"]
    # --force: it would rather not run below a folder closed to others, such as a home
    command += [f"--key-file={folder}/munge.key", f"--log-file={folder}/munged.log"]
    command += [f"--pid-file={folder}/munged.pid", f"--seed-file={folder}/munge.seed"]
    layout.daemons.spawn("munged", command, _environment(layout))
    layout.daemons.wait_for("munged", 10, lambda: _accepts(layout.munge_socket))


def start_mariadbd(layout: ClusterLayout) -> None:
    if layout.daemons.alive("mariadbd"):
        return
    data = layout.folder / "mysql" / "data"
    if not data.exists():
        _create_database(layout, data)
    command = ["mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", "--skip-networking"]
    command += [f"--socket={layout.mysql_socket}", f"--pid-file={layout.folder}/mysql/pid"]
    # small and quick: what a power loss of the machine takes from this database is no loss
    command += ["--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0"]
    command += ["--innodb-lock-wait-timeout=900", "--skip-log-bin", "--performance-schema=OFF"]
    layout.daemons.spawn("mariadbd", command, _environment(layout))
    layout.daemons.wait_for("mariadbd", 30, lambda: _accepts(layout.mysql_socket))


def _create_database(layout: ClusterLayout, data: Path) -> None:
    """Beside its place and then moved there, so that a killed `up` leaves no half of one."""
    new = data.with_name("data.new")
    shutil.rmtree(new, ignore_errors=True)
    command = ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={new}", "--skip-test-db"]
    _run([*command, "--auth-root-authentication-method=socket", "--auth-root-socket-user=root"], _environment(layout))
    new.rename(data)


def start_slurmdbd(layout: ClusterLayout) -> None:
    if layout.daemons.alive("slurmdbd"):
        return
    # it looks for slurmdbd.conf beside SLURM_CONF; libmariadb looks for the server at MYSQL_UNIX_PORT
    extra = {"SLURM_CONF": str(layout.slurmdbd_conf), "MYSQL_UNIX_PORT": str(layout.mysql_socket)}
    layout.daemons.spawn("slurmdbd", ["slurmdbd", "-D"], _environment(layout) | extra)
    port = state_of(layout)["port_base"] + 1
    layout.daemons.wait_for("slurmdbd", 60, lambda: _accepts(("127.0.0.1", port)))


def add_users(layout: ClusterLayout, users: tuple[str, ...]) -> None:
    """Give each user an account: jobs of others are refused, as on a real cluster."""
    account_users: list[str] = state_of(layout)["users"]
    if not account_users:
        _sacctmgr(layout, "cluster", "stepstone")  # brings the account and the user `root` with it
        account_users = ["root"]
    for user in [user for user in users if user not in account_users]:
        _sacctmgr(layout, "user", user, "account=root", "defaultaccount=root")
        account_users = [*account_users, user]
    remember(layout, users=account_users)


def _sacctmgr(layout: ClusterLayout, kind: str, name: str, *more: str) -> None:
    """Add an entity, unless a killed `up` has added it already."""
    entities = _run(["sacctmgr", "-nP", "show", kind, name, f"format={kind}"], _environment(layout))
    if name not in entities.split():
        _run(["sacctmgr", "-iQ", "add", kind, name, *more], _environment(layout))


def start_slurmctld(layout: ClusterLayout) -> None:
    if layout.daemons.alive("slurmctld"):
        return
    layout.daemons.spawn("slurmctld", ["slurmctld", "-D", "-f", str(layout.slurm_conf)], _environment(layout))
    layout.daemons.wait_for("slurmctld", 30, lambda: _call(["scontrol", "ping"], _environment(layout)).returncode == 0)


def start_node(layout: ClusterLayout, name: str) -> None:
    first = _start_machine(layout, name)
    if layout.daemons.alive(f"slurmd.{name}"):
        return
    inside = ["nsenter", f"--target={first}", "--uts", "--mount", "--pid", "--ipc", "--root"]
    command = [*inside, "slurmd", "-D", "-N", name, "-f", str(layout.slurm_conf)]
    launcher = layout.daemons.spawn(f"slurmd.{name}", command, _environment(layout))
    layout.daemons.wait_for(f"slurmd.{name}", 10, lambda: program(first_child(launcher) or 0) == "slurmd")
    slurmd = first_child(launcher)
    assert slurmd is not None, name
    layout.daemons.record(f"slurmd.{name}", slurmd)


def _start_machine(layout: ClusterLayout, name: str) -> int:
    """The node's namespaces, without a slurmd yet; the pid of the node's first process."""
    if (running := layout.daemons.find(name)) is None:
        (layout.folder / "spool" / name).mkdir(exist_ok=True)
        # slave: what is mounted on the machine later appears on the node too
        spaces = ["unshare", "--uts", "--mount", "--pid", "--ipc", "--propagation=slave"]
        spaces += ["--fork", "--kill-child=KILL", "--mount-proc"]
        command = [*spaces, "sh", "-c", _FIRST_PROCESS, "sh", name, str(layout.hosts)]
        outer = layout.daemons.spawn(name, command, _environment(layout))
        # "sleep": the first process has made the node its own and become what it stays
        layout.daemons.wait_for(name, 10, lambda: program(first_child(outer) or 0) == "sleep")
    else:
        outer = running.pid
    first = first_child(outer)
    assert first is not None, name
    return first


def node_states(layout: ClusterLayout) -> dict[str, str]:
    output = try_command(["sinfo", "-h", "-N", "-p", "gpu", "-o", "%N %T"], layout)
    return {name: state for name, _, state in (line.partition(" ") for line in output.splitlines())}


def _environment(layout: ClusterLayout) -> dict[str, str]:
    """What daemons and commands get: nothing of the caller's environment may leak into the cluster."""
    return {"PATH": _PATH, "LC_ALL": "C", "SLURM_CONF": str(layout.slurm_conf)}


def _accepts(address: Path | tuple[str, int]) -> bool:
    """Whether somebody listens at a unix socket's path or a TCP address."""
    family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(1)
        return probe.connect_ex(str(address) if isinstance(address, Path) else address) == 0


def try_command(command: list[str], layout: ClusterLayout) -> str:
    """What a command prints; nothing where it fails."""
    process = _call(command, _environment(layout))
    return process.stdout if process.returncode == 0 else ""


def _run(command: list[str], environment: dict[str, str]) -> str:
    """What a command prints; a UserError with its last words where it fails."""
    process = _call(command, environment)
    if process.returncode != 0:
        words = (process.stderr.strip() or process.stdout.strip() or "it said nothing").splitlines()[-1]
        raise UserError(f"`{' '.join(command)}` failed ({process.returncode}): {words}")
    return process.stdout


def _call(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={"PATH": _PATH, "LC_ALL": "C"} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
