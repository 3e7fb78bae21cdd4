"""Which GPUs are looked at and what is said of them, by a double of NVML's library: there is no GPU where tests run."""

from dataclasses import dataclass, field
from typing import Any

import pynvml
import pytest

from slurm.samples.devices import Device, Devices, DeviceUse


@dataclass(frozen=True)
class Gpu:
    uuid: str
    busy: int | None = 50  # None: a part of one
    used: int = 10 << 30
    total: int = 80 << 30

    @property
    def gpu(self) -> int:  # as the driver calls it
        assert self.busy is not None
        return self.busy


@dataclass
class Nvml:
    """The calls that are made of it, and its errors."""

    gpus: list[Gpu]
    parts: list[Gpu] = field(default_factory=list)
    is_there: bool = True
    NVMLError = pynvml.NVMLError

    def nvmlInit(self) -> None:
        if not self.is_there:
            raise pynvml.NVMLError_LibraryNotFound

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Gpu:
        return self.gpus[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Gpu:
        return next(gpu for gpu in (*self.gpus, *self.parts) if gpu.uuid == uuid)

    def nvmlDeviceGetUUID(self, gpu: Gpu) -> bytes:
        return gpu.uuid.encode()

    def nvmlDeviceGetName(self, gpu: Gpu) -> str:
        return f"NVIDIA {gpu.uuid}"

    def nvmlDeviceGetMemoryInfo(self, gpu: Gpu) -> Any:
        return gpu

    def nvmlDeviceGetUtilizationRates(self, gpu: Gpu) -> Gpu:
        if gpu.busy is None:
            raise pynvml.NVMLError_NotSupported
        return gpu


GPUS = [Gpu("GPU-aa11"), Gpu("GPU-bb22", 75), Gpu("GPU-bb33", 0)]
PART = Gpu("MIG-cc44", None, 1 << 30, 10 << 30)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (None, GPUS),
        ("", []),
        ("NoDevFiles", []),
        ("1", [GPUS[1]]),
        ("2, 0", [GPUS[2], GPUS[0]]),
        ("0,-1,1", [GPUS[0]]),
        ("0,7,1", [GPUS[0]]),
        ("GPU-bb3", [GPUS[2]]),
        ("GPU-zz,GPU-aa11", []),
        ("MIG-cc44", [PART]),
    ],
)
def test_the_gpus_are_those_that_cuda_would_show(told: str | None, expected: list[Gpu]) -> None:
    environment = {} if told is None else {"CUDA_VISIBLE_DEVICES": told}
    devices = Devices(environment, Nvml(list(GPUS), [PART]))
    assert devices.devices == tuple(Device(f"NVIDIA {gpu.uuid}", gpu.total) for gpu in expected)
    assert devices.look() == tuple(DeviceUse(gpu.busy, gpu.used) for gpu in expected)


def test_without_a_driver_there_are_none() -> None:
    assert Devices({}, Nvml(list(GPUS), is_there=False)).look() == ()
    assert Devices({"CUDA_VISIBLE_DEVICES": "MIG-9"}).look() == ()  # the installed library, whatever this machine has
