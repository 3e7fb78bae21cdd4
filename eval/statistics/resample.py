"""Test sets drawn anew: the Poisson bootstrap over examples, the same draw for every recipe and seed.

Each example counts k times, k ~ Poisson(1), and what a set of examples scores follows from sums over them: so a draw is
a row of counts, and all draws of all runs are one matrix product. With n examples the counts' sum is n ± √n, which the
scores divide out (Chamandy et al. 2012, "Estimating uncertainty for massive data streams"; Hanley & MacGibbon 2006).
Samples of equally many examples that are drawn with the same seed are drawn alike, as translations must be, whose
errors are not independent.

The same seed gives the same bits on any machine, whatever its library for matrix products, its threads, and how many
draws are made at a time: the sums are whole numbers that float32 holds exactly. For that, what is no whole number (an
answer's overlap of words) is rounded to a fraction of a power of two, as fine as the size of the sample allows (2^-10
for 11,000 examples); that moves a draw by some 0.0003 points, and scores themselves not at all.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["mean", "ratio", "mean_and_ratio"]
Matrix = NDArray[np.float32]
PARTS: dict[Kind, int] = {"mean": 1, "ratio": 2, "mean_and_ratio": 3}
_CHUNK = 1 << 23  # counts that are drawn at a time: 32 MB of them
_BLOCK = 1 << 17  # that are worked out at a time, in a processor's cache
_LEVELS = 1 << 16
_EXACT = 1 << 24  # up to here float32 has every whole number


@dataclass(frozen=True)
class Sample:
    """One language of a target, as every run scored it.

    `parts`: (examples, parts, runs), numbers from 0 on. Kind `mean` has one part, what an example scores (0 to 1);
    `ratio` has two, whose sums' ratio is the score (of F1 twice the right ones, and guessed and gold together);
    `mean_and_ratio` the part of a mean, then the two of a ratio: the score is the mean of both.
    """

    kind: Kind
    parts: Matrix

    def __post_init__(self) -> None:
        assert self.parts.ndim == 3 and self.parts.shape[1] == PARTS[self.kind], self.parts.shape


def scores(sample: Sample) -> NDArray[np.float64]:
    """What each run scores on the sample as it is, in percent: (runs,)."""
    sums = sample.parts.sum(axis=0, dtype=np.float64)[None]
    return np.asarray(_scores(sample.kind, sums, np.array([float(len(sample.parts))]))[0])


def drawn(sample: Sample, draws: int, seed: int) -> NDArray[np.float64]:
    """What each run scores on test sets drawn anew, in percent: (draws, runs)."""
    examples, _, runs = sample.parts.shape
    drawn_scores = np.empty((draws, runs))
    matrix, unit = _whole_numbers(sample.parts.reshape(examples, -1))
    matrix = np.concatenate([matrix, np.ones((examples, 1), np.float32)], axis=1)  # whose sum is the size of a draw
    start = 0
    for counts in _ahead(_counts(examples, draws, np.random.Generator(np.random.SFC64(seed)))):
        rows = slice(start, start + len(counts))
        sums = (counts @ matrix).astype(np.float64)
        sums_of_parts = sums[:, :-1].reshape(len(counts), *sample.parts.shape[1:]) / unit
        drawn_scores[rows] = _scores(sample.kind, sums_of_parts, sums[:, -1])
        start = rows.stop
    return drawn_scores


def _ahead(chunks: Iterator[Matrix]) -> Iterator[Matrix]:
    """The same, each made while the one before is multiplied: neither takes two processors for itself."""
    with ThreadPoolExecutor(1) as thread:
        next_chunk = thread.submit(next, chunks, None)
        while (chunk := next_chunk.result()) is not None:
            next_chunk = thread.submit(next, chunks, None)
            yield chunk


def _whole_numbers(matrix: Matrix) -> tuple[Matrix, float]:
    """The matrix in a unit of which all sums over a draw are whole numbers below 2^24; and how many units are 1."""
    if (matrix == np.floor(matrix)).all():
        return matrix, 1.0
    highest_sum = float(matrix.sum(axis=0, dtype=np.float64).max()) + 8 * np.sqrt(len(matrix)) * float(matrix.max())
    unit = 2.0 ** np.floor(np.log2(_EXACT / highest_sum))
    return np.rint(matrix * np.float32(unit)), unit


def _scores(kind: Kind, sums: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """`sums`: (draws, parts, runs); `weights`: (draws,), how many examples each draw has. (draws, runs)."""
    if kind == "ratio":
        return 100 * sums[:, 0] / np.maximum(sums[:, 1], 1)
    means = 100 * sums[:, 0] / np.maximum(weights, 1)[:, None]
    return means if kind == "mean" else (means + _scores("ratio", sums[:, 1:], weights)) / 2


def _counts(examples: int, draws: int, generator: np.random.Generator) -> Iterator[Matrix]:
    """How often each example counts in each draw, some draws at a time: (draws of the chunk, examples)."""
    rows = max(1, _CHUNK // examples)
    for start in range(0, draws, rows):
        shape = (min(rows, draws - start), examples)
        yield _poisson(generator.integers(0, _LEVELS, shape, dtype=np.uint16))


def _poisson(levels: NDArray[np.uint16]) -> Matrix:
    """Poisson(1) at 2^16 equally likely levels: how many of the bounds each has reached. Comparing all of them takes a
    seventh of the time of looking each level up."""
    counts = np.empty(levels.size, np.float32)
    has_reached = np.empty(min(_BLOCK, levels.size), np.bool_)
    for start in range(0, levels.size, _BLOCK):
        block = levels.reshape(-1)[start : start + _BLOCK]
        numbers = np.zeros(len(block), np.uint8)
        for lowest_level in _BOUNDS:
            np.greater_equal(block, lowest_level, out=has_reached[: len(block)])
            numbers += has_reached[: len(block)].view(np.uint8)
        counts[start : start + _BLOCK] = numbers
    return counts.reshape(levels.shape)


def _poisson_bounds() -> NDArray[np.uint16]:
    """The levels from which on a count is 1, 2, …, so that mean and variance are 1 to within 1e-4."""
    levels = (np.arange(_LEVELS) + 0.5) / _LEVELS
    probabilities = [np.exp(-1.0)]
    while probabilities[-1] * _LEVELS > 0.05:
        probabilities.append(probabilities[-1] / len(probabilities))
    numbers = np.searchsorted(np.cumsum(probabilities)[:-1], levels)
    return np.searchsorted(numbers, np.arange(1, numbers.max() + 1)).astype(np.uint16)


_BOUNDS = _poisson_bounds()
