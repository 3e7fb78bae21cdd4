"""What an attempt used: its samples, and their summary in the last line of its log.jsonl, beside its times.

    attempts/NNNN/usage.jsonl   a sample a line, a hundred or so, equally far apart however long it took
                  usage-<rank>.jsonl   the same of each further node

Attempts of earlier versions have neither. One that was killed has samples alone, and nowhere that there were further
nodes but in their files.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from launch.store import times
from launch.store.attempts import Attempt
from launch.text import duration, size
from slurm.base import look
from slurm.samples import Sample

FILE = "usage.jsonl"  # of rank 0's node
_INTERVAL = '{"interval"'  # begins a line of log.jsonl about the speed of some steps


@dataclass(frozen=True)
class GpuUse:
    """Of one GPU."""

    busy: float | None = None  # percent, the mean of all samples; None: nobody counts
    busiest: float | None = None  # percent
    memory: int = 0  # bytes, the most in use
    has: int = 0  # bytes of it; 0: not known
    name: str = ""


@dataclass(frozen=True)
class Usage:
    """What one attempt used, on all nodes; memory is the fullest node's."""

    seconds: float = 0.0  # over which it is of
    cpu: float = 0.0  # seconds of CPUs
    memory: int = 0  # bytes resident, the most
    usual_memory: int = 0  # bytes, the mean
    group_memory: int | None = None  # bytes, the most that the job's control group held, with what it cached of files
    read: int = 0  # bytes
    written: int = 0  # bytes
    io_wait: float | None = None  # seconds that main threads waited for disks; None: nobody counts
    data_wait: float | None = None  # share of the steps' time that waited for data; None: no training
    gpus: tuple[GpuUse, ...] = ()
    samples: int = 0
    nodes: int = 1

    @property
    def cores(self) -> float:
        """That were busy, in the mean."""
        return self.cpu / self.seconds if self.seconds else 0.0

    @property
    def busy(self) -> float | None:
        """Percent that its GPUs were busy, in the mean; None where nobody counts."""
        percents = [gpu.busy for gpu in self.gpus if gpu.busy is not None]
        return sum(percents) / len(percents) if percents else None

    def line(self) -> str:
        """For people."""
        parts = [f"{self.cores:.1f} cores busy, {size(self.memory)} of memory"]
        if self.gpus:
            busy = "" if self.busy is None else f" {self.busy:.0f} % busy,"
            parts.append(f"GPUs{busy} {size(max(gpu.memory for gpu in self.gpus))} full")
        parts += [f"{size(self.read)} read, {size(self.written)} written"]
        parts += [] if not self.io_wait else [f"{duration(self.io_wait)} of waiting for disks"]
        parts += [] if self.data_wait is None else [f"{self.data_wait:.0%} of waiting for data"]
        return f"used: {'; '.join(parts)}"


_USAGE, _SAMPLE = TypeAdapter(Usage), TypeAdapter(Sample)


def of_attempt(attempt: Attempt) -> Usage | None:
    """What an attempt noted of itself; of one that runs or was killed, what its samples say. None: there are none."""
    noted = _noted(attempt)
    if noted is not None and noted.nodes == 1:
        return noted
    names = [name for name in look.names(attempt.folder) if name.startswith("usage-") and name.endswith(".jsonl")]
    further_nodes = [use for name in names if (use := summary(samples_of(attempt, name))) is not None]
    first = noted or summary(samples_of(attempt))
    nodes = [first, *further_nodes] if first is not None else further_nodes
    return _together(nodes) if nodes else None


def _noted(attempt: Attempt) -> Usage | None:
    """The summary in its last line; None where it did not come to that."""
    last_words = times.last_line(attempt).get("usage")
    with suppress(ValidationError):  # of a later version
        return _USAGE.validate_python(last_words) if last_words else None
    return None


def samples_of(attempt: Attempt, name: str = FILE) -> list[Sample]:
    """The samples of an attempt, the oldest first; without those that cannot be read."""
    samples = []
    try:
        lines = look.read_bytes(attempt.folder / name).splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            samples.append(_SAMPLE.validate_json(line))
        except ValidationError:  # torn, or of a later version
            continue
    return samples


def to_line(sample: Sample) -> str:
    """As it stands in the file; what nobody counts is left out."""
    return json.dumps({name: value for name, value in asdict(sample).items() if value not in (None, ())}) + "\n"


def summary(samples: Sequence[Sample]) -> Usage | None:
    """Of all samples of a node, which are equally far apart. None: there are none."""
    if not samples:
        return None
    last, memory = samples[-1], [sample.memory for sample in samples]
    return Usage(
        seconds=round(last.time - samples[0].time, 1),
        cpu=round(last.cpu - samples[0].cpu, 2),
        memory=max(memory),
        usual_memory=sum(memory) // len(memory),
        read=last.read,
        written=last.written,
        io_wait=last.io_wait,
        gpus=tuple(_gpu(samples, number) for number in range(max(len(sample.gpu_memory) for sample in samples))),
        samples=len(samples),
    )


def data_wait(log: Path) -> float | None:
    """The share of the steps' time that waited for data, by a training's log.jsonl; None: it says nothing of it."""
    total = waits = 0.0
    try:
        with log.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith(_INTERVAL):
                    record = json.loads(line)
                    total += record["seconds"]
                    waits += record["seconds"] * record["data_wait"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return round(waits / total, 4) if total else None


def record(usage: Usage) -> dict[str, Any]:
    """For JSON; what nobody counts is left out."""
    return {name: value for name, value in asdict(usage).items() if value not in (None, ())}


def _gpu(samples: Iterable[Sample], number: int) -> GpuUse:
    percents = [sample.gpus[number] for sample in samples if number < len(sample.gpus)]
    counted_percents = [percent for percent in percents if percent is not None]
    memory = max(sample.gpu_memory[number] for sample in samples if number < len(sample.gpu_memory))
    if not counted_percents:
        return GpuUse(memory=memory)
    return GpuUse(round(sum(counted_percents) / len(counted_percents), 1), max(counted_percents), memory)


def _together(nodes: Sequence[Usage]) -> Usage:
    first = nodes[0]
    waits = [use.io_wait for use in nodes if use.io_wait is not None]
    return Usage(
        seconds=first.seconds,
        cpu=round(sum(use.cpu for use in nodes), 2),
        memory=max(use.memory for use in nodes),
        usual_memory=max(use.usual_memory for use in nodes),
        group_memory=first.group_memory,
        read=sum(use.read for use in nodes),
        written=sum(use.written for use in nodes),
        io_wait=sum(waits) if waits else None,
        data_wait=first.data_wait,
        gpus=tuple(gpu for use in nodes for gpu in use.gpus),
        samples=first.samples,
        nodes=max(first.nodes, len(nodes)),
    )
