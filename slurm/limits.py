"""The cluster's limits, asked for, not assumed: what one array, one user and one job may be.

slurmctld says what holds for all; slurmdbd what holds for the user's association and QOS. Where slurmdbd does not
answer, limits of submission are not known (None), and sbatch's refusal tells. Not covered: limits on what runs at the
same time (GPUs, cores, jobs): what is over them waits in the queue and needs nobody.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from slurm import commands, ways
from slurm.base import UserError
from slurm.commands import Missing, Refusal, Silent
from slurm.queue import QueueEntry, user

_DEFAULT_ARRAY_SIZE = 1001  # Slurm's own
_ASSOCIATION = "DefaultAccount,Account,Partition,MaxSubmitJobs,GrpSubmitJobs,DefaultQOS"
_QOS = "Name,MaxSubmitJobsPerUser,MaxSubmitJobsPerAccount,GrpSubmitJobs,Flags"
_PER_USER, _PER_ACCOUNT, _OF_ALL = "MaxSubmitJobsPerUser", "MaxSubmitJobsPerAccount", "GrpSubmitJobs"
# How scontrol and sinfo may be asked.
PARTITION_WAYS = (
    ("scontrol", "show", "partition", "--all", "--oneliner"),
    ("scontrol", "-a", "-o", "show", "partition"),
    ("scontrol", "-o", "show", "partition"),
)
_NODE_COLUMNS = "%R|%m|%D|%T|%G"
NODE_WAYS = (
    ("sinfo", "--all", "--noheader", "--exact", "--format", _NODE_COLUMNS),
    ("sinfo", "-a", "-h", "-e", "-o", _NODE_COLUMNS),
    ("sinfo", "-h", "-e", "-o", _NODE_COLUMNS),
    ("sinfo", "-h", "-N", "-o", _NODE_COLUMNS),
)
# How the states of nodes begin that nothing starts on.
OUT_OF_USE = ("down", "drain", "fail", "err", "inval", "unk")


@dataclass(frozen=True)
class SubmitLimit:
    """How many jobs may be in the queue, the ones there already included, and which of the user's count."""

    most: int
    name: str  # for people
    account: str = ""  # of an association: jobs of this account, in `partitions` where it names some
    qos: str = ""  # of a QOS: jobs that ask for it, and all in `partitions`, whose own it is
    partitions: tuple[str, ...] = ()

    def counts(self, entry: QueueEntry) -> bool:
        """Whether a job in the queue counts. Of others' jobs, which some limits count too, nothing is known."""
        inside = not set(self.partitions).isdisjoint(entry.partition.split(","))
        if self.qos:
            return entry.qos == self.qos or inside
        return entry.account == self.account and (inside or not self.partitions)


@dataclass(frozen=True)
class Limits:
    """What fits. Every array element counts as one job; None: no limit, or none that is known."""

    array_size: int  # the largest index plus one
    jobs: int | None  # jobs of all users that slurmctld keeps (MaxJobCount)
    submit: tuple[SubmitLimit, ...] = ()
    times: dict[str, int | None] = field(default_factory=dict)  # partition: longest time limit in seconds
    memory: dict[str, int | None] = field(default_factory=dict)  # partition: MB of its largest node
    nodes: dict[str, int] = field(default_factory=dict)  # partition: nodes in use
    gpu_nodes: dict[str, int] = field(default_factory=dict)  # partition: those of them that have GPUs
    default: str = ""  # the partition of jobs that name none

    def partitions(self, partition: str | None) -> tuple[str, ...]:
        """Where jobs with this flag (`a,b`; None: not set) may run."""
        return tuple(filter(None, (partition or self.default).split(",")))


