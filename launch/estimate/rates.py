"""How fast devices are at this work: from what a store's finished trainings took, else from data sheets.

`rates.json` in the store keeps the rate of each finished training (operations per second and device) and what it is of:
the device's name, the precision, on a CPU the cores of a rank.
"""

import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median

from launch import executors
from launch.experiment import Cluster
from slurm.base.files import read_sealed, seal, write_atomic
from training.flops import device_peak
from training.spec import Precision

_SCHEMA = 2
_REMEMBERED = 1000  # trainings per store
# Of the peak; what short sequences reach is more often above than below it. The estimate errs to the safe side.
_MFU_BF16, _MFU_FP32 = 0.25, 0.4
_CORE_FLOPS = 20e9  # per second and core of a CPU, fp32
_USUAL_GPU = "A100"  # where the file does not say which
# By the names that files give them: GB of memory, of the smallest that is sold.
_GIGABYTES = {
    "GH200": 96, "H200": 141, "H100": 80, "H800": 80, "H20": 96, "A100": 40, "A800": 40, "A40": 48, "A30": 24,
    "A10": 24, "L40S": 48, "L40": 48, "L4": 24, "V100": 16, "T4": 16,
}  # fmt: skip


@dataclass(frozen=True)
class Rate:
    """Operations per second of one device, and how they are known."""

    flops_per_second: float
    device: str
    why: str  # for people: "measured by 12 trainings", "a quarter of its data sheet"
    measured: bool = False


@dataclass(frozen=True)
class Measured:
    """The rate of one finished training."""

    stage: str
    device: str  # "NVIDIA H200", "cpu"; "cuda" where the record does not name the GPU
    precision: str  # "fp32", "bf16"
    cores: int | None  # of a rank; None: not recorded
    flops_per_second: float


def default(cluster: Cluster, *, gpu: bool, bf16: bool) -> Rate:
    """The rate of the devices that the file asks for, by their data sheet."""
    if not gpu:
        cores = executors.of_cluster(cluster).cores_per_rank(cluster)
        return Rate(_CORE_FLOPS * cores, "cpu", f"{_CORE_FLOPS / 1e9:.0f} GFLOP/s a core assumed, {cores} cores a rank")
    name = _named(cluster)
    device = name or _USUAL_GPU
    peak = device_peak(device, bf16=True) if bf16 else None
    share = _MFU_BF16 if peak else _MFU_FP32
    peak = peak or device_peak(device, bf16=False)
    assert peak is not None, device
    note = "" if name else "; the file does not say which GPU"
    return Rate(share * peak, device, f"{share:.0%} of its data sheet{note}")


def choose(
    measurements: Iterable[Measured], cluster: Cluster, *, gpu: bool, precision: Precision, cores: int | None = None
) -> Rate:
    """The median of what trainings took on such devices, in that precision and on a CPU with so many cores a rank; else
    `default`. cores: None: as the file asks for."""
    gpu_name = _named(cluster) if gpu else None
    cores = cores or executors.of_cluster(cluster).cores_per_rank(cluster)
    by_device: dict[str, list[float]] = {}
    for measurement in measurements:
        alike = (
            (measurement.device != "cpu") is gpu
            and (gpu or measurement.cores == cores)
            and _is_in(measurement, precision)
        )
        if alike and (gpu_name is None or _is(measurement.device, gpu_name)):
            by_device.setdefault(measurement.device, []).append(measurement.flops_per_second)
    if not by_device:
        return default(cluster, gpu=gpu, bf16=precision == "bf16" or (precision == "auto" and gpu))
    device = max(by_device, key=lambda name: len(by_device[name]))
    count = len(by_device[device])
    why = f"measured by {count} training{'s' if count > 1 else ''}"
    return Rate(median(by_device[device]), device, why, measured=True)


def _is_in(measurement: Measured, precision: Precision) -> bool:
    """Whether it was measured in the precision asked for; auto: in what that comes to there (`training.model`)."""
    if precision != "auto":
        return measurement.precision == precision
    if measurement.device == "cpu":
        return measurement.precision == "fp32"
    fp32, bf16 = (device_peak(measurement.device, bf16=half) for half in (False, True))
    return fp32 is None or (measurement.precision == "bf16") is (bf16 is not None)  # of an unknown GPU it is not known


def _is(device: str, gpu_name: str) -> bool:
    """Whether a device is of the type that the file names; a GPU without a name may be."""
    return device == "cuda" or gpu_name.lower() in re.findall(r"[a-z0-9]+", device.lower())


def _named(cluster: Cluster) -> str | None:
    """Type of GPU that the file's flags name: `gpus-per-node: a100:2`, `constraint: h100`, `partition: gpu-v100`."""
    flags = ("gres", "gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket", "constraint", "partition")
    flag_values = cluster.sbatch_flags()
    words = set(re.findall(r"[a-z0-9]+", " ".join(str(flag_values.get(flag, "")) for flag in flags).lower()))
    return next((name for name in _GIGABYTES if name.lower() in words), None)


def gpu_memory(cluster: Cluster) -> int | None:
    """Bytes of a GPU that the file asks for, at the least; None where it does not say which."""
    name = _named(cluster)
    return None if name is None else _GIGABYTES[name] * 10**9


def path(root: Path) -> Path:
    """Where a store keeps them."""
    return root / "rates.json"


def read(root: Path) -> list[Measured]:
    """What a store knows of its trainings' rates."""
    record = read_sealed(path(root))
    if record is None or record["schema"] != _SCHEMA:
        return []
    return [Measured(*values) for values in record["stages"]]


def remember(root: Path, new: Iterable[Measured]) -> list[Measured]:
    """Add what was measured to the store's file, which is written where that changes it; returns all."""
    before = {measurement.stage: measurement for measurement in read(root)}
    after = before | {measurement.stage: measurement for measurement in new}
    if after != before:
        latest = list(after.values())[-_REMEMBERED:]
        stages = [list(astuple(measurement)) for measurement in latest]
        write_atomic(path(root), seal({"schema": _SCHEMA, "stages": stages}))
    return list(after.values())
