"""A real Slurm on one machine: munge, MariaDB, slurmdbd, slurmctld and several virtual nodes, all in one folder.

Every node is a set of namespaces (host name, mounts, processes, shared memory) with a slurmd in it. Nodes share
the file system and the loopback interface; ending a node's first process is a power loss.
It needs root, and nothing listens beyond loopback.
"""

import fcntl
import os
import pwd
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slurm.base import UsageError, UserError
from slurm.base.files import write_atomic
from slurm.devcluster import config, daemons
from slurm.devcluster.config import ClusterLayout, Options, check_folder, check_numbers
from slurm.devcluster.packages import alone_on_this_machine, check_machine, check_root, ensure_packages

DAEMONS = ("munged", "mariadbd", "slurmdbd", "slurmctld")  # in the order in which they need each other


@dataclass(frozen=True)
class Status:
    """What runs: each daemon's pid (None: down), and each node's state in Slurm's words (empty: nobody answers)."""

    daemons: dict[str, int | None]
    nodes: dict[str, str]

    @property
    def healthy(self) -> bool:
        return all(self.daemons.values()) and bool(self.nodes) and all(map(_serves, self.nodes.values()))


def default_folder() -> Path:
    """$STEPSTONE_DEVCLUSTER, else ~/.stepstone/devcluster."""
    return Path(os.environ.get("STEPSTONE_DEVCLUSTER") or Path.home() / ".stepstone" / "devcluster")


def up(options: Options) -> Path:
    """Bring the cluster up, or to these options where it runs already; the path of its slurm.conf.

    What runs as asked is left alone. A changed configuration restarts slurmctld and the nodes: their jobs are requeued,
    the queue and the accounts stay. Raises UserError without root, Debian/Ubuntu or the packages.
    """
    check_machine()
    check_numbers(options)
    _check_users(options.users)
    layout = ClusterLayout(check_folder(options.folder))
    if not options.install:
        ensure_packages(install=False, log=layout.log)  # says what is missing before anything is written
    _begin(layout)
    with _locked(layout):
        ensure_packages(install=options.install, log=layout.log / "apt.log")
        with alone_on_this_machine():  # ports are free until somebody listens
            _bring_up(layout, options)
    return layout.slurm_conf


def down(folder: Path, wipe: bool = False) -> None:
    """Stop everything; running jobs are requeued for the next `up`. With `wipe` the folder goes as well."""
    check_root()
    layout = _existing(folder, "nothing to stop")
    with _locked(layout):
        _stop_nodes(layout, requeue=not wipe)
        for name in reversed(DAEMONS):
            layout.daemons.stop(name, kill=wipe)
        if wipe:
            shutil.rmtree(layout.folder)


def _stop_nodes(layout: ClusterLayout, *, requeue: bool) -> None:
    """Stop slurmctld, then the nodes. Unless told, Slurm would long take the jobs that go with them for running."""
    if requeue and layout.daemons.alive("slurmctld"):
        daemons.try_command(["scontrol", "update", "NodeName=ALL", "State=DOWN", "Reason=devcluster"], layout)
    layout.daemons.stop("slurmctld", kill=not requeue)
    for name in layout.daemons.names():
        if name not in DAEMONS:
            layout.daemons.stop(name, kill=True)


def status(folder: Path) -> Status:
    """Which daemons and nodes are up."""
    check_root()
    layout = _existing(folder)
    names = [f"node{index + 1}" for index in range(daemons.state_of(layout)["nodes"])]
    part_names = [*DAEMONS, *(part for name in names for part in (name, f"slurmd.{name}"))]
    processes = {name: layout.daemons.find(name) for name in part_names}
    states = daemons.node_states(layout) if processes["slurmctld"] else {}
    return Status(
        {name: process.pid if process else None for name, process in processes.items()},
        {name: states.get(name, "") for name in names},
    )


def environment(folder: Path) -> dict[str, str]:
    """What must stand in the environment of whoever uses this cluster."""
    return {"SLURM_CONF": str(_existing(folder).slurm_conf)}


def power_off(folder: Path, node: str) -> None:
    """Take the power from a node: everything that runs on it is gone at once."""
    layout = _existing(folder)
    layout.daemons.stop(node, kill=True)
    layout.daemons.stop(f"slurmd.{node}", kill=True)


def start_node(folder: Path, node: str) -> None:
    """Start a node and its slurmd, where they do not run."""
    daemons.start_node(_existing(folder), node)


