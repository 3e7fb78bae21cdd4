"""How much nearer a sentence is to its translation than to any other sentence of that language."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def cosine_gap(x: Floats, y: Floats) -> float:
    """The mean cosine of pairs less that of all non-pairs, of unit vectors [n, width], n ≥ 2: -2 to 2.

    The sum of all cosines is the product of the two sums of vectors.
    """
    assert x.shape == y.shape and len(x) > 1, (x.shape, y.shape)
    n = len(x)
    pairs = float(np.einsum("ij,ij->i", x, y).sum(dtype=np.float64))
    every = float(x.sum(axis=0, dtype=np.float64) @ y.sum(axis=0, dtype=np.float64))
    return pairs / n - (every - pairs) / (n * (n - 1))
