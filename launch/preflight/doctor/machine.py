"""What doctor sees of machines: GPUs, here and on the cluster's nodes, and the packages that are installed."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from launch import executors
from launch.experiment import Experiment
from launch.preflight.doctor.lines import Line
from launch.store import provenance
from launch.text import some
from slurm import commands

_EVERY_COMMAND_NEEDS = ("torch", "transformers", "tokenizers", "deepspeed", "submitit")
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", re.MULTILINE)


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
    missing = [name for name in _EVERY_COMMAND_NEEDS if versions.get(name, "") is None]
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
