"""Retrieval by sentence embeddings: which sentence of the other language is nearest to each English one, and back.

As XTREME's Tatoeba task does it (Hu et al. 2020): the mean of one layer's hidden states (the 14th of 24) over all
tokens, `<s>` and `</s>` included, by cosine.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval import metrics
from eval.predict import Array, LanguageResult, by_length, records
from slurm.errors import UserError
from training import formats
from training.batches import collate
from training.formats.base import Piece
from training.model import StageModel
from training.spec import Runtime, Settings
from training.task import Task

_TILE = 4096  # rows and columns of the scores that are held at a time


def evaluate_language(
    model: StageModel,
    task: Task,
    language: str,
    examples: Sequence[Any],
    tokenizer: Any,
    settings: Settings,
    runtime: Runtime,
) -> LanguageResult:
    """Retrieve both ways. A prediction is a pair of ids: what the English sentence found among the others, and what the
    other sentence found among the English ones; the gold is the example's own id."""
    english, other = embed(model, task, examples, tokenizer, settings, runtime)
    ids = [example.id for example in examples]
    forward, backward = nearest(english, other), nearest(other, english)
    predictions = [[ids[there], ids[back]] for there, back in zip(forward, backward, strict=True)]
    scores = metrics.score(task.metric_family, ids, predictions, language)
    return LanguageResult(scores, records(ids, predictions, ids))


def embed(
    model: StageModel, task: Task, examples: Sequence[Any], tokenizer: Any, settings: Settings, runtime: Runtime
) -> tuple[Array, Array]:
    """Unit vectors [examples, width] of the English and of the other sentences."""
    pieces = formats.get(task.format).encode(examples, tokenizer, task, settings)
    layer = chosen_layer(model, settings)
    pad_id: int = tokenizer.pad_token_id

    def forward(batch: Sequence[Piece]) -> list[Array]:
        padded = collate(batch, pad_id, model.device)
        return list(_pooled(model(padded.ids, padded.mask, layer=layer), padded.mask).cpu().numpy())

    vectors = np.stack(by_length(model, pieces, forward, runtime.eval_batch_size))
    sides = np.array([piece.way_back for piece in pieces])
    return vectors[sides == "english"], vectors[sides == "other"]


def chosen_layer(model: StageModel, settings: Settings) -> int:
    """The layer whose hidden states are pooled; 0: embeddings. By default as deep as the 14th of 24."""
    config: Any = model.encoder.config
    layers = int(config.num_hidden_layers)
    layer = round(14 / 24 * layers) if settings.layer is None else settings.layer
    if not 0 <= layer <= layers:
        raise UserError(f"layer {layer}: this model has layers 0 (embeddings) to {layers}; set layer to one of them.")
    return layer


def _pooled(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens, then length 1: [rows, length, width] → [rows, width], in fp32."""
    weights = mask[:, :, None].float()
    mean = (hidden.float() * weights).sum(1) / weights.sum(1)
    return torch.nn.functional.normalize(mean, dim=1)


def nearest(queries: Array, index: Array, tile: int = _TILE) -> list[int]:
    """For each row of `queries` the row of `index` with the largest dot product; of equal ones the first.

    Tile by tile, so that no more than tile × tile scores are held.
    """
    found: list[int] = []
    for start in range(0, len(queries), tile):
        found += _nearest_of(queries[start : start + tile], index, tile).tolist()
    return found


def _nearest_of(queries: Array, index: Array, tile: int) -> NDArray[np.int64]:
    best = np.full(len(queries), -np.inf, dtype=np.float32)
    where = np.zeros(len(queries), dtype=np.int64)
    for start in range(0, len(index), tile):
        scores = queries @ index[start : start + tile].T
        places = scores.argmax(axis=1)  # the first of equals
        values = scores[np.arange(len(queries)), places]
        better = values > best
        best[better], where[better] = values[better], places[better] + start
    return where
