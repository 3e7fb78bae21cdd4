"""Published metrics as pure functions of gold answers and predictions: no model, no torch, no files.

Every value is in percent, 0..100. Definitions are those the benchmarks were scored with (profile `xtreme`), known
flaws included, so that numbers compare.
"""

from collections.abc import Callable, Sequence
from typing import Any

from eval.metrics import accuracy, mlqa, retrieval, squad, tags

Scores = dict[str, float]

_FAMILIES: dict[str, Callable[[Sequence[Any], Sequence[Any], str], Scores]] = {
    "accuracy": lambda golds, predictions, _: accuracy.score(golds, predictions),
    "squad": lambda golds, predictions, _: squad.score(golds, predictions),
    "mlqa": mlqa.score,
    "ner": lambda golds, predictions, _: tags.score_ner(golds, predictions),
    "pos": lambda golds, predictions, _: tags.score_pos(golds, predictions),
    "retrieval": lambda golds, predictions, _: retrieval.score(golds, predictions),
}
FAMILIES = tuple(_FAMILIES)


def score(family: str, golds: Sequence[Any], predictions: Sequence[Any], language: str) -> Scores:
    """The scores of a metric family in percent, the primary one first.

    One gold and one prediction per example, at least one example: `accuracy` a label; `squad`, `mlqa` a list of
    right answers and a string (None: no prediction); `ner`, `pos` a list of tags, equally many; `retrieval` an id and
    the two ids found, forward (English query) and in reverse. `language`, the context's, matters to `mlqa` alone.
    """
    assert family in _FAMILIES, f"{family} is none of {FAMILIES}"
    assert len(golds) == len(predictions) > 0, (family, len(golds), len(predictions))
    return _FAMILIES[family](golds, predictions, language)
