"""What the daemons of a real Slurm on one machine are told: the folder's layout, node sizes, ports, texts.

Tried with Slurm 22.05 on Debian 12. Everything runs as root and listens on loopback or on sockets in the folder.
"""

import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from slurm.base import UsageError, UserError
from slurm.devcluster.processes import Daemons

# The longest socket Slurm makes below the folder: slurmstepd's, with the largest job and step numbers.
_LONGEST_SOCKET = "/spool/node99/node99_4294967295.4294967295.0"
_SOCKET_LIMIT = 107  # bytes that fit in sockaddr_un.sun_path, without the closing zero
_FIRST_PORT, _PORT_STEP, _LAST_PORT = 17000, 200, 27000  # below the kernel's ephemeral range
# The lines of slurm.conf that are the same everywhere.
_ALWAYS = """\
# what a virtual node cannot have
ProctrackType=proctrack/linuxproc
SwitchType=switch/none
MpiDefault=none
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
# behaviour
JobRequeue=1
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=6
KillWait=3
MinJobAge=300
InactiveLimit=0
Waittime=0
UnkillableStepTimeout=30
BatchStartTimeout=10
MessageTimeout=10
# scheduling: at once
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1,bf_max_job_test=2000,default_queue_depth=2000
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
PriorityType=priority/multifactor
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
"""
# Each task to as many cores as its step was told that it has.
_BOUND = """\
TaskPlugin=task/affinity
TaskPluginParam=autobind=cores"""


@dataclass(frozen=True)
class Options:
    """What a cluster is to be. None means: worked out (sizes from the machine, ports from what is free)."""

    folder: Path
    nodes: int = 2
    cpus_per_node: int | None = None
    memory_per_node: int | None = None  # MB
    gpus_per_node: int = 1  # fake ones
    max_array_size: int = 1001
    port_base: int | None = None
    users: tuple[str, ...] = ("root",)
    bind_tasks: bool = False  # to cores of their own, as most sites do: a node advertises no more than there are
    install: bool = False


@dataclass(frozen=True)
class ClusterLayout:
    """Where a cluster keeps what."""

    folder: Path

    @property
    def state(self) -> Path:
        """Marks the folder as a cluster's, and remembers its ports."""
        return self.folder / "cluster.json"

    @property
    def slurm_conf(self) -> Path:
        return self.folder / "etc" / "slurm.conf"

    @property
    def slurmdbd_conf(self) -> Path:
        return self.folder / "etc" / "slurmdbd.conf"

    @property
    def hosts(self) -> Path:
        return self.folder / "etc" / "hosts"

    @property
    def mail_program(self) -> Path:
        """What slurmctld runs to send a mail: it keeps each as a line of log/mail.log instead."""
        return self.folder / "etc" / "mail"

    @property
    def munge_socket(self) -> Path:
        return self.folder / "munge" / "munge.socket"

    @property
    def mysql_socket(self) -> Path:
        return self.folder / "mysql" / "mysqld.sock"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def daemons(self) -> Daemons:
        return Daemons(self.folder / "run", self.log)

    def make(self) -> None:
        """Make the folders: readable by every user who submits jobs, but for the database, the key and the state."""
        for name, mode in (("", 0o755), ("etc", 0o755), ("munge", 0o755), ("spool", 0o755), ("dev", 0o755)):
            _make(self.folder / name, mode)
        for name, mode in (("log", 0o755), ("run", 0o700), ("ctld", 0o700), ("mysql", 0o700)):
            _make(self.folder / name, mode)


def _make(folder: Path, mode: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(mode)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot make this folder: {error.strerror}. Choose another with --folder."
        ) from error


def check_folder(folder: Path) -> Path:
    """The folder's absolute path, where Slurm can work in it."""
    path = folder.expanduser().resolve()
    if not re.fullmatch(r"[A-Za-z0-9_./-]+", str(path)):
        raise UsageError(f"--folder {str(path)!r}: only letters, digits and `_ . / -` may stand in this path.")
    spare = _SOCKET_LIMIT - len(_LONGEST_SOCKET) - len(str(path))
    if spare < 0:
        raise UsageError(
            f"--folder {path}: {-spare} characters too long for the unix sockets in it "
            f"(at most {_SOCKET_LIMIT - len(_LONGEST_SOCKET)}). Choose a shorter one, such as /tmp/devcluster."
        )
    if path.exists() and not path.is_dir():
        raise UsageError(f"--folder {path}: is not a folder.")
    if path.is_dir() and any(path.iterdir()) and not ClusterLayout(path).state.exists():
        raise UsageError(f"--folder {path}: holds other files; name a new or empty folder.")
    return path


def check_numbers(options: Options) -> None:
    """Refuse what Slurm would refuse later, and less clearly."""
    _within("--nodes", options.nodes, 1, 99)
    _within("--cpus-per-node", options.cpus_per_node, 1, 65533)
    _within("--memory-per-node", options.memory_per_node, 64, 1 << 30)
    if options.bind_tasks and (options.cpus_per_node or 0) > (cores := len(os.sched_getaffinity(0))):
        raise UsageError(f"--bind-tasks: tasks can be bound to the {cores} cores here; lower --cpus-per-node.")
    _within("--gpus-per-node", options.gpus_per_node, 0, 64)
    _within("--max-array-size", options.max_array_size, 2, 4_000_001)
    _within("--port-base", options.port_base, 1024, 65535 - _PORT_STEP)


def _within(option: str, value: int | None, lowest: int, highest: int) -> None:
    if value is not None and not lowest <= value <= highest:
        raise UsageError(f"{option} {value}: must be between {lowest} and {highest}.")


@dataclass(frozen=True)
class Node:
    name: str
    port: int
    cpus: int
    memory: int  # MB
    gpus: int


