"""Scores of the labels from the log-probabilities of their answers' tokens: raw, length-normalised, calibrated.

Scores are natural logarithms, [examples, labels]; the highest is predicted, of equal ones the first.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Answers = Sequence[Sequence[NDArray[np.float32]]]  # of every example, of every label, the log-probability of each token


def summed(answers: Answers) -> Scores:
    """The log-probability of each answer: the longer one is the less likely, by nothing but its length."""
    return np.array([[tokens.sum(dtype=np.float64) for tokens in labels] for labels in answers])


def averaged(answers: Answers) -> Scores:
    """By token: the length-normalised score of a causal model (Brown et al. 2020, arXiv 2005.14165), and what a masked
    model's answer of several masks has (Zhao & Schütze 2021, 2109.03630). No answer is empty."""
    return np.array([[tokens.mean(dtype=np.float64) for tokens in labels] for labels in answers])


def pmi(scores: Scores, content_free: Scores) -> Scores:
    """Domain-conditional pointwise mutual information, PMI_DC (Holtzman et al. 2021, arXiv 2104.08315):
    log p(answer | prompt) - log p(answer | prompt that says nothing).

    content_free: [labels], or [examples, labels] where examples have answers of their own.
    """
    return scores - content_free


def calibrated(scores: Scores, content_free: Scores) -> Scores:
    """Contextual calibration (Zhao et al. 2021, arXiv 2102.09690): the labels' probabilities, each divided by its own
    on inputs that say nothing, so that these would be undecided; as logarithms of probabilities.

    content_free: [inputs, labels], or [inputs, examples, labels]; probabilities are averaged over the inputs before the
    labels are held against each other, as the paper's code does. With one input it predicts what `pmi` does.
    """
    mean = np.logaddexp.reduce(content_free, axis=0) - np.log(len(content_free))
    return log_shares(scores - mean)


def log_shares(scores: Scores) -> Scores:
    """The labels' probabilities among themselves, as logarithms: they add up to one over the last axis."""
    shares: Scores = scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)
    return shares
