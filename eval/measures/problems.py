"""Labels to be told from features by a linear model: one of some classes (multinomial logit), or the right one among
candidates of its own (conditional logit, McFadden 1974). Losses in nats."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import log_softmax

Vector = NDArray[np.float64]
Ints = NDArray[np.int64]
Features = Any  # an array or scipy's csr_array: (rows, columns), float32 or float64
_INTERCEPT_PENALTY = 1.0  # a standard normal prior: a class that was not seen yet is unlikely, not impossible
_OPTIONS = {"maxiter": 200, "ftol": 1e-7, "gtol": 1e-5}


class Problem(ABC):
    """Some labels, in an order. Its `weights` are flat: (parameters,)."""

    @abstractmethod
    def __len__(self) -> int:
        """How many labels."""

    @abstractmethod
    def part(self, start: int, end: int) -> "Problem":
        """The labels of a range."""

    @abstractmethod
    def penalties(self, penalty: float) -> Vector:
        """Of every weight: (parameters,)."""

    @abstractmethod
    def loss(self, weights: Vector) -> tuple[float, Vector]:
        """The sum of all labels' losses, and its gradient."""

    @abstractmethod
    def losses(self, weights: Vector) -> Vector:
        """Of every label: (labels,)."""

    @abstractmethod
    def are_right(self, weights: Vector) -> NDArray[np.bool_]:
        """Which labels score highest, of equal ones the first: (labels,)."""

    @abstractmethod
    def uniform(self) -> float:
        """The sum of all labels' losses where nothing is known."""


@dataclass(frozen=True, eq=False)
class Classes(Problem):
    """A row of features for every label. `labels`: (rows,), below `classes`. Weights: (columns + 1, classes), the last
    row being the intercepts."""

    features: Features
    labels: Ints
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, start: int, end: int) -> "Classes":
        return Classes(self.features[start:end], self.labels[start:end], self.classes)

    def penalties(self, penalty: float) -> Vector:
        of_columns = np.full((self.features.shape[1] + 1, self.classes), penalty)
        of_columns[-1] = _INTERCEPT_PENALTY
        return of_columns.ravel()

    def loss(self, weights: Vector) -> tuple[float, Vector]:
        logs = self._logs(weights)
        residuals = np.exp(logs)
        residuals[np.arange(len(self)), self.labels] -= 1
        gradient = self.features.T @ residuals.astype(self.features.dtype)
        return -float(self._of_labels(logs).sum()), np.concatenate((gradient.ravel(), residuals.sum(axis=0)))

    def losses(self, weights: Vector) -> Vector:
        return -self._of_labels(self._logs(weights))

    def are_right(self, weights: Vector) -> NDArray[np.bool_]:
        return np.asarray(self._logs(weights).argmax(axis=1) == self.labels)

    def uniform(self) -> float:
        return len(self) * float(np.log(self.classes))

    def _logs(self, weights: Vector) -> Vector:
        """The logarithms of all classes' probabilities: (rows, classes)."""
        table = weights.reshape(-1, self.classes)
        scores = self.features @ table[:-1].astype(self.features.dtype)
        return np.asarray(log_softmax(scores.astype(np.float64) + table[-1], axis=1))

    def _of_labels(self, logs: Vector) -> Vector:
        return logs[np.arange(len(self)), self.labels]


@dataclass(frozen=True, eq=False)
class Candidates(Problem):
    """A row of features for every candidate; label i has the candidates from row `ends[i]` to row `ends[i + 1]`, one at
    least, and `right[i]` is the row of the right one. Weights: (columns,)."""

    features: Features
    ends: Ints
    right: Ints

    def __len__(self) -> int:
        return len(self.right)

    def part(self, start: int, end: int) -> "Candidates":
        first, last = self.ends[start], self.ends[end]
        return Candidates(self.features[first:last], self.ends[start : end + 1] - first, self.right[start:end] - first)

    def penalties(self, penalty: float) -> Vector:
        return np.full(self.features.shape[1], penalty)

    def loss(self, weights: Vector) -> tuple[float, Vector]:
        logs = self._logs(weights)
        residuals = np.exp(logs)
        residuals[self.right] -= 1
        gradient = self.features.T @ residuals.astype(self.features.dtype)
        return -float(logs[self.right].sum()), gradient.astype(np.float64)

    def losses(self, weights: Vector) -> Vector:
        return -self._logs(weights)[self.right]

    def are_right(self, weights: Vector) -> NDArray[np.bool_]:
        scores = self._scores(weights)
        highest = np.repeat(np.maximum.reduceat(scores, self._starts), self._sizes)
        places = np.where(scores == highest, np.arange(len(scores)), len(scores))
        return np.asarray(np.minimum.reduceat(places, self._starts) == self.right)

    def uniform(self) -> float:
        return float(np.log(self._sizes).sum())

    @property
    def _starts(self) -> Ints:
        return self.ends[:-1]

    @cached_property
    def _sizes(self) -> Ints:
        return np.diff(self.ends)

    def _scores(self, weights: Vector) -> Vector:
        return np.asarray(self.features @ weights.astype(self.features.dtype), dtype=np.float64)

    def _logs(self, weights: Vector) -> Vector:
        """The logarithms of all candidates' probabilities among their own: (rows,)."""
        scores = self._scores(weights)
        scores -= np.repeat(np.maximum.reduceat(scores, self._starts), self._sizes)
        return np.asarray(scores - np.repeat(np.log(np.add.reduceat(np.exp(scores), self._starts)), self._sizes))


def fit(problem: Problem, penalty: float, between: Callable[[], None] = lambda: None) -> Vector:
    """The weights with the least loss + penalty / 2 · their squares, by L-BFGS. `between` is called now and then; what
    it raises ends the work."""
    penalties, labels = problem.penalties(penalty), len(problem)

    def objective(weights: Vector) -> tuple[float, Vector]:
        between()
        loss, gradient = problem.loss(weights)
        cost = loss + float(penalties @ weights**2) / 2
        return cost / labels, (gradient + penalties * weights) / labels

    start = np.zeros(len(penalties))
    return np.asarray(optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options=_OPTIONS).x)


def standardised(train: NDArray[Any], dev: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Columns of mean 0 and standard deviation 1 in train, dev by the same; those that never vary are 0."""
    mean, deviation = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    varies = deviation > 1e-6 * np.abs(mean) + 1e-12
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0).astype(train.dtype)
    shift = mean.astype(train.dtype)
    scaled_train, scaled_dev = train - shift, dev - shift
    scaled_train *= scale  # in place: these may be gigabytes
    scaled_dev *= scale
    return scaled_train, scaled_dev
