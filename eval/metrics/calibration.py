"""How far a model's confidence is from how often it is right."""

import numpy as np
from numpy.typing import NDArray

BINS = 15


def calibration_error(confidences: NDArray[np.float64], right: NDArray[np.bool_], bins: int = BINS) -> float:
    """Expected calibration error in percent: over bins of equally many predictions, by their confidence, the mean of
    |share that is right - mean confidence| (Guo et al. 2017, arXiv 1706.04599; bins of equal mass as Nguyen and
    O'Connor 2015, arXiv 1508.05154).

    confidences: (n,) the probability that the model gives to each of its predictions; right: (n,) whether it is. n is
    at least 1; of fewer than `bins`, each is a bin. Predictions of one confidence count as right as they are on
    average, whichever bins they fall in: else their order would matter.
    """
    assert len(confidences) == len(right) > 0, (len(confidences), len(right))
    values, group, counts = np.unique(confidences, return_inverse=True, return_counts=True)
    share_right = np.bincount(group, weights=right) / counts
    gaps = np.repeat(share_right - values, counts)  # ascending by confidence
    return 100.0 * float(sum(abs(gaps_of_bin.sum()) for gaps_of_bin in np.array_split(gaps, bins))) / len(gaps)
