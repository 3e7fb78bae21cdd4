"""Language-identity probe: how well a linear classifier tells by its vector which of two languages a sentence is in.

Pairs of translations, so both classes are equally many and say the same; a pair is never torn apart by a fold.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
FOLDS = 5
MOST_PAIRS = 500  # so many are enough: it is a number that is compared, and every layer has its own classifier
_PENALTY = 1.0  # of ½ ‖w‖² beside the sum of log losses


def language_accuracy(x: Floats, y: Floats) -> float:
    """The share of sentences whose language is told, 0 to 1, by logistic regression on standardised features, over
    five folds of consecutive pairs. ½: the languages look the same. Of vectors [n, width], n ≥ 5.

    Of more than 500 pairs it takes 500 at equal distances.
    """
    assert x.shape == y.shape and len(x) >= FOLDS, (x.shape, y.shape)
    chosen_rows = np.linspace(0, len(x) - 1, min(len(x), MOST_PAIRS)).round().astype(int)
    sides = np.stack([x[chosen_rows], y[chosen_rows]]).astype(np.float64)
    right = sum(_right(sides, test) for test in _folds(len(chosen_rows)))
    return right / (2 * len(chosen_rows))


def _folds(pairs: int) -> Iterator[NDArray[np.bool_]]:
    """Of each fold, which pairs it tests."""
    fold_of = np.arange(pairs) * FOLDS // pairs
    yield from (fold_of == fold for fold in range(FOLDS))


def _right(sides: Doubles, test: NDArray[np.bool_]) -> float:
    """How many sentences of the tested pairs are told; one that lies on the border is half a hit."""
    width = sides.shape[2]
    train_rows, test_rows = sides[:, ~test].reshape(-1, width), sides[:, test].reshape(-1, width)
    mean, deviation = train_rows.mean(axis=0), train_rows.std(axis=0)
    scale = np.divide(1.0, deviation, out=np.zeros(width), where=deviation > 1e-12)
    weights, bias = fit((train_rows - mean) * scale, _signs(len(train_rows)))
    scores = _signs(len(test_rows)) * ((test_rows - mean) * scale @ weights + bias)
    return float((scores > 0).sum() + 0.5 * (scores == 0).sum())


def _signs(rows: int) -> Doubles:
    """-1 for the first language's rows, then 1 for the second's."""
    return np.repeat([-1.0, 1.0], rows // 2)


def fit(rows: Doubles, signs: Doubles) -> tuple[Doubles, float]:
    """Weights and intercept that minimise ½ ‖w‖² + Σ log(1 + exp(-sign · (row · w + b))); `signs`: -1 or 1 by row."""
    width = rows.shape[1]

    def loss(parameters: Doubles) -> tuple[float, Doubles]:
        weights = parameters[:width]
        margins = signs * (rows @ weights + parameters[width])
        pull = -signs * expit(-margins)
        value = 0.5 * _PENALTY * float(weights @ weights) - float(log_expit(margins).sum())
        return value, np.append(_PENALTY * weights + rows.T @ pull, pull.sum())

    minimum = minimize(loss, np.zeros(width + 1), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return minimum.x[:width], float(minimum.x[width])
