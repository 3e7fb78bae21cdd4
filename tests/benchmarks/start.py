"""`make bench-start`: what a short element takes besides its steps, on a local worker and as a job of a real Slurm,
beside the bare import of torch, transformers and deepspeed in the same run.

An element is a training of a 2-layer model on generated data and its evaluation in two languages; data is tokenised
before, as `stepstone prepare` does. Rounds of bare imports, local elements and jobs take turns, so that a busy moment
of the machine hits all.
    python -m tests.benchmarks.start [--rounds 3] [--elements 2] [--no-slurm] [--tiny]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from launch.demo import data
from launch.store import attempts, times
from launch.store.attempts import Attempt
from launch.store.times import StageTimes
from slurm import devcluster
from training.pretrained import small

_PACKAGES = "import torch, transformers, deepspeed"
_PHASES = ("imports", "load", "tokenise", "train", "dev", "evaluate", "save", "other")
_STEPS = ("train", "dev", "evaluate")  # what the element is for
EXPERIMENT = """\
name: start
store: ./store
model: ./model
recipes: [none]
targets: [xnli]
seeds: [{seeds}]
languages: {{default: [en, de]}}
data: {{root: ./data, max_train: 64, max_eval: 32}}
training: {{epochs: 1, global_batch_size: 16, token_budget: 1024, max_length: 64, device: cpu, matmul: mkl}}
cluster: {cluster}
collect: {{job: false, every: 0}}
"""
_LOCAL = "{executor: local, workers: 1}"
_SLURM = '{{executor: slurm, partition: cpu, cpus-per-task: {cores}, throttle: 1, setup: ["date +%s.%N >> {note}"]}}'


@dataclass(frozen=True)
class ElementTime:
    """One element: all of it, and the sum of its stages' phases. `queue`: of its first stage."""

    seconds: float
    queue: float
    phases: Mapping[str, float]

    @property
    def beside(self) -> float:
        """What it takes besides its steps."""
        return self.seconds - sum(self.phases[name] for name in _STEPS)


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--elements", type=int, default=2, help="of each kind in a round")
    parser.add_argument("--no-slurm", action="store_true")
    parser.add_argument("--tiny", action="store_true", help="a random model of 40 MB: for a trial")
    arguments = parser.parse_args()
    imports: list[float] = []
    elements: dict[str, list[ElementTime]] = {"local": []}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stepstone-bench-start-")))
        environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "NO_COLOR": "1"}
        prepare(folder, environment, tiny=arguments.tiny)
        if not arguments.no_slurm:
            environment |= stack.enter_context(_cluster(folder / "cluster"))
            elements["Slurm"] = []
        first_seed = 2  # the first made the tokens
        for _ in range(arguments.rounds):
            imports += [_bare_import(environment) for _ in range(arguments.elements)]
            for kind, readings in elements.items():
                seeds = range(first_seed, first_seed + arguments.elements)
                first_seed += arguments.elements
                readings += _run(folder, kind, seeds, environment)
            print(f"{len(imports)} of each, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    print(report(imports, elements))


def report(imports: Sequence[float], elements: Mapping[str, Sequence[ElementTime]]) -> str:
    """Medians in seconds, and what stands beside the steps in bare imports."""
    bare = median(imports)
    columns = ("queue", *_PHASES, "in all", "beside its steps", "in bare imports")
    blank = " |" * (len(_PHASES) - 1)
    lines = [
        f"| seconds, medians of {len(imports)} | {' | '.join(columns)} |",
        f"|---|{'---:|' * len(columns)}",
        f"| bare import of torch, transformers, deepspeed | | {bare:.1f} |{blank} {bare:.1f} | | 1 |",
    ]
    for kind, readings in elements.items():
        phases = " | ".join(f"{median(reading.phases[name] for reading in readings):.1f}" for name in _PHASES)
        beside = median(reading.beside for reading in readings)
        total = median(reading.seconds for reading in readings)
        queue = median(reading.queue for reading in readings)
        lines.append(f"| {kind} element | {queue:.1f} | {phases} | {total:.1f} | {beside:.1f} | {beside / bare:.2f} |")
    return "\n".join(lines)


def prepare(folder: Path, environment: Mapping[str, str], *, tiny: bool) -> None:
    """Data, a model, and the tokens of both."""
    data.write(folder / "data")
    if tiny:
        small.tiny(folder / "model")
    else:
        small.small(folder / "model", 2)
    (folder / "prepare.yaml").write_text(EXPERIMENT.format(seeds=1, cluster=_LOCAL), encoding="utf-8")
    type_command(folder, environment, "prepare", "prepare.yaml")


def type_command(folder: Path, environment: Mapping[str, str], *command: str) -> str:
    """What a command prints that a person types in a folder."""
    program = str(Path(sys.executable).parent / "stepstone")
    done = subprocess.run([program, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"stepstone {' '.join(command)}: {done.stderr}")
    return done.stdout


def _bare_import(environment: Mapping[str, str]) -> float:
    """Seconds of a process that does nothing else."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", _PACKAGES], env=environment, capture_output=True, check=True)
    return time.monotonic() - began


def _run(folder: Path, kind: str, seeds: range, environment: Mapping[str, str]) -> list[ElementTime]:
    """Some elements, one after the other, in one submission."""
    note = folder / f"began-{seeds.start}"
    cores = max(1, len(os.sched_getaffinity(0)))
    cluster = _LOCAL if kind == "local" else _SLURM.format(note=note, cores=cores)
    file = folder / f"{seeds.start}.yaml"
    text = EXPERIMENT.format(seeds=", ".join(map(str, seeds)), cluster=cluster)
    file.write_text(text, encoding="utf-8")
    type_command(folder, environment, "submit", file.name, "--wait")
    return list(_local(folder, seeds) if kind == "local" else _jobs(folder, seeds, note))


def _local(folder: Path, seeds: range) -> Iterator[ElementTime]:
    """From a worker's claim to its note of the end. One worker takes the elements in their order."""
    (run,) = sorted(folder.glob("store/submissions/*/local"))[-1:]
    for number, seed in enumerate(seeds):
        end = run / "ends" / f"{number}.json"
        while not end.exists():  # its stages are finished, the worker has not seen it yet
            time.sleep(0.02)
        began = (run / "claims" / f"{number}.json").stat().st_mtime
        yield _element(folder, seed, end.stat().st_mtime - began)


def _jobs(folder: Path, seeds: range, note: Path) -> Iterator[ElementTime]:
    """From the first line of a job's script to the end of its last stage. They run one at a time."""
    begins = sorted(map(float, note.read_text(encoding="utf-8").split()))
    ends = {seed: max(_end(attempt) for attempt in _attempts(folder, seed)) for seed in seeds}
    for seed, began in zip(sorted(ends, key=lambda seed: ends[seed]), begins, strict=True):
        yield _element(folder, seed, ends[seed] - began)


def _element(folder: Path, seed: int, seconds: float) -> ElementTime:
    stages = [_times(attempt) for attempt in _attempts(folder, seed)]
    phases = {name: sum(getattr(stage, name) for stage in stages) for name in _PHASES}
    return ElementTime(seconds, sum(stage.queue or 0.0 for stage in stages), phases)


def _attempts(folder: Path, seed: int) -> list[Attempt]:
    """Of the training and the evaluation, one each."""
    stages = sorted(folder.glob(f"store/stages/mnli-s{seed}-*"))
    every = [attempt for stage in stages for attempt in attempts.attempts_of(stage)]
    assert len(every) == 2, every
    return every


def _end(attempt: Attempt) -> float:
    note = attempts.end_of(attempt)
    assert note is not None and note.failure is None, attempt
    return note.time


def _times(attempt: Attempt) -> StageTimes:
    noted = times.of_attempt(attempt)
    assert noted is not None, attempt
    return noted


@contextmanager
def _cluster(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of a dev cluster of one node."""
    folder.mkdir()
    devcluster.up(devcluster.Options(folder, nodes=1, memory_per_node=64000))
    try:
        yield devcluster.environment(folder)
    finally:
        devcluster.down(folder, wipe=True)


if __name__ == "__main__":
    main()