def stop_daemon(folder: Path, name: str, kill: bool = False) -> None:
    """Stop one daemon (one of DAEMONS, or `slurmd.node1` for a slurmd without its node)."""
    _existing(folder).daemons.stop(name, kill=kill)


def start_daemon(folder: Path, name: str) -> None:
    """Start one of DAEMONS, where it does not run."""
    layout = _existing(folder)
    starters = {
        "munged": daemons.start_munged,
        "mariadbd": daemons.start_mariadbd,
        "slurmdbd": daemons.start_slurmdbd,
        "slurmctld": daemons.start_slurmctld,
    }
    starters[name](layout)


def _existing(folder: Path, otherwise: str = "type `stepstone devcluster up` first") -> ClusterLayout:
    layout = ClusterLayout(folder.expanduser().resolve())
    if not layout.state.exists():
        raise UserError(f"{layout.folder}: no cluster here; {otherwise}.")
    return layout


def _check_users(users: tuple[str, ...]) -> None:
    for user in users:
        try:
            pwd.getpwnam(user)
        except KeyError:
            raise UsageError(f"--user {user!r}: this machine knows no such user.") from None


def _begin(layout: ClusterLayout) -> None:
    """Make the folder, marked as ours first of all: whatever happens next, `up` and `down --wipe` know it again."""
    try:
        layout.folder.mkdir(parents=True, exist_ok=True)
        daemons.remember(layout)
    except OSError as error:
        raise UserError(f"{layout.folder}: {error.strerror}. Choose another with --folder.") from error
    layout.make()


@contextmanager
def _locked(layout: ClusterLayout) -> Iterator[None]:
    """One `up` or `down` at a time; a killed one's lock is gone with it."""
    with (layout.folder / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _bring_up(layout: ClusterLayout, options: Options) -> None:
    port_base = _choose_ports(layout, options)
    daemons.remember(layout, port_base=port_base, nodes=options.nodes)
    _configure(layout, options, port_base)
    daemons.make_gpus(layout, options.gpus_per_node)
    daemons.start_munged(layout)
    daemons.start_mariadbd(layout)
    daemons.start_slurmdbd(layout)
    daemons.add_users(layout, options.users)
    daemons.start_slurmctld(layout)
    names = [f"node{index + 1}" for index in range(options.nodes)]
    for name in names:
        daemons.start_node(layout, name)
    for name in names:
        _wait_for_node(layout, name)


def _wait_for_node(layout: ClusterLayout, name: str) -> None:
    layout.daemons.wait_for(f"slurmd.{name}", 30, lambda: _serves(daemons.node_states(layout).get(name, "")))


def _choose_ports(layout: ClusterLayout, options: Options) -> int:
    """The ports asked for; else those of last time while they are ours or free; else free ones."""
    if options.port_base is not None:
        return options.port_base
    last: int | None = daemons.state_of(layout)["port_base"]
    runs = any(layout.daemons.alive(name) for name in layout.daemons.names())
    if last is not None and (runs or config.are_free(last, options.nodes)):
        return last
    return config.free_port_base(options.nodes)


def _configure(layout: ClusterLayout, options: Options, port_base: int) -> None:
    """Write the configuration; stop the daemons that read another one, so that they start anew."""
    version = daemons.slurm_version()
    etc = layout.folder / "etc"
    cluster = {
        layout.slurm_conf: config.slurm_conf(layout, options, port_base, version),
        etc / "gres.conf": config.gres_conf(layout, options),
        etc / "cgroup.conf": config.cgroup_conf(version),
        layout.hosts: config.hosts(options),
    }
    _write({layout.mail_program: config.mail_program(layout)}, 0o755)
    if _differ(cluster):  # stop first, then write: a killed `up` then does it again
        _stop_nodes(layout, requeue=True)
        _write(cluster, 0o644)
    accounting = {layout.slurmdbd_conf: config.slurmdbd_conf(layout, port_base)}
    if _differ(accounting):
        layout.daemons.stop("slurmdbd")
        _write(accounting, 0o600)  # slurmdbd refuses any other mode
    key = layout.folder / "munge" / "munge.key"
    if not key.exists():
        write_atomic(key, os.urandom(1024).hex())


def _differ(texts: dict[Path, str]) -> bool:
    return any(not path.exists() or path.read_text() != text for path, text in texts.items())


def _write(texts: dict[Path, str], mode: int) -> None:
    for path, text in texts.items():
        write_atomic(path, text)
        path.chmod(mode)


def _serves(state: str) -> bool:
    """Whether a node in this state answers (`*` marks one that does not)."""
    return bool(state) and not state.endswith("*") and not state.startswith(("down", "unknown"))