def discover(account: str | None, partition: str | None, qos: str | None) -> Limits:
    """The limits that hold for jobs with these flags (None: not set). UserError where no slurmctld answers."""
    settings_of_slurm = config()
    partitions = _partitions()
    nodes = _nodes()
    limits = Limits(
        array_size=_whole(settings_of_slurm.get("MaxArraySize", "")) or _DEFAULT_ARRAY_SIZE,
        jobs=_whole(settings_of_slurm.get("MaxJobCount", "")),
        times={name: seconds(settings.get("MaxTime", "")) for name, settings in partitions.items()},
        memory={name: max(row.memory for row in rows) or None for name, rows in nodes.items()},
        nodes={name: sum(row.count for row in rows) for name, rows in nodes.items()},
        gpu_nodes={name: sum(row.count for row in rows if row.has_gpus) for name, rows in nodes.items()},
        default=next((name for name, settings in partitions.items() if settings.get("Default") == "YES"), ""),
    )
    # slurmctld holds users to the limits in slurmdbd only where it is told to.
    if "limits" not in re.split("[, ]+", settings_of_slurm.get("AccountingStorageEnforce", "").lower()):
        return limits
    own_qos = {
        name: partition_qos
        for name, settings in partitions.items()
        if (partition_qos := settings.get("QoS", "N/A")) != "N/A"
    }
    partition_names = limits.partitions(partition) or ("",)
    return replace(
        limits, submit=_submit_limits(account, partition_names, qos, own_qos, settings_of_slurm.get("ClusterName", ""))
    )


def max_array_size() -> int:
    """Slurm's MaxArraySize: the largest array index plus one. UserError where no slurmctld answers."""
    return _whole(config().get("MaxArraySize", "")) or _DEFAULT_ARRAY_SIZE


def config() -> dict[str, str]:
    """slurmctld's settings by their names in slurm.conf. UserError where it does not answer."""
    clusters = os.environ.get("SLURM_CLUSTERS", "")
    if "," in clusters or clusters == "all":  # ids of several clusters cannot be told apart
        raise UserError(f"SLURM_CLUSTERS={clusters} names several clusters; set it to the one to send to, or unset it")
    try:
        answer = commands.run(["scontrol", "show", "config"])
    except Missing:
        raise UserError("there is no Slurm here (scontrol not found); run on a login node, "
                        "or set `cluster: {executor: local}`") from None  # fmt: skip
    except Silent as error:
        raise UserError(f"Slurm does not answer ({error}); try again later, nothing was sent") from None
    if answer.is_silence:
        raise UserError(f"Slurm does not answer ({answer.said}); try again later, nothing was sent")
    if answer.code:
        raise UserError(f"scontrol refuses ({answer.said}); nothing was sent")
    return dict(re.findall(r"^(\w+)[ \t]*=[ \t]*(.*?)[ \t]*$", answer.out, re.MULTILINE))  # some have no value


def seconds(limit: str) -> int | None:
    """Seconds of Slurm's notation of a time limit: minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS.

    None for UNLIMITED and for what is no time.
    """
    days, dash, clock = limit.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdecimal() for part in [*parts, *([days] if dash else [])]) or len(parts) > 3:
        return None
    numbers = [int(part) for part in parts]
    if dash:
        hours, minutes, secs = [*numbers, 0, 0][:3]
    elif len(numbers) == 3:
        hours, minutes, secs = numbers
    else:
        hours, minutes, secs = 0, *[*numbers, 0][:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + secs


def _partitions() -> dict[str, dict[str, str]]:
    """Each partition's settings, in Slurm's words; empty where it does not say."""
    output = _said("scontrol show partition", PARTITION_WAYS)
    settings = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in output.splitlines()]
    return {partition["PartitionName"]: partition for partition in settings if "PartitionName" in partition}


@dataclass(frozen=True)
class _Nodes:
    """Nodes of one partition that are alike."""

    count: int  # in use
    memory: int  # MB of each
    has_gpus: bool


def _nodes() -> dict[str, list[_Nodes]]:
    """The nodes of each partition; empty where Slurm does not say."""
    output = _said("sinfo", NODE_WAYS)
    by_partition: dict[str, list[_Nodes]] = {}
    for row in (line.strip().split("|") for line in output.splitlines() if line.count("|") == 4):
        partition, memory, count, state, gres = row
        in_use = 0 if state.startswith(OUT_OF_USE) else _whole(count) or 0
        by_partition.setdefault(partition, []).append(_Nodes(in_use, _whole(memory.rstrip("+")) or 0, "gpu" in gres))
    return by_partition


