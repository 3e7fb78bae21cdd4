"""`stepstone doctor`: what must hold before an experiment is sent, looked at: ok, warning or error, with the fix.

It changes nothing: in the store it makes one folder of its own, and removes it.
"""

import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from launch import executors
from launch.experiment import Experiment
from launch.store import provenance
from launch.text import some
from slurm import accounting, commands, limits, usercache
from slurm.base import UserError
from slurm.base.files import make_folder, remove_folder, write_atomic, write_once
from slurm.room import mount_of, room

Level = Literal["ok", "warning", "error"]
SCHEMA = 1
_SKEW_SECONDS = 5.0  # between this machine's clock and the file server's
_SLOW_SECONDS = 0.5  # for one durable write
_BYTES = {"error": 1 << 30, "warning": 20 << 30}  # less free space than that
_INODES = {"error": 1_000, "warning": 50_000}
_CALLS_PER_HOUR = 240  # more questions to Slurm than that are a loop around `status`
_OF_ONE_MACHINE = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "ramfs", "overlay")
_EVERY_COMMAND_NEEDS = ("torch", "transformers", "tokenizers", "deepspeed", "submitit")
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", re.MULTILINE)


@dataclass(frozen=True)
class Line:
    """One thing that was looked at. `fix` is empty where all is well."""

    level: Level
    what: str
    found: str
    fix: str = ""


def look(experiment: Experiment | None, folder: Path) -> Iterator[Line]:
    """Everything, in the order in which it is needed. `folder` stands for the store where there is no experiment."""
    on_slurm = experiment is None or executors.of_cluster(experiment.cluster).has_queue
    yield from slurm_lines(experiment) if on_slurm else [Line("ok", "executor", "local workers; Slurm is not asked")]
    yield from store_lines(experiment.store if experiment else folder, on_slurm=on_slurm and experiment is not None)
    yield gpu_line(experiment)
    yield package_line()


def to_record(lines: list[Line]) -> dict[str, Any]:
    """The contract of `stepstone doctor --json`."""
    return {"schema": SCHEMA, "lines": [asdict(line) for line in lines]}


# --- Slurm


def slurm_lines(experiment: Experiment | None) -> Iterator[Line]:
    """Version, limits, accounting, requeue, and how often we ask."""
    try:
        config = limits.config()
    except UserError as error:
        # Without a file, local workers may be all that is wanted.
        yield Line("error" if experiment else "warning", "Slurm", str(error), "log in where sbatch and scontrol are")
        return
    yield Line("ok", "Slurm", f"{config.get('SLURM_VERSION', 'version unknown')}, cluster {config.get('ClusterName')}")
    yield _limits_line(experiment)
    yield _accounting_line()
    if config.get("JobRequeue") == "0":
        fix = "after a time limit or preemption type: stepstone submit FILE (or: submit --wait)"
        yield Line("warning", "requeue", "switched off here (JobRequeue=0)", fix)
    else:
        preemption = config.get("PreemptMode", "OFF")
        yield Line("ok", "requeue", f"allowed; preemption: {preemption}")
    yield _calls_line()


def _limits_line(experiment: Experiment | None) -> Line:
    cluster = experiment.cluster if experiment else None
    account, partition, qos = (cluster.account, cluster.partition, cluster.qos) if cluster else (None, None, None)
    try:
        cluster_limits = limits.discover(account, partition, qos)
    except UserError as error:
        return Line("error", "limits", str(error), "try again later")
    names = cluster_limits.partitions(partition)
    missing = [name for name in names if cluster_limits.times and name not in cluster_limits.times]
    if missing:
        fix = f"cluster: {{partition: {_any_of(cluster_limits.times)}}}"
        return Line("error", "limits", f"no partition {' or '.join(missing)}", fix)
    least = min(cluster_limits.submit, key=lambda limit: limit.most, default=None)
    submit = f"{least.most} jobs in the queue ({least.name})" if least else "no limit of jobs per user"
    summary = f"MaxArraySize {cluster_limits.array_size}; {submit}"
    seconds = limits.seconds(cluster.time) if cluster and cluster.time else None
    longest, where = min(
        ((longest, name) for name in names if (longest := cluster_limits.times.get(name))), default=(0, "")
    )
    if cluster and seconds and longest and seconds > longest:
        return Line("error", "limits", f"{summary}; time {cluster.time} is over {where}'s limit",
                    f"set `cluster: {{time: …}}` to {longest // 60} minutes or less")  # fmt: skip
    return Line("ok", "limits", summary)


