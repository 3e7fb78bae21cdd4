"""One look at what a job's processes and devices on this node use."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slurm.samples.devices import Device, Devices
from slurm.samples.processes import ProcessUse, Tree


@dataclass(frozen=True)
class Sample:
    """What was in use at one time. CPU time, bytes and waits are counted from the probe's beginning."""

    time: float  # Unix time
    cpu: float  # seconds of CPUs
    memory: int  # bytes resident
    read: int = 0  # bytes
    written: int = 0  # bytes
    io_wait: float | None = None  # seconds; None: the kernel does not count them
    gpus: tuple[float | None, ...] = ()  # percent that each was busy; None: nobody counts
    gpu_memory: tuple[int, ...] = ()  # bytes in use on each


class Probe:
    """Looks at some processes of this host, what they started, and the GPUs that this process may see."""

    def __init__(self, pids: Sequence[int], environment: Mapping[str, str] | None = None) -> None:
        self._tree, self._environment = Tree(pids), environment
        self._devices: Devices | None = None
        self._before, self._peak_before = self._tree.look(), self._tree.peak()

    @property
    def devices(self) -> tuple[Device, ...]:
        """The GPUs; none before the first look at them."""
        return self._devices.devices if self._devices else ()

    def look(self) -> Sample:
        """At everything. May wait for the driver, and raise its error."""
        if self._devices is None:
            self._devices = Devices(self._environment)
        in_use = self._devices.look()
        percents, amounts = tuple(use.utilisation for use in in_use), tuple(use.memory for use in in_use)
        return self._sample(self._tree.look(), percents, amounts)

    def look_at_processes(self) -> Sample:
        """At what the kernel alone knows, which takes no time."""
        return self._sample(self._tree.look(), (), ())

    def peak(self) -> int:
        """Bytes: the most that was resident since the probe's beginning; 0 where an earlier time had more."""
        peak = self._tree.peak()
        return peak if peak > self._peak_before else 0

    def _sample(self, now: ProcessUse, gpus: tuple[float | None, ...], gpu_memory: tuple[int, ...]) -> Sample:
        before = self._before
        waits = None if now.io_wait is None else round(max(0.0, now.io_wait - (before.io_wait or 0.0)), 2)
        return Sample(
            round(time.time(), 1),
            round(max(0.0, now.cpu - before.cpu), 2),
            now.memory,
            max(0, now.read - before.read),
            max(0, now.written - before.written),
            waits,
            gpus,
            gpu_memory,
        )