def _submit_limits(
    account: str | None, partition_names: Iterable[str], qos: str | None, own_qos: Mapping[str, str], cluster: str
) -> tuple[SubmitLimit, ...]:
    """All that hold in any of the chosen partitions. `own_qos`: of the partitions that have one."""
    query = ["show", "user", user(), "withassoc"]  # of this cluster only: slurmdbd may serve several
    associations = _table([*query, f"cluster={cluster}"], _ASSOCIATION)
    table = {row["Name"]: row for row in _table(["show", "qos"], _QOS)}
    submit_limits: list[SubmitLimit] = []
    for partition in partition_names:
        association = _association(associations, account, partition)
        job_qos = qos or association.get("DefaultQOS") or "normal"
        names = [own_qos.get(partition, ""), job_qos]  # the partition's goes before the job's
        if "OverPartQOS" in table.get(job_qos, {}).get("Flags", "").split(","):
            names.reverse()
        rows = [table[name] for name in names if name in table]
        submit_limits += _applying(association, rows, own_qos)
    return tuple(dict.fromkeys(submit_limits))


def _applying(
    association: Mapping[str, str], rows: Sequence[Mapping[str, str]], own_qos: Mapping[str, str]
) -> Iterator[SubmitLimit]:
    """For each kind of limit the one of the first QOS that sets it; where none does, the association's (seen on 22.05).

    One that counts others' jobs too is taken for a limit of ours.
    """
    kinds = set()
    for kind in (_PER_USER, _PER_ACCOUNT, _OF_ALL):
        row = next((row for row in rows if _whole(row[kind]) is not None), None)
        if row is not None:
            kinds.add(kind)
            its_own = tuple(name for name, partition_qos in own_qos.items() if partition_qos == row["Name"])
            yield SubmitLimit(int(row[kind]), f"{kind} of QOS {row['Name']}", qos=row["Name"], partitions=its_own)
    for key, replaced_by in (("MaxSubmitJobs", {_PER_USER, _PER_ACCOUNT}), ("GrpSubmitJobs", {_OF_ALL})):
        count = _whole(association.get(key, ""))
        if count is not None and not kinds & replaced_by:
            account, partition = association["Account"], association["Partition"]
            name = f"{key} of account {account}"
            yield SubmitLimit(count, name, account=account, partitions=(partition,) if partition else ())


def _association(rows: Sequence[Mapping[str, str]], account: str | None, partition: str) -> Mapping[str, str]:
    """The user's association for an account (else the default one); one for this partition goes first."""
    of_account = [row for row in rows if row["Account"] == (account or row["DefaultAccount"])]
    special = [row for row in of_account if partition and row["Partition"] == partition]
    return next(iter(special or [row for row in of_account if not row["Partition"]]), {})


def _table(query: Iterable[str], columns: str) -> list[dict[str, str]]:
    output = _said("sacctmgr", table_ways(query, columns))
    names = columns.split(",")
    rows = [line.split("|") for line in output.splitlines()]
    return [dict(zip(names, row, strict=True)) for row in rows if len(row) == len(names)]


def table_ways(query: Iterable[str], columns: str) -> list[list[str]]:
    """How sacctmgr may be asked for a table."""
    question = [*query, f"format={columns}"]
    return [
        ["sacctmgr", "--noheader", "--parsable2", "--readonly", *question],
        ["sacctmgr", "-n", "-P", "-r", *question],
        ["sacctmgr", "-n", "-P", *question],
    ]


def _said(topic: str, every_way: Sequence[ways.Way]) -> str:
    """What a command prints; nothing where it does not answer or refuses, which sbatch's own refusal makes up for."""
    try:
        return ways.ask(topic, every_way, str)
    except (Refusal, Silent):
        return ""


def _whole(text: str) -> int | None:
    return int(text) if text.isdigit() else None
