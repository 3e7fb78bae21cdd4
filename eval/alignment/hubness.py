"""Hubs: sentences that are among the nearest of very many others, which is what spoils retrieval in many dimensions."""

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 10


def skewness(places: NDArray[np.int64], count: int) -> float:
    """The skewness of the k-occurrence (Radovanović et al. 2010, JMLR 11): of how many queries each of `count` vectors
    is among the k nearest. `places` [queries, k]. 0: there are no hubs; it is no percentage, and has no upper end."""
    occurrences = np.bincount(places.ravel(), minlength=count).astype(np.float64)
    assert len(occurrences) == count, (len(occurrences), count)
    away = occurrences - occurrences.mean()
    deviation = float(np.sqrt(np.mean(away**2)))
    return float(np.mean(away**3) / deviation**3) if deviation > 0 else 0.0
