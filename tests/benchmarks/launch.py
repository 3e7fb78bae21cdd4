"""`make bench-launch`: sending and collecting beside submitit and one sbatch per job, and `status` at 100,000 stages.

The dev cluster (root on Debian/Ubuntu) has one array of 1,000 trivial elements from each side, one side after another.
    python -m tests.benchmarks.launch [--count 1000] [--parallel 24] [--seeds 1755] [--only cluster|stages]
"""

import argparse
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slurm import devcluster

SIDES = {"ours": "ours: one array", "submitit": "submitit: map_array + result()", "single": "one sbatch per job"}
_COUNTED = ("sbatch", "squeue", "sacct", "scontrol", "sacctmgr", "sinfo", "scancel")
_DRAIN_SECONDS = 600


def main() -> None:
    """Prints the tables in Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--parallel", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=1755, help="of 57 stages each")
    parser.add_argument("--only", choices=["cluster", "stages"])
    arguments = parser.parse_args()
    if arguments.only != "stages":
        _cluster(arguments.count, arguments.parallel)
    if arguments.only != "cluster":
        _stages(arguments.seeds)


def _cluster(count: int, parallel: int) -> None:
    print(f"| {count:,} elements, at most {parallel} at once | submit s | calls | last end to table s | peak MB |")
    print("|---|---:|---|---:|---:|")
    with _running_cluster(parallel) as (folder, environment):
        for side, label in SIDES.items():
            found, calls = _side(side, folder, environment, count, parallel)
            shown = ", ".join(f"{name} {number}" for name, number in sorted(calls.items()))
            numbers = f"{found['submit']:.2f} | {shown} | {found['after_last']:.1f} | {found['peak_mb']:.0f}"
            print(f"| {label} | {numbers} |", flush=True)
            _drain(environment)


@contextmanager
def _running_cluster(parallel: int) -> Iterator[tuple[Path, dict[str, str]]]:
    folder = Path(tempfile.mkdtemp(prefix="stepstone-bench-launch-"))
    cluster = folder / "cluster"
    cluster.mkdir()
    try:
        devcluster.up(devcluster.Options(cluster, nodes=2, cpus_per_node=parallel, memory_per_node=64000))
        yield folder, os.environ | devcluster.environment(cluster) | {"XDG_CACHE_HOME": str(folder / "cache")}
    finally:
        if (cluster / "cluster.json").exists():
            devcluster.down(cluster, wipe=True)
        shutil.rmtree(folder, ignore_errors=True)


def _side(
    side: str, folder: Path, environment: dict[str, str], count: int, parallel: int
) -> tuple[dict[str, float], Counter[str]]:
    counted = folder / f"calls-{side}"
    path = f"{_shims(folder / f'shims-{side}', counted)}:{environment['PATH']}"
    command = [sys.executable, "-m", "tests.benchmarks.launch_sides", side, str(folder / side)]
    done = subprocess.run(
        [*command, str(count), str(parallel)], env=environment | {"PATH": path}, stdout=subprocess.PIPE, check=True
    )
    calls = Counter(counted.read_text().split()) if counted.exists() else Counter()
    return json.loads(done.stdout.splitlines()[-1]), calls


def _shims(folder: Path, counted: Path) -> Path:
    """Commands of the same names that note a call and go on as the real one: the jobs call none of them."""
    folder.mkdir()
    for name in _COUNTED:
        real = shutil.which(name)
        if real:
            shim = folder / name
            shim.write_text(f'#!/bin/sh\necho {name} >> "{counted}"\nexec "{real}" "$@"\n')
            shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    return folder


def _drain(environment: dict[str, str]) -> None:
    """Until nothing of one side runs any more: the next one is to have the machine for itself."""
    patience = time.monotonic() + _DRAIN_SECONDS
    while time.monotonic() < patience:
        left = subprocess.run(["squeue", "--noheader"], env=environment, capture_output=True, text=True, check=True)
        if not left.stdout.strip():
            return
        time.sleep(1)
    raise AssertionError("jobs of the side before still run")


def _stages(seeds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="stepstone-bench-stages-") as name:
        command = [sys.executable, "-m", "tests.benchmarks.launch_stages"]
        subprocess.run([*command, "make", name, str(seeds)], check=True)
        print("| status | stages | reading the plan s | looking s | showing s | in all s | peak GiB |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        for label in ("cold: no index yet", "warm", "warm again"):
            done = subprocess.run([*command, "measure", name], stdout=subprocess.PIPE, check=True)
            found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            times = " | ".join(f"{found[what]:.2f}" for what in ("plan", "look", "show", "status", "peak_gib"))
            print(f"| {label} | {found['stages']:,} | {times} |", flush=True)
        print(f"\n{found['states']}; calls of the last: {found['calls']}")


if __name__ == "__main__":
    main()
