"""The library that makes the CPU's fp32 matrix products: MKL, or oneDNN where that is exact and clearly faster.

torch builds with MKL send fp32 products to it, which on some chips is far slower than oneDNN (measured on an AMD chip:
217 against 430 to 490 GFLOP/s; on an Intel Xeon without AMX both are about as fast). Allowing oneDNN to compute fp32
products in bf16 routes them there. Whether it then rounds to bf16 depends on the chip: with AMX or AVX512-BF16 it may,
so nothing is believed without a comparison to float64. On chips where the switch does nothing (too old for oneDNN's
bf16 kernels, or torch built without MKL or oneDNN) both names give the same products at the same speed: MKL's it stays.
The switch is one for the whole process.

The two round differently, and a probe on a busy machine may fall either way. So `auto` is decided once for a store and
a model of processor, by the first stage that computes there, and written down; later stages follow (see `deciding_in`).
"""

import platform
import re
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional

from slurm.base import UserError
from slurm.base.files import make_folder, read_sealed, seal, write_once
from training.spec import Matmul
from training.stopwatch import phase

Library = Literal["mkl", "onednn"]
_PRECISION: dict[Library, str] = {"mkl": "ieee", "onednn": "bf16"}
_SHAPES = (
    (1280, 384, 1536),
    (1024, 1024, 4096),
)  # tokens, width, inner width: a small encoder's layer, and a large one's
_CHECKED_ROWS = 32  # of a product: float64 is slow
_MOST_ERROR = 1e-5  # relative; fp32 stays near 4e-7, bf16 is near 3e-3
_FASTER = 1.25  # by less, a run must not change its library: timings are noise
_REPETITIONS, _SECONDS = 7, 0.1
_DECISIONS: ContextVar[Path | None] = ContextVar("decisions", default=None)


@dataclass(frozen=True)
class MatmulChoice:
    """The chosen library; `exact_error`: relative to float64; `gflops`: its speed, 10⁹ operations a second."""

    name: Library
    exact_error: float
    gflops: float
    why: str


def is_exact(choice: MatmulChoice) -> bool:
    """Whether it computes in fp32 on this machine."""
    return choice.exact_error <= _MOST_ERROR


def apply(name: Library) -> str:
    """Let `name` make this process's fp32 products from now on. Returns what was set before, for `restore`."""
    before = _setting()
    restore(_PRECISION[name])
    return before


def restore(before: str) -> None:
    """Set again what `apply` found."""
    _switch().fp32_precision = before


def _setting() -> str:
    return str(_switch().fp32_precision)


def _switch() -> Any:
    backend: Any = torch.backends.mkldnn
    return backend.matmul


@contextmanager
def using(library: Matmul, device: torch.device) -> Iterator[MatmulChoice | None]:
    """Inside, a CPU's products are made by the chosen library; None, and nothing changes, on another device."""
    if device.type != "cpu":
        yield None
        return
    choice = choose_matmul(library)
    before = apply(choice.name)
    try:
        yield choice
    finally:
        restore(before)


@contextmanager
def deciding_in(folder: Path) -> Iterator[None]:
    """Inside, `auto` is what `folder` says for this model of processor; what it does not say yet is written there."""
    token = _DECISIONS.set(folder)
    try:
        yield
    finally:
        _DECISIONS.reset(token)


@phase("load")
def choose_matmul(library: Matmul) -> MatmulChoice:
    """Choose by what both libraries do here, measured once in a process. Nothing stays changed: see `apply`.

    auto: as decided before (see `deciding_in`) where that is exact here; else oneDNN where it is as exact as MKL (at
    most twice its error, and 1e-5) and at least 1.25 times as fast. A name is chosen whatever the measurement says; the
    choice says what it found.
    """
    folder = _DECISIONS.get()
    if library == "auto" and folder is not None:
        return _as_decided(folder)
    return decide(library, *_measured())


def processor() -> str:
    """The model of this machine's processor and the instructions that torch uses of it."""
    return f"{_processor_model()} {torch.backends.cpu.get_cpu_capability()}"


