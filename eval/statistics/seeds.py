"""How much scores vary between seeds, where each recipe has few of them.

The variance of two or three values is hardly an estimate at all. Recipes on one target are trained alike, so each one's
variance is drawn towards what all have in common, by as much as they agree: the moderated variance of Smyth (2004,
"Linear models and empirical Bayes methods for assessing differential expression", sections 3 and 6.2). Where they do
not agree nothing is drawn, and a recipe has its own few seeds alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Vector = NDArray[np.float64]
_SHARED = 0.25  # correlation of two sample variances of differences to one baseline, which correlate by a half


@dataclass(frozen=True)
class Variance:
    """Of one recipe's differences to the baseline, between seeds. `freedom`: degrees of freedom of the estimate."""

    value: float
    freedom: float


def moderated(variances: Vector, freedom: Vector) -> list[Variance]:
    """Each recipe's variance between seeds, from the sample variances of all: (recipes,), each with at least one degree
    of freedom. One recipe alone keeps its own."""
    assert len(variances) == len(freedom) and (freedom >= 1).all()
    if len(variances) == 1 or not variances.any():
        return [Variance(float(value), float(degrees)) for value, degrees in zip(variances, freedom, strict=True)]
    common, prior = _prior(variances, freedom)
    # No estimate knows more than all seeds together, whose variances tell the same where they share the baseline's
    # luck.
    highest = float(freedom.sum()) / (1 + (len(variances) - 1) * _SHARED)
    if np.isinf(prior):
        return [Variance(common, max(highest, float(degrees))) for degrees in freedom]
    return [
        Variance(
            float((prior * common + degrees * value) / (prior + degrees)),
            float(max(degrees, min(prior + degrees, highest))),
        )
        for value, degrees in zip(variances, freedom, strict=True)
    ]


def _prior(variances: Vector, freedom: Vector) -> tuple[float, float]:
    """What the variances have in common, and how many degrees of freedom that is worth; infinite: they agree as well as
    chance alone would have them."""
    common_variance = float((freedom * variances).sum() / freedom.sum())
    logs = np.log(np.maximum(variances, 1e-6 * common_variance)) - special.digamma(freedom / 2) + np.log(freedom / 2)
    excess = float(logs.var(ddof=1) - special.polygamma(1, freedom / 2).mean())
    if excess <= 0:
        return common_variance, np.inf
    prior = 2 * _inverse_trigamma(excess)
    return float(np.exp(logs.mean() + special.digamma(prior / 2) - np.log(prior / 2))), prior


def _inverse_trigamma(value: float) -> float:
    """By Newton's method on 1 / trigamma, which is convex (Smyth 2004, appendix)."""
    if value > 1e7:
        return float(1 / np.sqrt(value))
    if value < 1e-6:
        return 1 / value
    root = 0.5 + 1 / value
    for _ in range(50):
        trigamma = special.polygamma(1, root)
        step = trigamma * (1 - trigamma / value) / special.polygamma(2, root)
        root += step
        if abs(step) < 1e-9 * root:
            break
    return float(root)
