"""The library that makes the CPU's fp32 matrix products: MKL, or oneDNN where that is exact and clearly faster.

torch builds with MKL send fp32 products to it, which on some chips is far slower than oneDNN (measured on an AMD chip:
217 against 430 to 490 GFLOP/s; on an Intel Xeon without AMX both are about as fast). Allowing oneDNN to compute fp32
products in bf16 routes them there. Whether it then rounds to bf16 depends on the chip: with AMX or AVX512-BF16 it may,
so nothing is believed without a comparison to float64. On chips where the switch does nothing (too old for oneDNN's
bf16 kernels, or torch built without MKL or oneDNN) both names give the same products at the same speed: MKL's it stays.
The switch is one for the whole process.
"""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from training.spec import Matmul

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


@cache  # a process asks for each of its stages
def choose_matmul(library: Matmul) -> MatmulChoice:
    """Measure both libraries (0.3 s; half a second on one busy core), and choose. Nothing stays changed: see `apply`.

    auto: oneDNN where it is as exact as MKL (at most twice its error, and 1e-5) and at least 1.25 times as fast. A name
    is chosen whatever the measurement says; the choice says what it found.
    """
    before = _setting()
    operands = [_operands(shape) for shape in _SHAPES]
    try:
        errors = _errors(operands)
        gflops = _speeds(*operands[0])
    finally:
        restore(before)
    return decide(library, errors, gflops)


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
