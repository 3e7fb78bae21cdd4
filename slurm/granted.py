"""What a process of an element really has, by the system's own word, and where that falls short of what was asked for.

Cores are those that it is bound to (`sched_getaffinity`), less what a quota of its control groups leaves; memory is the
least limit of its control groups, of version 1 or 2. Nothing here asks Slurm.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from slurm.resources import Asked

_PROC = Path("/proc/self")
_NO_LIMIT = 1 << 60  # bytes: version 1 says a number that nobody has
_MEGABYTE = 1 << 20
_NEARLY = 0.95  # of the memory asked for: sites keep a little for themselves
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


@dataclass(frozen=True)
class Granted:
    """What one process has; of several processes, what the one with the least has."""

    ranks: int  # processes of the element
    cores: int
    gpus: int | None = None  # that it sees; None: nothing tells
    memory: int | None = None  # MB of its control group; None: no limit
    short_of: tuple[str, ...] = ()  # a line, with its mend, for each thing of which less is there than was asked for

    def line(self) -> str:
        """For people."""
        parts = [_many(self.ranks, "process"), _many(self.cores, "core") + (" each" if self.ranks > 1 else "")]
        parts += [] if self.gpus is None else [f"{_many(self.gpus, 'GPU')} to be seen"]
        return ", ".join(parts + ([] if self.memory is None else [f"{self.memory:,} MB of memory"]))


def look(ranks: int, gpus: int | None = None, proc: Path = _PROC) -> Granted:
    """This process. gpus: how many it sees, where the caller knows better than the environment."""
    return Granted(ranks, cores(proc), visible_gpus(os.environ) if gpus is None else gpus, memory(proc))


def cores(proc: Path = _PROC) -> int:
    """That this process may use at the same time."""
    quotas = [quota for folder in groups(proc, "cpu") if (quota := _quota(folder)) is not None]
    return max(1, int(min([len(os.sched_getaffinity(0)), *quotas])))


def memory(proc: Path = _PROC) -> int | None:
    """MB: the least limit of the control groups that it is in."""
    limits = [limit for folder in groups(proc, "memory") if (limit := _memory_limit(folder)) is not None]
    return min(limits) // _MEGABYTE if limits else None


def visible_gpus(environment: Mapping[str, str]) -> int | None:
    """How many GPUs the environment lets a process see; None where it says nothing."""
    for name in _VISIBLE:
        if name in environment:
            devices = [device.strip() for device in environment[name].split(",")]
            # As CUDA reads it: nothing counts from the first that is none on. Slurm without device files says a word.
            end = next((n for n, device in enumerate(devices) if device in ("", "-1", "NoDevFiles")), len(devices))
            return end
    return None


def cores_to_use(request: Asked | None, environment: Mapping[str, str], proc: Path = _PROC) -> int:
    """How many threads this process should compute with: no more than it has, nor than it asked for or was given.

    On a cluster that binds nothing every process may use all of a node, and would take its neighbours' cores.
    """
    share = _share(request, environment)
    return cores(proc) if share is None else min(share, cores(proc))


def compare(request: Asked, process: Granted, environment: Mapping[str, str]) -> Granted:
    """The process, with the lines of what it falls short of."""
    lines = (_ranks(request, process), _cores(request, process, environment), _gpus(request, process))
    return replace(process, short_of=tuple(filter(None, (*lines, _ram(request, process)))))


def _share(request: Asked | None, environment: Mapping[str, str]) -> int | None:
    """Cores of a process: as asked for, else its part of what the job has on this node; None where nobody says."""
    if request is not None and request.cores is not None:
        return request.cores
    on_node = environment.get("SLURM_CPUS_ON_NODE", "")
    tasks = request.tasks if request else 1
    return max(1, int(on_node) // tasks) if on_node.isdecimal() else None


def _ranks(request: Asked, process: Granted) -> str:
    if process.ranks == request.ranks:
        return ""
    return (
        f"{_many(request.ranks, 'process')} asked for, {process.ranks} started;"
        " look in `setup:` and the site's profile for what sets SLURM_NTASKS"
    )


def _cores(request: Asked, process: Granted, environment: Mapping[str, str]) -> str:
    share = _share(request, environment) or 1
    if request.cores is not None and process.cores < request.cores:
        return (
            f"{_many(request.cores, 'core')} a process asked for, {process.cores} to use;"
            " where the site binds too narrowly, write cluster: {environment: {set: {SLURM_CPU_BIND: none}}}"
        )
    # Of a core with two threads a process may be meant to use one.
    if request.cores is None and process.cores * 2 <= share:
        return f"{share} cores a process in the job, {process.cores} to use; write cluster: {{cpus-per-task: {share}}}"
    return ""


def _gpus(request: Asked, process: Granted) -> str:
    if not request.gpus or process.gpus is None or process.gpus >= max(1, request.gpus // request.tasks):
        return ""
    return (
        f"{_many(request.gpus, 'GPU')} a node asked for, {process.gpus} to be seen;"
        " look for gpu-bind in `sbatch:`, and for what sets CUDA_VISIBLE_DEVICES in `setup:` and `environment:`"
    )


def _ram(request: Asked, process: Granted) -> str:
    if request.memory is None or process.memory is None or process.memory >= request.memory * _NEARLY:
        return ""
    return (
        f"{request.memory:,} MB of memory a node asked for, {process.memory:,} MB to use (its control group);"
        " ask for no more than the site gives, so that a want of it is seen for what it is"
    )


def _many(count: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


# --- control groups


def groups(proc: Path, controller: str) -> Iterator[Path]:
    """The folders of the groups that a process is in, of either version, each with those above it that can be seen."""
    try:
        groups = dict(_paths(proc / "cgroup"))
        mounts = (proc / "mountinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return
    for mount in mounts:
        place, _, system = mount.partition(" - ")
        fields, (kind, _, *options) = place.split(" "), (*system.split(" "), "", "")[:4]
        name = "" if kind == "cgroup2" else controller
        if kind not in ("cgroup", "cgroup2") or (name and name not in options[0].split(",")) or name not in groups:
            continue
        root, top = fields[3].rstrip("/"), Path(fields[4])
        path = groups[name]
        # In a container the mount shows a part of the tree, and may not show where the process is.
        below = path[len(root) :].strip("/") if path == root or path.startswith(f"{root}/") else ""
        folder = top / below
        yield folder
        yield from (parent for parent in folder.parents if parent.is_relative_to(top))


def _paths(file: Path) -> Iterator[tuple[str, str]]:
    """(controller, path): of version 1 each controller; of version 2 one path, whose controller is empty."""
    for line in file.read_text("utf-8", errors="replace").splitlines():
        _, controllers, path = line.split(":", 2)
        yield from ((controller, path) for controller in controllers.split(","))


def _quota(folder: Path) -> float | None:
    """Cores' worth of time; None: no quota."""
    of_both = _read(folder / "cpu.max").split()  # version 2: `200000 100000`, `max 100000`
    quota, period = (
        of_both if len(of_both) == 2 else (_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))
    )
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _memory_limit(folder: Path) -> int | None:
    """Bytes; None: no limit."""
    limit = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
    return int(limit) if limit.isdecimal() and int(limit) < _NO_LIMIT else None


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""
