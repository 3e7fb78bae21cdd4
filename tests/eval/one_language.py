"""Evaluation of one language by itself, from its texts."""

from collections.abc import Sequence
from typing import Any

from eval.prediction.predict import LanguageResult, encoded, evaluate_languages
from training.model.encoder import StageModel
from training.spec import Runtime, Settings
from training.tasks import Task


def evaluate_language(
    model: StageModel,
    task: Task,
    head: str,
    language: str,
    examples: Sequence[Any],
    tokenizer: Any,
    settings: Settings,
    runtime: Runtime,
) -> LanguageResult:
    group = [encoded(task, language, examples, tokenizer, settings)]
    return next(evaluate_languages(model, task, head, group, settings, runtime))
