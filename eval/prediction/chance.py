"""Whether a score says that a head learned something: is it better than the best answer that never changes?"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from eval import metrics
from training.tasks import Task

_NO_ANSWER = {"text": "", "span": "", "null_odds": 0.0}
_NOTHING = 1.0  # percent; tags and spans: no more than this is found by accident
_FEW, _MANY = 20, 500  # examples: below, nothing can be told; from there on, who guesses is told from who knows


def at_chance(task: Task, golds: Sequence[Any], score: float) -> bool:
    """Whether `score`, the task's primary metric in percent, is no better than that of the best constant answer.

    golds: of the examples that were scored. Accuracy over many examples must be better by two standard deviations: the
    best of several epochs of guessing is a little better now and then. Never true of mlm and of retrieval, where no
    answer is right often, nor where there are few examples or a constant answer is all that is asked for.
    """
    if task.format not in ("sequence", "choice", "tagging", "span") or len(golds) < _FEW:
        return False
    scores = [metrics.score(task.metric_family, golds, answers, "en") for answers in _constants(task, golds)]
    constant = max((values[task.metric] for values in scores), default=0.0)
    has_entities = task.metric_family != "ner" or any(tag != "O" for gold in golds for tag in gold)
    if constant >= 100.0 or not has_entities:
        return False
    if task.format in ("tagging", "span"):
        return score <= max(constant, _NOTHING)
    return score <= constant + (2 * _deviation(constant, len(golds)) if len(golds) >= _MANY else 0.0)


def _deviation(percent: float, examples: int) -> float:
    """Of the accuracy of one who is right by accident so often."""
    return math.sqrt(percent * (100.0 - percent) / examples)


def _constants(task: Task, golds: Sequence[Any]) -> Iterator[list[Any]]:
    """The answers of those who always say the same."""
    if task.format == "tagging":
        # Not every tag there is (CCG has hundreds).
        counts = Counter(chain(*golds))
        for tag in {"O", *(tag for tag, _ in counts.most_common(1))} & counts.keys():
            yield [[tag] * len(gold) for gold in golds]
    elif task.metric_family == "squad_v2":
        yield [_NO_ANSWER] * len(golds)
    elif task.format != "span":
        for label in dict.fromkeys(golds):
            yield [label] * len(golds)