def nodes_of(options: Options, port_base: int) -> list[Node]:
    """The virtual nodes: together the machine's real cores (one each at least) and memory, unless told otherwise."""
    cores, memory = len(os.sched_getaffinity(0)), real_memory()
    nodes = []
    for index in range(options.nodes):
        share = cores // options.nodes + (index < cores % options.nodes)
        cpus = options.cpus_per_node or max(1, share)
        node_memory = options.memory_per_node or memory // options.nodes
        nodes.append(Node(f"node{index + 1}", port_base + 2 + index, cpus, node_memory, options.gpus_per_node))
    return nodes


def real_memory() -> int:
    """This machine's memory in MB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def free_port_base(nodes: int) -> int:
    """The first base from which on every port is free that a cluster of so many nodes needs."""
    for base in range(_FIRST_PORT, _LAST_PORT, _PORT_STEP):
        if are_free(base, nodes):
            return base
    raise UserError(f"no free ports between {_FIRST_PORT} and {_LAST_PORT}: name some with --port-base.")


def are_free(base: int, nodes: int) -> bool:
    """Whether all ports are free that a cluster of so many nodes takes from `base` on."""
    return all(_is_free(base + offset) for offset in range(2 + nodes))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def slurm_conf(layout: ClusterLayout, options: Options, port_base: int, version: tuple[int, int]) -> str:
    """The text of slurm.conf. Waits are short (a requeue 5 s, a lost node about 10 s), for trying failures out."""
    folder, host = layout.folder, socket.gethostname().split(".")[0]
    nodes = "\n".join(_node_line(node) for node in nodes_of(options, port_base))
    return f"""\
# written by `stepstone devcluster up`, which overwrites it
ClusterName=stepstone
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port_base}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# a requeued job waits as long as a credential lives: 121 s by default, 5 s is the least that is taken
AuthInfo=socket={layout.munge_socket},cred_expire=5
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/ctld
SlurmctldPidFile={folder}/ctld/slurmctld.pid
SlurmctldLogFile={folder}/log/slurmctld.log
MailProg={layout.mail_program}
SlurmdSpoolDir={folder}/spool/%n
SlurmdPidFile={folder}/spool/%n.pid
SlurmdLogFile={folder}/log/slurmd.%n.log
MaxArraySize={options.max_array_size}
MaxJobCount={max(20000, 2 * options.max_array_size)}
{_ALWAYS.rstrip()}
{_BOUND if options.bind_tasks else "TaskPlugin=task/none"}
{_user_signal(version)}
# accounting
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port_base + 1}
# slurmdbd's own connection does not look at AuthInfo: the socket must stand here too
AccountingStoragePass={layout.munge_socket}
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=associations,limits,qos
GresTypes=gpu
{nodes}
PartitionName=DEFAULT Nodes=node[1-{options.nodes}] MaxTime=INFINITE DefaultTime=60 DefMemPerCPU=64 State=UP
PartitionName=gpu Default=YES PriorityTier=10 PreemptMode=OFF
PartitionName=cpu PriorityTier=10 PreemptMode=OFF
PartitionName=preempt PriorityTier=1 PreemptMode=REQUEUE GraceTime=5
"""


def _node_line(node: Node) -> str:
    gres = f" Gres=gpu:{node.gpus}" if node.gpus else ""
    return (
        f"NodeName={node.name} NodeHostname={node.name} NodeAddr=127.0.0.1 Port={node.port} "
        f"CPUs={node.cpus} RealMemory={node.memory}{gres} State=UNKNOWN"
    )


def _user_signal(version: tuple[int, int]) -> str:
    """A preempted job first gets the signal it asked for with `--signal`: said in different words over the years."""
    if version < (23, 2):
        return "SlurmctldParameters=preempt_send_user_signal"
    return "PreemptParameters=send_user_signal"


def gres_conf(layout: ClusterLayout, options: Options) -> str:
    """The text of gres.conf: without device files CUDA_VISIBLE_DEVICES would stay empty."""
    if not options.gpus_per_node:
        return "# no GPUs\n"
    files = f"{layout.folder}/dev/nvidia[0-{options.gpus_per_node - 1}]"
    return f"NodeName=node[1-{options.nodes}] Name=gpu File={files}\n"


def cgroup_conf(version: tuple[int, int]) -> str:
    """The text of cgroup.conf: control groups are left alone."""
    # Older ones cannot be told so: their plugin for version 1 touches nothing unless asked, version 2's wants systemd.
    return "CgroupPlugin=disabled\n" if version >= (23, 11) else "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n"


def slurmdbd_conf(layout: ClusterLayout, port_base: int) -> str:
    """The text of slurmdbd.conf: root logs in at the database by its unix user, so there is no password."""
    return f"""\
AuthType=auth/munge
AuthInfo=socket={layout.munge_socket}
CommunicationParameters=NoInAddrAny
DbdHost={socket.gethostname().split(".")[0]}
DbdAddr=127.0.0.1
DbdPort={port_base + 1}
SlurmUser=root
DebugLevel=info
LogFile={layout.log}/slurmdbd.log
PidFile={layout.folder}/ctld/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct
"""


def mail_program(layout: ClusterLayout) -> str:
    """A mail program that keeps what it is told (`-s SUBJECT USER`), one line a mail, and sends nothing."""
    return f"""\
#!/bin/sh
printf '%s\\n' "$*" >>{layout.log}/mail.log
"""


def hosts(options: Options) -> str:
    """The nodes' own /etc/hosts: the machine's, and every node on loopback."""
    names = "".join(f"127.0.0.1 node{index + 1}\n" for index in range(options.nodes))
    return names + Path("/etc/hosts").read_text(encoding="utf-8")
