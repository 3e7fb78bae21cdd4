"""Whether a score says that a head learned something: is it better than the best answer that never changes?"""

from collections.abc import Sequence
from typing import Any

from eval import metrics
from training import formats
from training.tasks import Task

_FEW = 20  # examples: below, nothing can be told


def at_chance(task: Task, golds: Sequence[Any], score: float) -> bool:
    """Whether `score`, the task's primary metric in percent, is no better than that of the best constant answer.

    golds: of the examples that were scored. Accuracy over many examples must be better by two standard deviations: the
    best of several epochs of guessing is a little better now and then. Never true of mlm and of retrieval, where no
    answer is right often, nor where there are few examples or a constant answer is all that is asked for.
    """
    form = formats.get(task.format)
    answers = form.constant_answers(golds, task)
    if answers is None or len(golds) < _FEW:
        return False
    scores = (metrics.score(task.metric_family, golds, predictions, "en")[task.metric] for predictions in answers)
    constant = max(scores, default=0.0)
    return constant < 100.0 and score <= form.by_accident(constant, len(golds))
