"""Retrieval of translations: the share of sentences whose nearest neighbour in the other language is the right one."""

from collections.abc import Sequence

from eval.metrics.accuracy import share


def score(golds: Sequence[str], predictions: Sequence[Sequence[str]]) -> dict[str, float]:
    """`accuracy` (the English sentence is the query: XTREME's direction) and `accuracy_reverse`, in percent.

    Per pair of sentences its id, and the two ids that were found: that of the sentence of the other language nearest to
    its English one, and that of the English sentence nearest to its other one.
    """
    forward, reverse = zip(*predictions, strict=True)
    return {"accuracy": share(golds, forward), "accuracy_reverse": share(golds, reverse)}
