"""What an element asks Slurm for: processes, cores, GPUs and memory, whichever of sbatch's flags say so.

The forms are sbatch(1)'s: `4`, `a100:4` and `a100:2,v100:1` of the flags `--gpus…`, `gpu:4,license:1` of `--gres`,
`32G` of memory. What Slurm would refuse, or give otherwise than it is meant, is a `Contradiction` here.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_COUNT = re.compile(r"[0-9]{1,5}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_MEMORY = re.compile(r"([0-9]+)([KMGT]?)")
_KILOBYTES = {"K": 1, "M": 1024, "G": 1024**2, "T": 1024**3, "": 1024}  # a number alone is megabytes
_MEMORY_FLAGS = ("mem", "mem-per-cpu", "mem-per-gpu")


class Contradiction(ValueError):
    """What sbatch would refuse, or give otherwise than it is meant: one line, with the mend. `flag`: where to look."""

    def __init__(self, flag: str, message: str) -> None:
        super().__init__(message)
        self.flag = flag


@dataclass(frozen=True)
class Asked:
    """What one element asks for. None: nothing is said of it, and the site's default holds."""

    nodes: int = 1
    tasks: int = 1  # processes on a node
    cores: int | None = None  # of a process
    gpus: int = 0  # of a node
    memory: int | None = None  # MB of a node

    @property
    def ranks(self) -> int:
        """Processes on all nodes."""
        return self.nodes * self.tasks


def gpus(text: str) -> int:
    """How many `--gpus…` asks for: `4`, `a100:4`, `a100:2,v100:1`. ValueError for what sbatch would not understand."""
    return _together([item.split(":") for item in text.split(",")])


def gres_gpus(text: str) -> int:
    """How many GPUs a `--gres` list asks for: `gpu`, `gpu:2`, `gpu:a100`, `gpu:a100:2`, beside whatever else is in it.

    ValueError for GPUs that sbatch would not understand.
    """
    names = [re.sub(r"^gres[:/]", "", item).split(":") for item in text.split(",")]
    return _together([parts[1:] or ["1"] for parts in names if parts[0] == "gpu"])


def _together(items: list[list[str]]) -> int:
    """Of `4`, `a100` or `a100:4`, split at their colons: one without a type, or several of different types."""
    for parts in items:
        is_one = (
            len(parts) <= 2 and all(map(_WORD.fullmatch, parts)) and (len(parts) == 1 or _COUNT.fullmatch(parts[1]))
        )
        if not is_one:
            raise ValueError(f"'{':'.join(parts)}' is not a number of GPUs such as 4 or a100:4")
    kinds = ["" if _COUNT.fullmatch(parts[0]) and len(parts) == 1 else parts[0] for parts in items]
    if len(kinds) > 1 and ("" in kinds or len(set(kinds)) < len(kinds)):
        raise ValueError("GPUs of each type can stand there once, and none without a type beside them")
    return sum(int(parts[-1]) if _COUNT.fullmatch(parts[-1]) else 1 for parts in items)


def megabytes(text: str) -> float | None:
    """Of `32G`, `500` or `1024K`; None of another form, and of 0, which is all that a node has."""
    match = _MEMORY.fullmatch(text)
    return int(match[1]) * _KILOBYTES[match[2]] / 1024 or None if match else None


def asked(flags: Mapping[str, Any]) -> Asked:
    """What sbatch's long flags ask for together. Contradiction where they do not agree."""
    texts = {flag: str(value) for flag, value in flags.items()}
    nodes = _whole(texts, "nodes") or 1
    tasks = _tasks(texts, nodes)
    gpus_of_node, tasks = _gpus_and_tasks(texts, nodes, tasks)
    cores = _cores(texts, gpus_of_node, tasks)
    return Asked(nodes, tasks, cores, gpus_of_node, _memory(texts, tasks * (cores or 1), gpus_of_node))


def _whole(flags: Mapping[str, str], flag: str) -> int | None:
    if flag not in flags:
        return None
    if not flags[flag].isdecimal() or int(flags[flag]) == 0:
        raise Contradiction(flag, f"{flag}: '{flags[flag]}' is not a whole number from 1 on")
    return int(flags[flag])


def _tasks(flags: Mapping[str, str], nodes: int) -> int | None:
    """Processes on a node, where a flag says how many."""
    of_node, of_all = _whole(flags, "ntasks-per-node"), _whole(flags, "ntasks")
    if of_all is None:
        return of_node
    if of_all % nodes or (of_node is not None and of_node * nodes != of_all):
        beside = f"ntasks-per-node: {of_node} on nodes: {nodes}" if of_node else f"nodes: {nodes}"
        raise Contradiction("ntasks", f"ntasks: {of_all} does not go with {beside}; keep ntasks-per-node alone")
    return of_all // nodes


