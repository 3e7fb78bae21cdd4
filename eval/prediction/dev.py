"""English dev of a train stage: the score that selects its epoch, and each task's dev under all of its metrics.

All of them are read from the outputs of one forward pass.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval import metrics
from eval.metrics import contributions
from eval.metrics.calibration import calibration_error
from eval.metrics.labels import score as score_labels
from eval.prediction import predict
from eval.prediction.chance import at_chance
from eval.prediction.forward import FloatArray
from eval.prediction.predict import Encoded, LanguageResult
from training import formats
from training.checkpoints.progress import DevScore, TaskMetrics
from training.data.parts import Part
from training.model import heads
from training.model.encoder import StageModel
from training.spec import Runtime, Settings
from training.stopwatch import phase
from training.tasks import Task

_SINGLE_LABELS = ("labels", "tags")  # layouts of predictions that are labels, which are right or wrong


@dataclass(frozen=True)
class Dev:
    """The English dev examples of one part of a stage: `task` says what they are, `head` who predicts."""

    task: Task
    head: str
    examples: Encoded


@phase("tokenise")
def dev_scorer(
    parts: Sequence[Part], tokenizer: Any, settings: Settings, runtime: Runtime
) -> Callable[[StageModel], DevScore]:
    """The `dev_score` of a train stage with these parts: scores a model whenever called."""
    dev = [Dev(part.task, part.head.name, _encoded_dev(part, tokenizer, settings)) for part in parts]
    return lambda model: score_dev(model, dev, settings, runtime)


def _encoded_dev(part: Part, tokenizer: Any, settings: Settings) -> Encoded:
    pieces = part.form.for_dev(part.dev, part.dev_examples, tokenizer, settings)
    return predict.encoded_as("en", part.dev_examples, pieces)


def score_dev(model: StageModel, dev: Sequence[Dev], settings: Settings, runtime: Runtime) -> DevScore:
    """The mean over a stage's heads of the primary metric on their English dev examples, in percent; a head that was
    trained on several tasks has the mean over these. Text in many languages selects only where there is nothing else.
    With it the metrics of every part.

    A head is at chance where it is in all of its tasks.
    """
    is_text = [formats.get(part.task.format).in_any_language for part in dev]
    scores: dict[str, list[float]] = {}
    better: set[str] = set()
    metrics_of_parts: list[TaskMetrics] = []
    for part, selects in zip(dev, [all(is_text) or not text for text in is_text], strict=True):
        result, task_metrics = evaluate(model, part, settings, runtime)
        metrics_of_parts.append(task_metrics)
        if not selects:
            continue
        score = result.scores[part.task.metric]
        scores.setdefault(part.head, []).append(score)
        if not at_chance(part.task, [row["gold"] for row in result.predictions if row["gold"] is not None], score):
            better.add(part.head)
    return DevScore(
        mean(mean(head_scores) for head_scores in scores.values()),
        tuple(head for head in scores if head not in better),
        tuple(metrics_of_parts),
    )


def evaluate(
    model: StageModel, dev: Dev, settings: Settings, runtime: Runtime, between: Callable[[], None] = lambda: None
) -> tuple[LanguageResult, TaskMetrics]:
    """Predictions and scores of a part's English dev, and these scores with all other metrics that are defined: of
    labels `accuracy`, `macro_f1`, `micro_f1`, `mcc`; the `calibration_error` of what has a confidence; the mean `loss`
    in nats of a term, as in training. All others are in percent. What is not finite is left out. `between` is called
    before every batch; what it raises ends the work."""
    outputs = predict.head_outputs(model, dev.task.format, dev.head, dev.examples.pieces, runtime, between)
    result = predict.result_of(dev.task, dev.examples, outputs, settings)
    values = result.scores | _beyond_scores(dev, result, outputs, settings)
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    return result, TaskMetrics(dev.task.name, dev.head, finite)


def _beyond_scores(
    dev: Dev, result: LanguageResult, outputs: Sequence[FloatArray], settings: Settings
) -> dict[str, float]:
    """What a task's metric family does not score."""
    task, pieces, form = dev.task, dev.examples.pieces, formats.get(dev.task.format)
    values: dict[str, float] = {}
    golds, predictions = ([row[name] for row in result.predictions] for name in ("gold", "prediction"))
    if form.labels_are_classes:
        values |= score_labels(*_single_labels(task, golds, predictions))
    confidences = form.confidences(dev.examples.examples, pieces, outputs, task, settings)
    if confidences is not None:
        values["calibration_error"] = calibration_error(confidences, _is_right(task, golds, predictions))
    terms = sum(form.count(piece) for piece in pieces)
    if terms:
        values["loss"] = heads.loss_of_outputs(task.format, outputs, pieces, settings.contrast_size) / terms
    return values


def _single_labels(task: Task, golds: Sequence[Any], predictions: Sequence[Any]) -> tuple[list[str], list[str]]:
    """Gold and predicted labels, of tags those of all words."""
    if metrics.layout(task.metric_family) == "tags":
        return list(chain(*golds)), list(chain(*predictions))
    return list(golds), list(predictions)


def _is_right(task: Task, golds: Sequence[Any], predictions: Sequence[Any]) -> NDArray[np.bool_]:
    """Of each prediction (of tags: of each word's) whether it is the gold one; of an answer: whether it matches one."""
    if metrics.layout(task.metric_family) in _SINGLE_LABELS:
        pairs = zip(*_single_labels(task, golds, predictions), strict=True)
        return np.array([gold == prediction for gold, prediction in pairs])
    exact = contributions.of_examples(task.metric_family, "exact_match", golds, predictions, "en")
    assert exact is not None and exact[0] == "mean", task.metric_family
    return np.equal(exact[1][:, 0], 1)
