"""Samples of what a stage uses on this node, taken by a thread of the process that runs it. They never hurt the stage:
whatever goes wrong ends them without a word, and nobody waits for a driver that does not answer.
"""

import os
import socket
import threading
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass, replace

from launch.store import usage
from launch.store.attempts import Attempt
from launch.store.usage import GpuUse, Usage
from slurm.base.files import write_atomic
from slurm.samples import Probe, Sample
from slurm.samples.processes import job_peak
from training import distributed
from training.distributed import World

FIRST_SECONDS, SECONDS = 1.0, 15.0  # until the first sample; between two, until the file is full
_MOST = 128  # samples in a file: then every second one goes, and they are taken half as often
_PATIENCE = 2.0  # seconds that the end of a stage waits for a sample that is just being taken


@dataclass(frozen=True)
class Node:
    """The ranks on this node. The first of them takes samples."""

    pids: tuple[int, ...]
    file: str | None  # the samples'; None: another rank of this node takes them
    nodes: int = 1  # that the ranks are on


def this_node(world: World) -> Node:
    """Called by every rank."""
    host = zlib.crc32(socket.gethostname().encode())
    ranks = distributed.from_all((host, os.getpid()), world)
    here = [rank for rank, (other_host, _) in enumerate(ranks) if other_host == host]
    is_first = here[0] == world.rank
    name = usage.FILE if world.first else f"usage-{world.rank}.jsonl"
    return Node(
        tuple(ranks[rank][1] for rank in here),
        name if is_first else None,
        len({other_host for other_host, _ in ranks}),
    )


class Sampler:
    """Takes the samples of one stage. Use as a context; afterwards `usage` says what it used, where that is known."""

    def __init__(self, attempt: Attempt, node: Node) -> None:
        assert node.file is not None, "another rank takes them"
        self._attempt, self._node, self._file = attempt, node, attempt.folder / node.file
        self._samples: list[Sample] = []
        self._probe: Probe | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
        self.usage: Usage | None = None

    def __enter__(self) -> "Sampler":
        with suppress(Exception):
            self._began = time.time()
            self._probe = Probe(self._node.pids)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):
            self._stopped.set()
            self._thread.join(_PATIENCE)
            self.usage = self._summary()

    def _run(self) -> None:
        with suppress(Exception):
            wait, between = FIRST_SECONDS, SECONDS
            while not self._stopped.wait(wait):
                assert self._probe is not None
                self._samples.append(self._probe.look())
                if len(self._samples) < _MOST:
                    with self._file.open("a", encoding="utf-8") as file:
                        file.write(usage.to_line(self._samples[-1]))
                else:
                    del self._samples[::2]
                    write_atomic(self._file, "".join(map(usage.to_line, self._samples)))
                    between *= 2
                wait = between

    def _summary(self) -> Usage | None:
        """With a last look, at what the kernel alone knows: so the shortest stage has one."""
        assert self._probe is not None
        last = self._probe.look_at_processes()
        stage_usage = usage.summary([*self._samples, last])
        assert stage_usage is not None
        devices = self._probe.devices
        return replace(
            stage_usage,
            seconds=round(time.time() - self._began, 3),
            cpu=last.cpu,
            memory=max(stage_usage.memory, self._probe.peak()),
            group_memory=job_peak(os.environ.get("SLURM_JOB_ID")),
            data_wait=usage.data_wait(self._attempt.folder / "log.jsonl"),
            gpus=tuple(
                replace(gpu, has=device.memory, name=device.name)
                for gpu, device in zip(stage_usage.gpus or (GpuUse(),) * len(devices), devices, strict=False)
            ),
            nodes=self._node.nodes,
        )
