"""Test sets drawn anew: the Poisson bootstrap over examples, the same draw for every recipe and seed.

Each example counts k times, k ~ Poisson(1), and what a set of examples scores follows from sums over them: so a draw is
a row of counts, and all draws of all runs are one matrix product. With n examples the counts' sum is n ± √n, which the
scores divide out (Chamandy et al. 2012, "Estimating uncertainty for massive data streams"; Hanley & MacGibbon 2006).
Languages whose examples are translations of each other are drawn together: their errors are not independent.
"""

from collections.abc import Iterator, Sequence
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
    three: right, predicted and gold (spans, tags or pairs). `drawn_with`: samples with the same word have the same
    examples in the same order, and are drawn together.
    """

    family: Family
    parts: Matrix
    drawn_with: str

    def __post_init__(self) -> None:
        assert self.parts.ndim == 3 and self.parts.shape[1] == PARTS[self.family], self.parts.shape


def scores(sample: Sample) -> NDArray[np.float64]:
    """What each run scores on the sample as it is, in percent: (runs,)."""
    sums = sample.parts.sum(axis=0, dtype=np.float64)[None]
    return np.asarray(_scores(sample.family, sums, len(sample.parts))[0])


def drawn(samples: Sequence[Sample], draws: int, seed: int) -> NDArray[np.float64]:
    """The mean over samples of what each run scores on test sets drawn anew, in percent: (draws, runs)."""
    assert samples and len({sample.parts.shape[2] for sample in samples}) == 1
    total = np.zeros((draws, samples[0].parts.shape[2]))
    together: dict[str, list[Sample]] = {}
    for sample in samples:
        together.setdefault(sample.drawn_with, []).append(sample)
    for stream, group in zip(np.random.SeedSequence(seed).spawn(len(together)), together.values(), strict=True):
        examples = len(group[0].parts)
        assert all(len(sample.parts) == examples for sample in group), "drawn together: the same examples"
        start = 0
        for counts in _counts(examples, draws, np.random.Generator(np.random.SFC64(stream))):
            rows = slice(start, start + len(counts))
            weights = counts.sum(axis=1, dtype=np.float64)
            for sample in group:
                sums = counts @ sample.parts.reshape(examples, -1)
                sums_of_draws = sums.reshape(len(counts), *sample.parts.shape[1:]).astype(np.float64)
                total[rows] += _scores(sample.family, sums_of_draws, weights)
            start = rows.stop
    return total / len(samples)


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
