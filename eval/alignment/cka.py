"""Linear centred kernel alignment: how far two sets of vectors of the same sentences have one geometry, up to rotation.

Kornblith et al. 2019 (arXiv 1905.00414). Where there are not many more sentences than dimensions it is high even of
vectors that have nothing to do with each other; the debiased form (Nguyen et al. 2021, arXiv 2010.15327; Murphy et al.
2024, arXiv 2405.01012) has the unbiased estimate of HSIC by Song et al. 2012 in its place.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
FEWEST = 4  # rows that the unbiased estimate needs


@dataclass(frozen=True)
class Cka:
    """`linear`: 0 to 1. `debiased`: about 0 of what is unrelated, so a little below it now and then; at most 1."""

    linear: float
    debiased: float


@dataclass(frozen=True)
class _Hsic:
    linear: float
    debiased: float


def linear_cka(x: Floats, y: Floats) -> Cka:
    """Of vectors [n, width] each, n ≥ 4; widths may differ. 0 where all vectors of a side are the same.

    It holds no n × n matrix: with centred features the row sums of a Gram matrix without its diagonal are the squared
    lengths, negated, and all terms of both estimates are sums over features.
    """
    assert len(x) == len(y) >= FEWEST, (x.shape, y.shape)
    x, y = _centred(x), _centred(y)
    of_both, of_x, of_y = _hsic(x, y), _hsic(x, x), _hsic(y, y)
    return Cka(_ratio(of_both.linear, of_x.linear, of_y.linear), _ratio(of_both.debiased, of_x.debiased, of_y.debiased))


def _centred(x: Floats) -> Floats:
    """With a mean square of 1, so that products in single precision neither vanish nor overflow."""
    offsets = x - x.mean(axis=0, dtype=np.float64).astype(x.dtype)
    size = float(np.sqrt(np.mean(np.square(offsets), dtype=np.float64)))
    # What is left of equal vectors by rounding is no geometry.
    is_nothing = size <= 8 * np.finfo(x.dtype).eps * float(np.abs(x).max(initial=0.0))
    return np.zeros_like(x) if is_nothing else offsets / x.dtype.type(size)


def _hsic(x: Floats, y: Floats) -> _Hsic:
    """Up to a factor that the ratio takes out. `x`, `y`: centred."""
    n = len(x)
    product = float(np.square(x.T @ y, dtype=np.float64).sum())
    x_squares, y_squares = (np.square(z, dtype=np.float64).sum(axis=1) for z in (x, y))
    debiased_product = (
        product
        - n / (n - 2) * float(x_squares @ y_squares)
        + float(x_squares.sum() * y_squares.sum()) / ((n - 1) * (n - 2))
    )
    return _Hsic(product, debiased_product)


def _ratio(of_both: float, of_x: float, of_y: float) -> float:
    return of_both / float(np.sqrt(of_x) * np.sqrt(of_y)) if of_x > 0 and of_y > 0 else 0.0
