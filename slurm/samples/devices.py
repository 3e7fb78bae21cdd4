"""How busy and how full the GPUs are that a process may see, by NVML. Without NVIDIA's driver there are none.

Which they are, CUDA_VISIBLE_DEVICES says as CUDA reads it: numbers, or the beginnings of UUIDs, until the first that is
none. Of a part of a GPU (MIG) nobody counts how busy it is.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_DRIVERS = ("/dev/nvidiactl", "/dev/dxg")  # the second: Windows' subsystem for Linux


@dataclass(frozen=True)
class DeviceUse:
    """Of one GPU, now."""

    utilisation: float | None  # percent of the last moment in which something ran on it; None: not counted
    memory: int  # bytes in use, by whichever process


@dataclass(frozen=True)
class Device:
    """What a GPU is."""

    name: str
    memory: int  # bytes that it has


class Devices:
    """The GPUs that an environment lets a process see. Asks the driver, which may take a second, or fail."""

    def __init__(self, environment: Mapping[str, str] | None = None, nvml: Any = None) -> None:
        """nvml: the driver's library, where it is not the installed one."""
        self._nvml = nvml if nvml is not None else _library()
        self._handles: list[Any] = []
        self.devices: tuple[Device, ...] = ()
        if self._nvml is None:
            return
        with suppress(self._nvml.NVMLError):
            self._nvml.nvmlInit()
            self._handles = list(self._visible(os.environ if environment is None else environment))
            self.devices = tuple(map(self._device, self._handles))

    def look(self) -> tuple[DeviceUse, ...]:
        """In the order of `devices`. Raises the driver's error where one does not answer any more."""
        return tuple(
            DeviceUse(self._utilisation(handle), int(self._nvml.nvmlDeviceGetMemoryInfo(handle).used))
            for handle in self._handles
        )

    def _visible(self, environment: Mapping[str, str]) -> Iterator[Any]:
        count = self._nvml.nvmlDeviceGetCount()
        told_devices = environment.get("CUDA_VISIBLE_DEVICES")
        if told_devices is None:
            yield from map(self._nvml.nvmlDeviceGetHandleByIndex, range(count))
            return
        for word in (part.strip() for part in told_devices.split(",")):
            handle = self._handle(word, count)
            if handle is None:
                return
            yield handle

    def _handle(self, word: str, count: int) -> Any:
        """Of a number, or of a UUID's beginning; None: it is none."""
        if word.isdecimal():
            return self._nvml.nvmlDeviceGetHandleByIndex(int(word)) if int(word) < count else None
        if word.startswith("MIG-"):
            return self._nvml.nvmlDeviceGetHandleByUUID(word)
        handles = map(self._nvml.nvmlDeviceGetHandleByIndex, range(count if word.startswith("GPU-") else 0))
        return next((h for h in handles if _word(self._nvml.nvmlDeviceGetUUID(h)).startswith(word)), None)

    def _device(self, handle: Any) -> Device:
        return Device(
            _word(self._nvml.nvmlDeviceGetName(handle)), int(self._nvml.nvmlDeviceGetMemoryInfo(handle).total)
        )

    def _utilisation(self, handle: Any) -> float | None:
        try:
            return float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        except self._nvml.NVMLError:  # not supported, not permitted
            return None


def _word(text: Any) -> str:
    """Older versions of the library give bytes."""
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)


def _library() -> Any:
    """None without a driver: then nothing is imported for it."""
    if not any(map(os.path.exists, _DRIVERS)):
        return None
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml
