"""sbatch's flags for one array: as the file says, with the changes that earlier failures ask for, within the limits."""

import math
import re
from collections.abc import Mapping
from typing import Any

from launch.experiment import Cluster
from launch.status.policy import Changes
from slurm.limits import Limits, seconds

_MEGABYTES = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024 * 1024, "": 1}  # sbatch takes a number alone for megabytes
_FEW_NODES = 2  # that may be left out where it is not known how many there are
MEMORY_FLAGS = ("mem", "mem-per-cpu", "mem-per-gpu")


def flags(cluster: Cluster, changes: Changes | None, limits: Limits | None) -> dict[str, Any]:
    """Every flag that the file sets, by its long name. limits: None where Slurm was not asked."""
    flags_of_file = cluster.sbatch_flags()
    if changes is None:
        return flags_of_file
    for name in MEMORY_FLAGS:
        if name in flags_of_file:
            flags_of_file[name] = _memory(
                str(flags_of_file[name]), changes.mem_factor, _node_memory(cluster, limits, name)
            )
    if "time" in flags_of_file:
        flags_of_file["time"] = _time(str(flags_of_file["time"]), changes.time_factor, _longest(cluster, limits))
    if changes.exclude:
        before = [str(flags_of_file["exclude"])] if "exclude" in flags_of_file else []
        flags_of_file["exclude"] = ",".join([*before, *changes.exclude])
    return flags_of_file


def most_excluded(cluster: Cluster, limits: Limits | None) -> int:
    """How many nodes failures may add to those that the file leaves out: what no node is left for is refused for good.

    At least half of the nodes in use stay, and as many as one job takes.
    """
    if cluster.nodelist:  # each of them is asked for by its name
        return 0
    counts = _known(limits.gpu_nodes if cluster.gpus_asked_for else limits.nodes, limits, cluster) if limits else []
    if not counts:
        return _FEW_NODES
    usable = max(counts) - (_length(cluster.exclude) if cluster.exclude else 0)
    return max(0, min(usable // 2, usable - cluster.nodes))


def unchanged(cluster: Cluster, changes: Changes) -> list[str]:
    """What a failure asks for and the file does not let be changed: a line each, with what to set."""
    lines = []
    set_flags = cluster.sbatch_flags()
    if changes.mem_factor != 1 and not any(name in set_flags for name in MEMORY_FLAGS):
        lines.append("more memory is needed, but the file sets none to start from; set cluster: {mem: …}")
    if changes.time_factor != 1 and "time" not in set_flags:
        lines.append("more time is needed, but the file sets none to start from; set cluster: {time: …}")
    return lines


def _memory(value: str, factor: float, node_memory: int | None) -> str:
    """Megabytes, in sbatch's form. Never less than what the file asks for."""
    match = re.fullmatch(r"(\d+)([KMGT]?)", value)
    if match is None or factor == 1 or int(match[1]) == 0:  # 0: all that the node has
        return value
    megabytes = int(match[1]) * _MEGABYTES[match[2]]
    larger = math.ceil(megabytes * factor)
    return f"{max(math.ceil(megabytes), larger if node_memory is None else min(larger, node_memory))}M"


def _time(value: str, factor: float, longest: int | None) -> str:
    """Minutes, in sbatch's form, rounded up. Never less than what the file asks for."""
    limit = seconds(value)
    if limit is None or factor == 1:
        return value
    larger = limit * factor if longest is None else min(limit * factor, longest)
    return str(math.ceil(larger / 60)) if larger > limit else value


def _longest(cluster: Cluster, limits: Limits | None) -> int | None:
    """The longest time limit that every partition of the file allows; None: no limit, or not known."""
    return _least(limits.times, limits, cluster) if limits else None


def _node_memory(cluster: Cluster, limits: Limits | None, flag: str) -> int | None:
    """Megabytes of the largest node; of a flag per CPU or GPU nothing is known."""
    return _least(limits.memory, limits, cluster) if limits and flag == "mem" else None


def _least(by_partition: Mapping[str, int | None], limits: Limits, cluster: Cluster) -> int | None:
    return min(_known(by_partition, limits, cluster), default=None)


def _known(by_partition: Mapping[str, int | None], limits: Limits, cluster: Cluster) -> list[int]:
    names = limits.partitions(cluster.partition)
    return [amount for name in names if (amount := by_partition.get(name)) is not None]


def _length(nodes: str) -> int:
    """How many nodes `node[1-3,7],other` names."""
    parts = re.findall(r"(?:[^,\[\]]|\[[^\]]*\])+", nodes)
    return sum(math.prod(map(_indices, re.findall(r"\[([^\]]*)\]", part))) for part in parts)


def _indices(text: str) -> int:
    ranges = [part.partition("-") for part in text.split(",")]
    return sum(int(last) - int(first) + 1 if first.isdecimal() and last.isdecimal() else 1 for first, _, last in ranges)