def _any_of(names: dict[str, Any]) -> str:
    return " | ".join(sorted(names)[:8])


def _accounting_line() -> Line:
    answer = accounting.available()
    if answer:
        return Line("ok", "accounting", "sacct answers")
    if answer is None:
        return Line("warning", "accounting", "sacct does not answer",
                    "what ended meanwhile shows as unknown until it does")  # fmt: skip
    return Line("warning", "accounting", "none here", "a killed job's cause is told from its log only")


def _calls_line() -> Line:
    now = time.time()
    hour, day = (usercache.calls(now - seconds) for seconds in (3600, 86400))
    summary = f"Slurm was asked {sum(hour.values())} times in the last hour, {sum(day.values())} in the last day"
    by_command = ", ".join(f"{name} {count}" for name, count in sorted(day.items(), key=lambda item: -item[1])[:4])
    summary += f" ({by_command})" if by_command else ""
    if sum(hour.values()) > _CALLS_PER_HOUR:
        return Line("warning", "calls", summary, "use `submit --wait` instead of a loop around `submit` or `status`")
    return Line("ok", "calls", summary)


# --- the store's file system


def store_lines(root: Path, *, on_slurm: bool) -> Iterator[Line]:
    """What the store needs of its file system: tried in a folder that goes again."""
    base = next(folder for folder in (root, *root.parents) if folder.exists())
    probe = base / f".stepstone-doctor-{uuid.uuid4().hex}"
    try:
        make_folder(probe)
    except UserError:
        yield Line("error", "store", f"{base}: no permission to write", "choose another `store:`")
        return
    try:
        yield from _tried(base, probe)
    finally:
        remove_folder(probe)
    yield from _room(base)
    _, kind = mount_of(base)
    if on_slurm and kind in _OF_ONE_MACHINE:
        yield Line("warning", "shared", f"{base} is on {kind}, which other nodes seldom see",
                   "put the store on the cluster's shared file system")  # fmt: skip
    else:
        yield Line("ok", "shared", f"{base} is on {kind or 'a file system of unknown kind'}")


def _tried(base: Path, probe: Path) -> Iterator[Line]:
    try:
        start = time.monotonic()
        for content in (b"1", b"2"):
            write_atomic(probe / "renamed", content)
        slow = (time.monotonic() - start) / 2
        is_whole = (probe / "renamed").read_bytes() == b"2"
        once = [write_once(probe / "once", content) for content in (b"1", b"2")]
    except OSError as error:
        yield Line(
            "error", "store", f"{base}: {error.strerror}", "choose a `store:` with hard links and atomic renames"
        )
        return
    if not is_whole or once != [True, False]:
        yield Line("error", "store", f"{base}: renames or links are not atomic", "choose another `store:`")
    elif slow > _SLOW_SECONDS:
        yield Line("warning", "store", f"{base}: a durable write takes {slow:.1f} s", "ask for a faster file system")
    else:
        yield Line("ok", "store", f"{base}: renames and links are atomic; a durable write takes {slow * 1000:.0f} ms")
    skew = _skew(probe)
    if abs(skew) > _SKEW_SECONDS:
        yield Line("warning", "clock", f"this machine's is {skew:+.0f} s off the file server's",
                   "tell the administrators: NTP; times in `status` are off, nothing else")  # fmt: skip
    else:
        yield Line("ok", "clock", f"within {_SKEW_SECONDS:.0f} s of the file server's")


def _skew(probe: Path) -> float:
    before = time.time()
    write_atomic(probe / "clock", b"")
    return (before + time.time()) / 2 - (probe / "clock").stat().st_mtime