def _as_decided(folder: Path) -> MatmulChoice:
    own = decide("auto", *_measured())
    path = folder / f"{re.sub('[^A-Za-z0-9]+', '-', processor()).strip('-')}.json"
    with suppress(OSError, UserError):  # another user's store, or a full disk: then this process decides for itself
        if not path.exists():
            write_once(make_folder(folder) / path.name, seal({"matmul": own.name, "why": own.why}))
    record = read_sealed(path) or {}
    if record.get("matmul") not in _PRECISION:
        return own
    library = cast(Library, record["matmul"])
    choice = decide(library, *_measured())
    return replace(choice, why=f"decided for {processor()}: {record['why']}") if is_exact(choice) else own


def _processor_model() -> str:
    """As Linux names it: on ARM by the number of the design."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, model = line.partition(":")
            if name.strip() in ("model name", "CPU part"):
                return model.strip()
    return platform.machine()


@cache  # a process asks for each of its stages
def _measured() -> tuple[dict[Library, float], dict[Library, float]]:
    """Both libraries' errors and GFLOP/s (0.3 s; half a second on one busy core)."""
    before = _setting()
    operands = [_operands(shape) for shape in _SHAPES]
    try:
        return _errors(operands), _speeds(*operands[0])
    finally:
        restore(before)


def decide(library: Matmul, errors: dict[Library, float], gflops: dict[Library, float]) -> MatmulChoice:
    """The rule of `choose_matmul` on what was measured."""
    exact = errors["onednn"] <= min(2 * errors["mkl"], _MOST_ERROR)
    rates = f"oneDNN {gflops['onednn']:.0f}, MKL {gflops['mkl']:.0f} GFLOP/s"
    if library != "auto":
        inexact = "" if exact or library == "mkl" else f"; it rounds: relative error {errors['onednn']:.1e}"
        return _of(library, errors, gflops, f"as set; {rates}{inexact}")
    if not exact:
        return _of("mkl", errors, gflops, f"oneDNN is not exact here: relative error {errors['onednn']:.1e}")
    if gflops["onednn"] < _FASTER * gflops["mkl"]:
        return _of("mkl", errors, gflops, f"oneDNN is not {_FASTER} times as fast: {rates}")
    return _of("onednn", errors, gflops, f"faster and as exact: {rates}")


def _of(name: Library, errors: dict[Library, float], gflops: dict[Library, float], why: str) -> MatmulChoice:
    return MatmulChoice(name, errors[name], gflops[name], why)


def _operands(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    rows, inner, columns = shape
    generator = torch.Generator().manual_seed(0)  # its own: the probe must leave the global state alone
    return torch.randn(rows, inner, generator=generator), torch.randn(columns, inner, generator=generator)


def _errors(operands: list[tuple[Tensor, Tensor]]) -> dict[Library, float]:
    """The largest relative error (of norms) of each library against float64."""
    errors: dict[Library, float] = {"mkl": 0.0, "onednn": 0.0}
    for left_operand, right in operands:
        exact = left_operand[:_CHECKED_ROWS].double() @ right.double().T
        for name in errors:
            apply(name)
            # The whole product, as libraries choose their way by size.
            product = functional.linear(left_operand, right)[:_CHECKED_ROWS].double()
            errors[name] = max(errors[name], float((product - exact).norm() / exact.norm()))
    return errors


def _speeds(left_operand: Tensor, right: Tensor) -> dict[Library, float]:
    """GFLOP/s of both by the median of interleaved repetitions, so that a busy moment hits both."""
    seconds: dict[Library, list[float]] = {"mkl": [], "onednn": []}
    first_start = time.perf_counter()
    while len(seconds["mkl"]) < _REPETITIONS and (
        len(seconds["mkl"]) < 3 or time.perf_counter() - first_start < _SECONDS
    ):
        for name, times in seconds.items():
            apply(name)
            start = time.perf_counter()
            functional.linear(left_operand, right)
            times.append(time.perf_counter() - start)
    operations = 2 * left_operand.numel() * right.shape[0]
    return {name: operations / statistics.median(times) / 1e9 for name, times in seconds.items()}
