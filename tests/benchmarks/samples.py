"""What a sample costs: `python -m tests.benchmarks.samples`. Ranks as processes with many threads, as torch has them.

Prints the CPU time of one sample and the share of a core that it is at the jobs' rate. GPUs are not in it where there
are none.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from launch.job import sampling
from launch.job.sampling import Node, Sampler
from launch.store.attempts import Attempt
from slurm.samples import Probe

_ROUNDS, _RANKS, _THREADS = 200, 8, 64
_RANK = f"""
import threading, time, sys
for _ in range({_THREADS}): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
print("ready", flush=True); sys.stdin.readline()
"""


def main() -> None:
    """Time samples of one rank and of eight, and what a whole stage's thread takes."""
    ranks = [subprocess.Popen([sys.executable, "-c", _RANK], stdin=-1, stdout=-1) for _ in range(_RANKS)]
    try:
        for rank in ranks:
            assert rank.stdout is not None
            rank.stdout.readline()
        for count in (1, _RANKS):
            probe = Probe([rank.pid for rank in ranks[:count]])
            probe.look()
            seconds = median(_cpu_seconds(probe) for _ in range(5)) / _ROUNDS
            print(
                f"{count} ranks of {_THREADS + 1} threads: {seconds * 1000:.2f} ms a sample,"
                f" {100 * seconds / sampling.SECONDS:.4f} % of a core"
            )
        pids = tuple(rank.pid for rank in ranks)
        with TemporaryDirectory() as folder:
            sampling.FIRST_SECONDS = sampling.SECONDS = 0.0
            with Sampler(Attempt(Path(folder)), Node(pids, "usage.jsonl")):
                time.sleep(3)
            content = (Path(folder) / "usage.jsonl").read_bytes()
            lines = content.count(b"\n")
            print(f"a sample without GPUs: {len(content) / lines:.0f} bytes; a file has 128 at most")
    finally:
        for rank in ranks:
            rank.kill()


def _cpu_seconds(probe: Probe) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(_ROUNDS):
        probe.look()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
