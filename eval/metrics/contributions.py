"""What each example contributes to a score: sums over examples give the score back, and those of examples drawn anew a
score on another test set (`eval.statistics.resample`).

Two kinds. `mean`: one value, what the example alone scores (0 to 1). `f1`: three counts, right, guessed and gold, of
which the score is 2 · right / (guessed + gold); a share of words is one too, each word being guessed and gold.
"""

from collections.abc import Callable, Sequence
from itertools import starmap
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eval import metrics
from eval.metrics import tags

Kind = Literal["mean", "f1"]
_Counts = tuple[float, float, float]

# Families whose every metric is the mean of what each example scores alone.
_MEANS = frozenset(("accuracy", "squad", "mlqa", "squad_v2", "retrieval", "map20", "mrr20"))


def of_examples(
    family: str, metric: str, golds: Sequence[Any], predictions: Sequence[Any], language: str
) -> tuple[Kind, NDArray[np.float32]] | None:
    """(examples, 1) or (examples, 3); None for metrics that no sum over examples gives. The arguments are those of
    `eval.metrics.score`, with one of its metrics."""
    pairs = list(zip(golds, predictions, strict=True))
    if family in _MEANS:
        alone = [metrics.score(family, [gold], [prediction], language)[metric] / 100 for gold, prediction in pairs]
        return "mean", np.array(alone, np.float32)[:, None]
    count = _COUNTS.get((family, metric))
    return None if count is None else ("f1", np.array(list(starmap(count, pairs)), np.float32))


def _spans(gold: Sequence[str], prediction: Sequence[str]) -> _Counts:
    """No entity goes beyond its sentence, so those of each sentence are counted for itself."""
    gold_spans, guessed_spans = tags.entities([gold]), tags.entities([prediction])
    return len(gold_spans & guessed_spans), len(guessed_spans), len(gold_spans)


def _words(gold: Sequence[str], prediction: Sequence[str]) -> _Counts:
    return sum(map(str.__eq__, gold, prediction)), len(gold), len(gold)


_COUNTS: dict[tuple[str, str], Callable[[Sequence[str], Sequence[str]], _Counts]] = {
    ("ner", "f1"): _spans,
    ("pos", "pos_f1_xtreme"): _spans,
    ("pos", "pos_accuracy"): _words,
    ("words", "accuracy"): _words,
}
