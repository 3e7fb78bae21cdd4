"""Test sets drawn anew: the Poisson bootstrap over examples, the same draw for every recipe and seed.

Each example counts k times, k ~ Poisson(1), and what a set of examples scores follows from sums over them: so a draw is
a row of counts, and all draws of all runs are one matrix product. With n examples the counts' sum is n ± √n, which the
scores divide out (Chamandy et al. 2012, "Estimating uncertainty for massive data streams"; Hanley & MacGibbon 2006).
Samples of equally many examples that are drawn with the same seed are drawn alike, as translations must be, whose
errors are not independent.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Family = Literal["mean", "f1"]
Matrix = NDArray[np.float32]
PARTS: dict[Family, int] = {"mean": 1, "f1": 3}
_CHUNK = 1 << 24  # counts that are drawn at a time: 64 MB of them
_LEVELS = 1 << 16


@dataclass(frozen=True)
class Sample:
    """One language of a target, as every run scored it.

    `parts`: (examples, parts, runs). Family `mean` has one part, what an example scores (0 to 1; NaN nowhere); `f1` has
    three: right, guessed and gold (spans, tags or pairs).
    """

    family: Family
    parts: Matrix

    def __post_init__(self) -> None:
        assert self.parts.ndim == 3 and self.parts.shape[1] == PARTS[self.family], self.parts.shape


def scores(sample: Sample) -> NDArray[np.float64]:
    """What each run scores on the sample as it is, in percent: (runs,)."""
    sums = sample.parts.sum(axis=0, dtype=np.float64)[None]
    return np.asarray(_scores(sample.family, sums, len(sample.parts))[0])


def drawn(sample: Sample, draws: int, seed: int) -> NDArray[np.float64]:
    """What each run scores on test sets drawn anew, in percent: (draws, runs)."""
    examples, _, runs = sample.parts.shape
    drawn_scores = np.empty((draws, runs))
    matrix = sample.parts.reshape(examples, -1)
    start = 0
    for counts in _counts(examples, draws, np.random.Generator(np.random.SFC64(seed))):
        rows = slice(start, start + len(counts))
        sums = (counts @ matrix).reshape(len(counts), *sample.parts.shape[1:]).astype(np.float64)
        drawn_scores[rows] = _scores(sample.family, sums, counts.sum(axis=1, dtype=np.float64))
        start = rows.stop
    return drawn_scores


def _scores(family: Family, sums: NDArray[np.float64], weights: NDArray[np.float64] | int) -> NDArray[np.float64]:
    """`sums`: (draws, parts, runs); `weights`: (draws,), how many examples each draw has. (draws, runs)."""
    if family == "mean":
        of_draws = np.broadcast_to(np.asarray(weights, np.float64), len(sums))
        return 100 * sums[:, 0] / np.maximum(of_draws, 1)[:, None]
    right, guesses, gold = sums[:, 0], sums[:, 1], sums[:, 2]
    return 200 * right / np.maximum(guesses + gold, 1)


def _counts(examples: int, draws: int, generator: np.random.Generator) -> Iterator[Matrix]:
    """How often each example counts in each draw, some draws at a time: (draws of the chunk, examples)."""
    rows = max(1, _CHUNK // examples)
    for start in range(0, draws, rows):
        shape = (min(rows, draws - start), examples)
        yield _POISSON[generator.integers(0, _LEVELS, shape, dtype=np.uint16)]


def _poisson_table() -> Matrix:
    """Poisson(1) at 2^16 equally likely levels, adjusted so that mean and variance are 1 to within 1e-4."""
    levels = (np.arange(_LEVELS) + 0.5) / _LEVELS
    probabilities = [np.exp(-1.0)]
    while probabilities[-1] * _LEVELS > 0.05:
        probabilities.append(probabilities[-1] / len(probabilities))
    return np.searchsorted(np.cumsum(probabilities)[:-1], levels).astype(np.float32)


_POISSON = _poisson_table()
