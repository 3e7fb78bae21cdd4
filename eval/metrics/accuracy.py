"""The share of examples whose predicted label is the gold one."""

from collections.abc import Sequence


def share(golds: Sequence[object], predictions: Sequence[object]) -> float:
    """The percentage of positions at which both are equal, of at least one."""
    assert golds, "no words, no labels"
    return 100.0 * sum(map(_equal, golds, predictions)) / len(golds)


def score(golds: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """`accuracy` in percent."""
    return {"accuracy": share(golds, predictions)}


def _equal(gold: object, prediction: object) -> bool:
    return gold == prediction
