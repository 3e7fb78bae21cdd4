"""Answer retrieval by a dual encoder: which candidates of one pool answer a question? LAReQA and Mewsli-X.

The pool is the same for all languages of LAReQA, and of Mewsli-X: it is embedded once for those that follow each other.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from eval import metrics
from eval.prediction.forward import FloatArray
from eval.prediction.predict import LanguageResult, head_outputs, records
from eval.prediction.search import neighbours_on
from slurm.base import UserError
from training import formats
from training.data.tokens import encode
from training.formats.dual_encoder import rank
from training.formats.dual_example import Example
from training.model.encoder import StageModel
from training.spec import Runtime, Settings
from training.tasks import Task


class Answers:
    """Ranks a target's candidates by the head of train task `head`."""

    def __init__(
        self, model: StageModel, task: Task, head: str, tokenizer: Any, settings: Settings, runtime: Runtime
    ) -> None:
        self.model = model
        self.task = task
        self.head = head
        self.tokenizer = tokenizer
        self.settings = settings
        self.runtime = runtime
        self._pool: list[Example] = []
        self._vectors: FloatArray = np.empty((0, 0), dtype=np.float32)

    def language(self, language: str, examples: Sequence[Any]) -> LanguageResult:
        """A prediction is the ids of the 20 best candidates, the best first, of equal ones the first in the pool.

        `examples`: questions and candidates (training.formats.dual_example), as the format reads a target.
        """
        questions = [example for example in examples if example.question]
        pool = [example for example in examples if not example.question]
        if not questions or not pool:
            raise UserError(
                f"target {self.task.name}: {language} has {len(questions)} questions and {len(pool)} candidates: both"
                " are needed; look at its files."
            )
        if pool != self._pool:
            self._pool, self._vectors = pool, self._embed(pool)
        ids = [candidate.candidate for candidate in pool]
        predictions = rank(self._embed(questions), self._vectors, ids, partial(neighbours_on, self.model.device))
        form = formats.get(self.task.format)
        golds = [form.gold(e, self.task) if form.labelled(e) else None for e in questions]
        pairs = [(gold, prediction) for gold, prediction in zip(golds, predictions, strict=True) if gold is not None]
        scores: dict[str, float] = {}
        if pairs:
            right, rankings = zip(*pairs, strict=True)
            scores = metrics.score(self.task.metric_family, right, rankings, language)
        return LanguageResult(scores, records([example.id for example in questions], predictions, golds))

    def _embed(self, examples: Sequence[Example]) -> FloatArray:
        """Vectors [examples, width] of questions alone or of candidates alone."""
        pieces = encode(formats.get(self.task.format), examples, self.tokenizer, self.task, self.settings)
        return np.concatenate(head_outputs(self.model, self.task.format, self.head, pieces, self.runtime))
