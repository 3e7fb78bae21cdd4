"""The library that makes the CPU's fp32 matrix products: MKL, or oneDNN where that is exact and faster.

See `training.model.products` for what they are, and how the process is told. Nothing is believed of oneDNN without a
comparison to float64: on chips with AMX or AVX512-BF16 it may round to bf16. Which one is the faster depends on the
chip, on the sizes of the model, and on whether it is trained or evaluates: so a layer of it is timed for either use
(`training.engine.layer_speed`).

The two round differently, and a probe on a busy machine may fall either way. So `auto` is decided once for a store, a
model of processor, a use and the sizes of a model's layers, by the first stage for which that is so, and written down;
later stages follow (see `deciding_in`).
"""

import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from slurm.base import UserError
from slurm.base.files import make_folder, read_sealed, seal, write_once
from training.engine import layer_speed
from training.engine.layer_speed import Use
from training.flops import Sizes
from training.model import products
from training.model.products import LIBRARIES, Library
from training.spec import Matmul
from training.stopwatch import phase

_ROWS, _CHECKED_ROWS = 1280, 32  # tokens of a product, and those of them that float64, which is slow, makes too
_MOST_ERROR = 1e-5  # relative; fp32 stays near 4e-7, bf16 is near 3e-3
_FASTER = 1.1  # by less it is not worth other roundings
_REPETITIONS = 3
_DECISIONS: ContextVar[Path | None] = ContextVar("decisions", default=None)


@dataclass(frozen=True)
class MatmulChoice:
    """The chosen library; `exact_error`: relative to float64; `gflops`: its speed in this process, 10⁹ operations a
    second."""

    name: Library
    exact_error: float
    gflops: float
    why: str


@dataclass(frozen=True)
class Decision:
    """What `auto` is for one use of a model."""

    matmul: Library
    why: str


def is_exact(choice: MatmulChoice) -> bool:
    """Whether it computes in fp32 on this machine."""
    return choice.exact_error <= _MOST_ERROR


@contextmanager
def using(library: Matmul, use: Use, sizes: Sizes, device: torch.device) -> Iterator[MatmulChoice | None]:
    """Inside, a CPU's products are made by the chosen library; None, and nothing changes, on another device."""
    if device.type != "cpu":
        yield None
        return
    choice = choose_matmul(library, use, sizes)
    with products.by(choice.name):
        yield choice


@contextmanager
def deciding_in(folder: Path) -> Iterator[None]:
    """Inside, `auto` is what `folder` says for this model of processor; what it does not say yet is written there."""
    token = _DECISIONS.set(folder)
    try:
        yield
    finally:
        _DECISIONS.reset(token)


@phase("load")
def choose_matmul(library: Matmul, use: Use, sizes: Sizes) -> MatmulChoice:
    """Choose for a model of these sizes. Nothing stays changed: see `using`.

    auto: as decided before (see `deciding_in`) where that is exact here; else oneDNN where it is as exact as MKL (at
    most twice its error, and 1e-5) and computes a layer at least 1.1 times as fast. A name is chosen whatever it does
    here; the choice says what that is.
    """
    if library != "auto":
        choice = _choice(library, "as set", sizes)
        return choice if is_exact(choice) else _choice(library, f"as set; it rounds: {_relative(choice)}", sizes)
    folder = _DECISIONS.get()
    decision = _measured(use, sizes) if folder is None else _as_decided(folder, use, sizes)
    choice = _choice(decision.matmul, decision.why, sizes)
    return (
        choice if is_exact(choice) else _choice("mkl", f"{choice.name} is not exact here: {_relative(choice)}", sizes)
    )


def decide(use: Use, errors: dict[Library, float], seconds: dict[Library, float]) -> Decision:
    """The rule of `choose_matmul` on what was measured. `seconds`: of a layer; of an inexact library none."""
    if not _is_as_exact(errors):
        return Decision("mkl", f"oneDNN is not exact here: relative error {errors['onednn']:.1e}")
    times = (
        f"a layer's {use} takes {_milliseconds(seconds['onednn'])} by oneDNN, {_milliseconds(seconds['mkl'])} by MKL"
    )
    if seconds["onednn"] * _FASTER > seconds["mkl"]:
        return Decision("mkl", f"oneDNN is not {_FASTER} times as fast: {times}")
    return Decision("onednn", f"faster and as exact: {times}")


def processor() -> str:
    """The model of this machine's processor and the instructions that torch uses of it."""
    return f"{_processor_model()} {torch.backends.cpu.get_cpu_capability()}"


def _as_decided(folder: Path, use: Use, sizes: Sizes) -> Decision:
    here = re.sub("[^A-Za-z0-9]+", "-", processor()).strip("-")
    path = folder / f"{here}.{use}-{sizes.width}x{sizes.inner}.json"
    # Without a use in its name: of a store in which one decision held for all.
    for earlier_path in (folder / f"{here}.json", path):
        decision = _read(earlier_path)
        if decision is not None:
            return Decision(decision.matmul, f"decided for {processor()}: {decision.why}")
    own_decision = _measured(use, sizes)
    with suppress(OSError, UserError):  # another user's store, or a full disk: then this process decides for itself
        if not path.exists():
            write_once(make_folder(folder) / path.name, seal(asdict(own_decision)))
    return _read(path) or own_decision  # another process may have been the first


def _read(path: Path) -> Decision | None:
    record = read_sealed(path) or {}
    if record.get("matmul") not in LIBRARIES:
        return None
    return Decision(cast(Library, record["matmul"]), str(record["why"]))


def _processor_model() -> str:
    """As Linux names it: on ARM by the number of the design."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, model = line.partition(":")
            if name.strip() in ("model name", "CPU part"):
                return model.strip()
    return platform.machine()


@cache  # a process asks for each of its stages
def _measured(use: Use, sizes: Sizes) -> Decision:
    errors = {name: _product(name, sizes.width, sizes.inner)[0] for name in LIBRARIES}
    seconds = layer_speed.seconds(sizes, use) if _is_as_exact(errors) else {}
    return decide(use, errors, seconds)


def _is_as_exact(errors: dict[Library, float]) -> bool:
    return errors["onednn"] <= min(2 * errors["mkl"], _MOST_ERROR)


def _choice(name: Library, why: str, sizes: Sizes) -> MatmulChoice:
    return MatmulChoice(name, *_product(name, sizes.width, sizes.inner), why)


@cache
def _product(name: Library, width: int, inner: int) -> tuple[float, float]:
    """What `name` makes of tokens times the largest matrix of a layer: its relative error (of norms) against float64,
    and GFLOP/s by the fastest of a few."""
    left_operand, right = _operands((_ROWS, width, inner))
    exact = left_operand[:_CHECKED_ROWS].double() @ right.double().T
    seconds = []
    with products.by(name):
        for _ in range(_REPETITIONS):
            start = time.perf_counter()
            product = functional.linear(left_operand, right)  # whole, as libraries choose their way by size
            seconds.append(time.perf_counter() - start)
    error = float((product[:_CHECKED_ROWS].double() - exact).norm() / exact.norm())
    return error, 2 * left_operand.numel() * right.shape[0] / min(seconds) / 1e9


def _operands(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    rows, inner, columns = shape
    generator = torch.Generator().manual_seed(0)  # its own: the probe must leave the global state alone
    return torch.randn(rows, inner, generator=generator), torch.randn(columns, inner, generator=generator)


def _relative(choice: MatmulChoice) -> str:
    return f"relative error {choice.exact_error:.1e}"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
