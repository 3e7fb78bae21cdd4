"""Which answered English training examples the prompts of an evaluation show."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from eval.prediction.forward import FloatArray, by_length, token_budget
from eval.prediction.retrieval import pooled_mean
from training import formats
from training.data.load import load_training
from training.formats import choice
from training.formats.base import Piece
from training.formats.prompts.demonstrations import balanced, nearest
from training.formats.prompts.form import Prompted
from training.formats.prompts.texts import Labelled
from training.formats.sequence import encode_pairs
from training.model.encoder import StageModel
from training.model.packing import Packed
from training.spec import EvaluateSpec, Runtime
from training.tasks import Task

_CANDIDATES = 2048  # training examples that the nearest ones are looked for among


class Demonstrations:
    """Those of a prompted target. Balanced: by the stage's seed, equally many of every label, before all alike.
    Nearest: of some training examples that are drawn so, those whose mean hidden states are nearest to each example's
    (Liu et al. 2022, arXiv 2101.06804)."""

    def __init__(self, model: StageModel, task: Task, tokenizer: Any, spec: EvaluateSpec, runtime: Runtime) -> None:
        form = formats.get(task.format)
        assert isinstance(form, Prompted), task
        assert task.prompting is not None and spec.seed is not None, task
        self.form = form
        self.prompting = task.prompting
        self.seed = spec.seed
        self.model = model
        self.task = task
        self.tokenizer = tokenizer
        self.spec = spec
        self.runtime = runtime

    def pieces(self, examples: Sequence[Labelled]) -> list[Piece]:
        """The pieces of a language's examples, each behind its demonstrations."""
        return self.form.encode_after(examples, self._shown(examples), self.tokenizer, self.task, self.spec.settings)

    def _shown(self, examples: Sequence[Labelled]) -> list[tuple[Labelled, ...]]:
        count = self.prompting.demonstrations
        if self.prompting.demonstration_choice == "balanced":
            return [tuple(self._drawn(count))] * len(examples)
        places = nearest(self._vectors(examples), self._candidate_vectors, count)
        return [tuple(self._candidates[place] for place in of_example) for of_example in places.tolist()]

    def _drawn(self, count: int) -> list[Labelled]:
        """UserError where a label has too few."""
        golds = [example.label for example in self._training_examples]
        return [self._training_examples[place] for place in balanced(golds, self.task.labels, count, self.seed)]

    @cached_property
    def _training_examples(self) -> list[Any]:
        assert self.spec.demonstrations is not None
        return load_training(self.spec.demonstrations)[0]

    @cached_property
    def _candidates(self) -> list[Labelled]:
        golds = [example.label for example in self._training_examples]
        fewest = min(golds.count(label) for label in self.task.labels)
        return self._drawn(max(self.prompting.demonstrations, min(_CANDIDATES, fewest * len(self.task.labels))))

    @cached_property
    def _candidate_vectors(self) -> FloatArray:
        return self._vectors(self._candidates)

    def _vectors(self, examples: Sequence[Labelled]) -> FloatArray:
        """[examples, width]: the mean of the last layer over an example's texts, of a choice over what is asked."""
        first = [example.first for example in examples]
        second = ["" if isinstance(example, choice.Example) else example.second for example in examples]
        rows = encode_pairs(self.tokenizer, first, second, self.spec.settings.max_length)
        pieces = [Piece(place, (row,), ()) for place, row in enumerate(rows)]

        def forward(batch: Packed) -> Tensor:
            return pooled_mean(self.model(batch), batch.layout, "mean")

        budget = token_budget(self.model, self.runtime)
        vectors = by_length(
            self.model, "parallel", pieces, budget, forward, lambda outputs, _: list(outputs.cpu().numpy())
        )
        return np.stack(vectors)
