"""The share of examples, or of words, whose predicted label is the gold one."""

from collections.abc import Sequence
from itertools import chain


def share(golds: Sequence[object], predictions: Sequence[object]) -> float:
    """The percentage of positions at which both are equal, of at least one."""
    assert golds, "no words, no labels"
    return 100.0 * sum(gold == prediction for gold, prediction in zip(golds, predictions, strict=True)) / len(golds)


def score(golds: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """`accuracy` in percent."""
    return {"accuracy": share(golds, predictions)}


def score_words(golds: Sequence[Sequence[object]], predictions: Sequence[Sequence[object]]) -> dict[str, float]:
    """`accuracy` in percent over the words of all examples together; one label per word."""
    assert list(map(len, golds)) == list(map(len, predictions)), "not one label per word"
    return {"accuracy": share(list(chain(*golds)), list(chain(*predictions)))}


def score_with_f1(golds: Sequence[str], predictions: Sequence[str], positive: str) -> dict[str, float]:
    """QQP's (Wang et al. 2019, arXiv 1804.07461): `acc_and_f1`, the mean of `accuracy` and the `f1` of one label."""
    right = share(golds, predictions)
    predicted_positives, gold_positives = predictions.count(positive), golds.count(positive)
    true_positives = sum(gold == prediction == positive for gold, prediction in zip(golds, predictions, strict=True))
    f1 = 100.0 * 2 * true_positives / (predicted_positives + gold_positives) if true_positives else 0.0
    return {"acc_and_f1": (right + f1) / 2, "accuracy": right, "f1": f1}