def _gpus_and_tasks(flags: Mapping[str, str], nodes: int, tasks: int | None) -> tuple[int, int]:
    """GPUs and processes of a node: one process a GPU where nothing else is said, one without GPUs."""
    counts = dict(_gpus_of_node(flags, nodes))
    of_task = _count(flags, "gpus-per-task", gpus) if "gpus-per-task" in flags else 0
    if of_task > 1:
        mend = "a process computes on one GPU; write gpus-per-task: 1, and ntasks-per-node for how many"
        raise Contradiction("gpus-per-task", f"gpus-per-task: {flags['gpus-per-task']}: {mend}")
    if of_task:
        tasks = tasks or next(iter(counts.values()), 1)
        counts["gpus-per-task"] = tasks
    if len(set(counts.values())) > 1:
        pair = _two_that_differ(counts)
        words = " and ".join(f"{flag}: {flags[flag]} ({count} a node)" for flag, count in pair)
        raise Contradiction(pair[1][0], f"{words} do not ask for the same; keep one")
    count = next(iter(counts.values()), 0)
    return count, tasks or count or 1


def _gpus_of_node(flags: Mapping[str, str], nodes: int) -> Iterator[tuple[str, int]]:
    """Each flag that asks for GPUs whatever the processes, and for how many on a node."""
    if "gpus-per-node" in flags:
        yield "gpus-per-node", _count(flags, "gpus-per-node", gpus)
    if "gres" in flags and (count := _count(flags, "gres", gres_gpus)):
        yield "gres", count
    if "gpus" in flags:
        count = _count(flags, "gpus", gpus)
        if count % nodes:
            mend = f"write gpus-per-node, or a number that nodes: {nodes} divides"
            raise Contradiction("gpus", f"gpus: {flags['gpus']}: its nodes would have different numbers; {mend}")
        yield "gpus", count // nodes
    if "gpus-per-socket" in flags:
        sockets = _whole(flags, "sockets-per-node")
        if sockets is None:
            raise Contradiction("gpus-per-socket", "gpus-per-socket: sbatch wants sockets-per-node beside it")
        yield "gpus-per-socket", _count(flags, "gpus-per-socket", gpus) * sockets


def _count(flags: Mapping[str, str], flag: str, read: Any) -> int:
    try:
        return int(read(flags[flag]))
    except ValueError as error:
        raise Contradiction(flag, f"{flag}: {error}") from None


def _two_that_differ(counts: Mapping[str, int]) -> tuple[tuple[str, int], tuple[str, int]]:
    first, *later_flags = counts.items()
    return first, next(pair for pair in later_flags if pair[1] != first[1])


def _cores(flags: Mapping[str, str], gpus_of_node: int, tasks: int) -> int | None:
    """CPU cores of a process."""
    cores, of_gpu = _whole(flags, "cpus-per-task"), _whole(flags, "cpus-per-gpu")
    if of_gpu is None:
        return cores
    if cores is not None:
        raise Contradiction("cpus-per-gpu", "cpus-per-task and cpus-per-gpu: sbatch takes one of them; keep one")
    if not gpus_of_node or of_gpu * gpus_of_node % tasks:
        why = "does not divide among its processes" if gpus_of_node else "needs GPUs"
        raise Contradiction("cpus-per-gpu", f"cpus-per-gpu: {of_gpu} {why}; write cpus-per-task")
    return of_gpu * gpus_of_node // tasks


def _memory(flags: Mapping[str, str], cores: int, gpus_of_node: int) -> int | None:
    """MB of a node with so many cores and GPUs of this element."""
    ways = [flag for flag in _MEMORY_FLAGS if flag in flags]
    if len(ways) > 1:
        raise Contradiction(ways[1], f"{' and '.join(ways)}: sbatch takes one of them; keep one")
    if not ways:
        return None
    if ways[0] == "mem-per-gpu" and not gpus_of_node:
        raise Contradiction("mem-per-gpu", "mem-per-gpu needs GPUs; write mem")
    amount = megabytes(flags[ways[0]])
    factor = {"mem": 1, "mem-per-cpu": cores, "mem-per-gpu": gpus_of_node}[ways[0]]
    return math.ceil(amount * factor) if amount else None