def _room(base: Path) -> Iterator[Line]:
    space = room(base)
    by = "left by your quota" if space.by_quota else "free"
    fix = "free some, or choose another `store:`; then: stepstone gc FILE"
    level = _level(space.bytes, _BYTES)
    yield Line(level, "space", f"{space.bytes / 2**30:.0f} GiB {by}", fix if level != "ok" else "")
    if space.files is None:
        yield Line("ok", "inodes", "this file system does not count them here; see its own quota command")
    else:
        level = _level(space.files, _INODES)
        yield Line(level, "inodes", f"{space.files:,} {by}", fix if level != "ok" else "")


def _level(value: int, least: dict[str, int]) -> Level:
    return "error" if value < least["error"] else "warning" if value < least["warning"] else "ok"


# --- GPUs and packages


def gpu_line(experiment: Experiment | None) -> Line:
    """GPUs where jobs run: of this machine for local workers, of the cluster's nodes as Slurm names them."""
    if experiment and executors.of_cluster(experiment.cluster).has_queue and experiment.cluster.gpus_asked_for:
        return _slurm_gpus(experiment.cluster.partition)
    names = _gpu_names()
    if names:
        return Line("ok", "GPUs", f"{len(names)} here: {names[0]}")
    if experiment and experiment.cluster.gpus_asked_for:
        return Line(
            "error", "GPUs", "none here, but the file asks for them", "remove `gpus-per-node`, or mend the driver"
        )
    return Line("ok", "GPUs", "none on this machine")


def _slurm_gpus(partition: str | None) -> Line:
    output = commands.ask(["sinfo", "--all", "--noheader", "--exact", "--format", "%R|%G"])
    if output is None:
        return Line("warning", "GPUs", "Slurm does not say which nodes have some", "try again later")
    rows = [line.strip().partition("|") for line in output.splitlines()]
    partitions = partition.split(",") if partition else [name for name, _, _ in rows]
    kinds = sorted({kind for name, _, kind in rows if name in partitions and "gpu" in kind})
    if kinds:
        return Line("ok", "GPUs", f"{partition or 'all partitions'}: {', '.join(kinds)[:80]}")
    where = f"partition {partition} has" if partition else "Slurm names"
    return Line("error", "GPUs", f"{where} no GPUs, but the file asks for them", "choose a partition that has some")


def _gpu_names() -> list[str]:
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return answer.stdout.split("\n")[:-1] if answer.returncode == 0 else []


def package_line(constraints: Path | None = None, version_of: Callable[[str], str | None] | None = None) -> Line:
    """The installed packages beside constraints.txt, with which everything is tested."""
    path = constraints or provenance.code_root() / "constraints.txt"
    try:
        pins = dict(_PIN.findall(path.read_text()))
    except OSError:
        return Line("ok", "packages", f"Python {sys.version.split()[0]}; no constraints.txt beside the code")
    look_up = version_of or _version
    versions = {name: look_up(name) for name in pins}
    untested_versions = [
        f"{name} {versions[name]} (tested: {pins[name]})"
        for name in pins
        if not _is_as_tested(versions[name], pins[name])
    ]
    missing = [
        name
        for name in ("torch", "transformers", "tokenizers", "deepspeed", "submitit")
        if versions.get(name, "") is None
    ]
    fix = f"{_installer()} install -c {path} -e {path.parent}"
    if missing:
        return Line("error", "packages", f"not installed: {', '.join(missing)}", fix)
    if untested_versions:
        return Line("warning", "packages", f"not as tested: {some(untested_versions)}", fix)
    return Line("ok", "packages", f"as in constraints.txt; Python {sys.version.split()[0]}")


def _is_as_tested(version: str | None, pin: str) -> bool:
    """What is not installed is none of the packages that every command needs; `2.9+cpu` is a build of `2.9`."""
    return version in (None, pin) or ("+" not in pin and (version or "").partition("+")[0] == pin)


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _installer() -> str:
    return "uv pip" if shutil.which("uv") else "pip"
