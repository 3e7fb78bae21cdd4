"""How evenly vectors use the dimensions of their space.

IsoScore (Rudman et al. 2022, arXiv 2108.07344), and not the partition function's ratio (Mu & Viswanath 2018, arXiv
1702.01417): that one changes when all vectors are made longer, so that layers, whose lengths differ much, cannot be
compared by it, and of many vectors of length 1 it says nearly 1 whatever they are. IsoScore looks at the covariance, so
what all vectors have in common is not in it: that is in the cosine gap.
"""

import numpy as np
from numpy.typing import NDArray


def iso_score(x: NDArray[np.floating]) -> float:
    """Of vectors [n, width], n ≥ 2: 0 where they lie on a line (or are all the same), 1 where no direction is wider
    than another.

    The published steps (rotate to principal components, scale their variances to the length √width, distance to the
    vector of ones) come to (r - 1) / (width - 1) with r the participation ratio, tr(C)² / ‖C‖² of the covariance C.
    """
    n, width = x.shape
    assert n > 1 and width > 1, x.shape
    offsets = x - x.mean(axis=0, dtype=np.float64).astype(x.dtype)
    covariance = (offsets.T @ offsets).astype(np.float64)
    size = float(np.square(covariance).sum())
    if size == 0.0:
        return 0.0
    return float((np.trace(covariance) ** 2 / size - 1) / (width - 1))
