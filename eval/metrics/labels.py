"""Scores of single labels beyond the share that is right: F1 over all labels, and Matthews correlation."""

import math
from collections import Counter
from collections.abc import Sequence

from eval.metrics.accuracy import share


def score(golds: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """`accuracy`, `macro_f1`, `micro_f1` and `mcc` in percent, of at least one label each.

    `micro_f1` counts every label, so that of single labels it is the accuracy: a label that is wrong is one label's
    false positive and another's false negative.
    """
    accuracy = share(golds, predictions)
    return {
        "accuracy": accuracy,
        "macro_f1": 100.0 * macro_f1(golds, predictions),
        "micro_f1": accuracy,
        "mcc": 100.0 * mcc(golds, predictions),
    }


def macro_f1(golds: Sequence[str], predictions: Sequence[str]) -> float:
    """The mean of the labels' F1, 0..1, over labels that are gold or predicted somewhere: the mean of harmonic means
    (Opitz and Burst 2019, arXiv 1911.03347), not the harmonic mean of means."""
    occurrences, right = Counter(golds) + Counter(predictions), _right(golds, predictions)
    return math.fsum(2 * right[label] / count for label, count in occurrences.items()) / len(occurrences)


def mcc(golds: Sequence[str], predictions: Sequence[str]) -> float:
    """Matthews correlation of any number of labels, -1..1 (Gorodkin 2004, "Comparing two K-category assignments by a
    K-category correlation coefficient"); 0 where all gold labels, or all predicted ones, are the same."""
    gold_counts, prediction_counts, examples = Counter(golds), Counter(predictions), len(golds)
    right = _right(golds, predictions).total()
    covariance = examples * right - sum(count * prediction_counts[label] for label, count in gold_counts.items())
    product = math.prod(
        examples**2 - sum(count**2 for count in counts.values()) for counts in (gold_counts, prediction_counts)
    )
    return covariance / math.sqrt(product) if product else 0.0


def _right(golds: Sequence[str], predictions: Sequence[str]) -> Counter[str]:
    """By label, how often it is gold and predicted."""
    return Counter(gold for gold, prediction in zip(golds, predictions, strict=True) if gold == prediction)
