"""Retrieval of translations by cosine and by margin; the other measures of alignment are no sums over pairs, and stand
in `eval.alignment`."""

from collections.abc import Sequence

from eval.metrics.accuracy import share

NAMES = ("accuracy", "accuracy_reverse", "margin_accuracy", "margin_accuracy_reverse")


def score(golds: Sequence[str], predictions: Sequence[Sequence[str]]) -> dict[str, float]:
    """`accuracy` (the English sentence is the query) and `accuracy_reverse` by cosine, and both by ratio margin, in
    percent. Per pair of sentences its id, and the four ids that were taken for the translation's, in this order."""
    of_kinds = zip(*predictions, strict=True)
    return {name: share(golds, ids) for name, ids in zip(NAMES, of_kinds, strict=True)}
