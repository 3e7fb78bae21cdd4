"""Which library makes the CPU's fp32 matrix products: one switch of torch for the whole process.

torch builds with MKL send fp32 products to it, which on some chips is far slower than oneDNN. Allowing oneDNN to
compute fp32 products in bf16 routes them there. Whether it then rounds to bf16 depends on the chip, so
`training.engine.matmul` compares both with float64. On chips where the switch does nothing (too old for oneDNN's bf16
kernels, or torch built without MKL or oneDNN) both names give the same products at the same speed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

Library = Literal["mkl", "onednn"]
LIBRARIES: tuple[Library, ...] = ("mkl", "onednn")
_PRECISION: dict[Library, str] = {"mkl": "ieee", "onednn": "bf16"}


def apply(name: Library) -> str:
    """Let `name` make this process's fp32 products from now on. Returns what was set before, for `restore`."""
    before = str(_switch().fp32_precision)
    restore(_PRECISION[name])
    return before


def restore(before: str) -> None:
    """Set again what `apply` found."""
    _switch().fp32_precision = before


@contextmanager
def by(name: Library) -> Iterator[None]:
    """Inside, `name` makes them."""
    before = apply(name)
    try:
        yield
    finally:
        restore(before)


def _switch() -> Any:
    backend: Any = torch.backends.mkldnn
    return backend.matmul
