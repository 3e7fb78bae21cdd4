"""Whether a score says that a head learned something: is it better than the best answer that never changes?"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from eval import metrics
from training.task import Task

_NO_ANSWER = {"text": "", "span": "", "null_odds": 0.0}
_NOTHING = 1.0  # percent; tags and spans: no more than this is found by accident


def at_chance(task: Task, golds: Sequence[Any], score: float) -> bool:
    """Whether `score`, the task's primary metric in percent, is no better than that of the best constant answer.

    golds: of the examples that were scored. Never true of mlm and of retrieval, where no answer is right often.
    """
    if task.format not in ("sequence", "choice", "tagging", "span"):
        return False
    floor = _NOTHING if task.format in ("tagging", "span") else 0.0
    constants = (_score(task, golds, answers) for answers in _constants(task, golds))
    return score <= max(constants, default=floor) or score <= floor


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


def _score(task: Task, golds: Sequence[Any], answers: list[Any]) -> float:
    return metrics.score(task.metric_family, golds, answers, "en")[task.metric]
