"""From a trained model to predictions and scores: one code path for English dev and for zero-shot evaluation."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from eval import metrics
from eval.prediction.forward import SCORES_SHARE, FloatArray, by_length, is_gathered, token_budget
from training import formats
from training.data.tokens import encode, token_values
from training.formats.base import Piece
from training.model import heads
from training.model.causal import CausalModel
from training.model.encoder import StageModel
from training.spec import Runtime, Settings
from training.tasks import Task


@dataclass(frozen=True)
class LanguageResult:
    """A target's scores in one language, in percent, and what was predicted: records of id, prediction, gold.

    `layers`: per layer from 0, the embeddings; of retrieval the primary score of every way of pooling, of alignment
    every measure, as `POOLING/MEASURE`. `seconds`: its own, and its share (by tokens) of what was computed for several
    languages together.
    """

    scores: dict[str, float]
    predictions: list[dict[str, Any]]
    layers: Mapping[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Encoded:
    """One language's examples, and the pieces of them that the model sees. `seconds`: what making them took."""

    language: str
    examples: Sequence[Any]
    pieces: Sequence[Piece]
    tokens: int
    seconds: float = 0.0


def encoded(task: Task, language: str, examples: Sequence[Any], tokenizer: Any, settings: Settings) -> Encoded:
    """The pieces of a target's or a dev set's examples."""
    form = formats.get(task.format)
    pieces = form.for_dev(encode(form, examples, tokenizer, task, settings), examples, tokenizer, settings)
    return encoded_as(language, examples, pieces)


def encoded_as(language: str, examples: Sequence[Any], pieces: Sequence[Piece]) -> Encoded:
    """These pieces of them."""
    return Encoded(language, examples, pieces, sum(len(values) for values in token_values(pieces)))


def evaluate_languages(
    model: StageModel,
    task: Task,
    head: str,
    group: Sequence[Encoded],
    settings: Settings,
    runtime: Runtime,
    between: Callable[[], None] = lambda: None,
) -> Iterator[LanguageResult]:
    """Predict some languages together by the head of train task `head`; decode and score them one by one.

    A prediction is a JSON value as `task`'s format makes it. Examples without a gold answer are predicted, not scored;
    where none has one, `scores` is empty. `between` is called before every batch.
    """
    started_at = time.monotonic()
    pieces = [piece for language in group for piece in language.pieces]
    outputs = iter(head_outputs(model, task.format, head, pieces, runtime, between))
    per_token = (time.monotonic() - started_at) / max(1, sum(language.tokens for language in group))
    for language in group:
        started_at = time.monotonic()
        result = result_of(task, language, list(islice(outputs, len(language.pieces))), settings)
        yield replace(result, seconds=language.seconds + language.tokens * per_token + time.monotonic() - started_at)


def result_of(task: Task, language: Encoded, outputs: Sequence[FloatArray], settings: Settings) -> LanguageResult:
    """Predictions and scores by what a head made of a language's pieces; it says nothing of the time."""
    form = formats.get(task.format)
    predictions = form.decode(language.examples, language.pieces, outputs, task, settings)
    return scored(task, language.language, language.examples, language.pieces, predictions)


def scored(
    task: Task, language: str, examples: Sequence[Any], pieces: Sequence[Piece], predictions: Sequence[Any]
) -> LanguageResult:
    """The scores of predictions, one per example, and the records of both."""
    golds = formats.get(task.format).golds(examples, pieces, task)
    pairs = [(gold, prediction) for gold, prediction in zip(golds, predictions, strict=True) if gold is not None]
    scores: dict[str, float] = {}
    if pairs:
        right, predictions_with_gold = zip(*pairs, strict=True)
        scores = metrics.score(task.metric_family, right, predictions_with_gold, language)
    return LanguageResult(scores, records([example.id for example in examples], predictions, golds))


def head_outputs(
    model: StageModel,
    form: str,
    head: str,
    pieces: Sequence[Piece],
    runtime: Runtime,
    between: Callable[[], None] = lambda: None,
) -> list[FloatArray]:
    """The head's fp32 outputs, one array per piece in their order (see `training.model.heads.unbatch`)."""
    budget = token_budget(model, runtime)
    if isinstance(model.encoder, CausalModel) and not is_gathered(model):
        from eval.prediction import continuations  # brings transformers, which other jobs do without

        return continuations.outputs(model, pieces, budget, between)
    if formats.get(form).is_language_model:
        budget = max(1, budget // SCORES_SHARE)
    return by_length(
        model,
        form,
        pieces,
        budget,
        lambda batch: model(batch, head),
        lambda logits, batch: heads.unbatch(form, logits, batch),
        between,
    )


def records(ids: Sequence[str], predictions: Sequence[Any], golds: Sequence[Any]) -> list[dict[str, Any]]:
    """One JSON record per example."""
    return [
        {"id": id_, "prediction": prediction, "gold": gold}
        for id_, prediction, gold in zip(ids, predictions, golds, strict=True)
    ]
