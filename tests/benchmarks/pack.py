"""`make bench-pack`: a sweep of small trainings on a node that each job has for itself, as many sites give nodes out:
one job a training, bundles, packs, and packs of bundles.

A training is of a 2-layer model on generated data with its evaluation in two languages; data is tokenised before. The
ways take turns, so that a busy moment of the machine hits all; each has seeds of its own, and a store shared with the
others. The time counts from `submit` to the end of the last stage, with the jobs' waiting and starting.
    python -m tests.benchmarks.pack [--rounds 2] [--trainings 6] [--tiny]
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from launch.store import attempts, times
from slurm import devcluster
from tests.benchmarks.start import EXPERIMENT, prepare, type_command

_CORES = 2
_BUNDLE = "00:04:15"  # three trainings by their estimate, each of which begins with a job's start
_CLUSTER = '{{executor: slurm, partition: cpu, cpus-per-task: {cores}, sbatch: {{exclusive: "true"}}{more}}}'
_WAYS = {
    "a job each": "",
    "bundle: three in a job, one after the other": ', bundle: "{bundle}"',
    "pack: 2": ", pack: 2",
    "pack: 2, with bundle": ', pack: 2, bundle: "{bundle}"',
}


@dataclass(frozen=True)
class SweepTime:
    """One sweep. `held`: seconds of all jobs together, each from the start of its first process. `cpu`: seconds of
    cores, as accounting says."""

    seconds: float
    held: float
    cpu: float
    jobs: int


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--trainings", type=int, default=6, help="of a sweep")
    parser.add_argument("--epochs", type=int, default=4, help="of a training, of four steps each")
    parser.add_argument("--tiny", action="store_true", help="a random model of 40 MB: for a trial")
    arguments = parser.parse_args()
    sweeps: dict[str, list[SweepTime]] = {way: [] for way in _WAYS}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stepstone-bench-pack-")))
        environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "NO_COLOR": "1"}
        environment.pop("OMP_NUM_THREADS", None)
        prepare(folder, environment, tiny=arguments.tiny)
        cluster = folder / "cluster"
        cluster.mkdir()
        devcluster.up(devcluster.Options(cluster, nodes=1, cpus_per_node=_CORES, memory_per_node=64000))
        stack.callback(devcluster.down, cluster, wipe=True)
        environment |= devcluster.environment(cluster)
        first_seed = 2  # the first made the tokens
        for _ in range(arguments.rounds):
            for way, readings in sweeps.items():
                seeds = range(first_seed, first_seed + arguments.trainings)
                first_seed += arguments.trainings
                readings.append(_run(folder, way, seeds, arguments.epochs, environment))
                print(f"{way}: {readings[-1]}, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    print(report(sweeps))


def report(sweeps: Mapping[str, Sequence[SweepTime]]) -> str:
    """Medians in seconds, and by how much each way is faster than a job each."""
    first = median(reading.seconds for reading in next(iter(sweeps.values())))
    columns = ("jobs", "submit to last end", "node held", "cores' time", "times as fast")
    lines = [f"| the sweep as | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for way, readings in sweeps.items():
        seconds, held, cpu = (
            median(getattr(reading, name) for reading in readings) for name in ("seconds", "held", "cpu")
        )
        spent = f"{seconds:.0f} s | {held:.0f} s | {cpu:.0f} s"
        lines.append(f"| {way} | {readings[0].jobs} | {spent} | {first / seconds:.2f} |")
    return "\n".join(lines)


def _run(folder: Path, way: str, seeds: range, epochs: int, environment: Mapping[str, str]) -> SweepTime:
    """All trainings of a sweep in one submission."""
    more = _WAYS[way].format(bundle=_BUNDLE)
    text = EXPERIMENT.format(seeds=", ".join(map(str, seeds)), cluster=_CLUSTER.format(cores=_CORES, more=more))
    file = folder / f"{seeds.start}.yaml"
    file.write_text(text.replace("epochs: 1", f"epochs: {epochs}"), encoding="utf-8")
    began = time.time()
    type_command(folder, environment, "submit", file.name, "--wait")
    stages = [path for seed in seeds for path in sorted(folder.glob(f"store/stages/mnli-s{seed}-*"))]
    every = [attempt for stage in stages for attempt in attempts.attempts_of(stage)]
    assert len(every) == 2 * len(seeds), every
    spans: dict[str, list[float]] = {}
    for attempt in every:
        starter, end = attempts.starter_of(attempt), attempts.end_of(attempt)
        assert starter.job is not None and starter.time is not None and end is not None and end.failure is None
        spans.setdefault(starter.job, []).extend((_process_began(attempt), end.time))
    held = sum(max(span) - min(span) for span in spans.values())
    jobs = json.loads(type_command(folder, environment, "usage", file.name, "--json"))["accounting"]["jobs"]
    assert len(jobs) == len(spans), jobs
    last = max(max(span) for span in spans.values())
    return SweepTime(last - began, held, sum(job["cpu"] for job in jobs), len(spans))


def _process_began(attempt: attempts.Attempt) -> float:
    began, noted = attempts.starter_of(attempt).time, times.of_attempt(attempt)
    assert began is not None and noted is not None
    return began - noted.imports


if __name__ == "__main__":
    main()
