"""Retrieval by sentence embeddings: which sentence of the other language is nearest to each English one, and back.

As XTREME's Tatoeba task does it (Hu et al. 2020): the mean of one layer's hidden states (the 14th of 24) over all
tokens, `<s>` and `</s>` included, by cosine. The other layers and ways of pooling come out of the same forward passes.
"""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval import metrics
from eval.prediction.forward import FloatArray, by_length, token_budget
from eval.prediction.predict import LanguageResult, records
from eval.prediction.search import neighbours_on
from slurm.base import UserError
from training import formats
from training.data.tokens import encode
from training.formats.base import Piece
from training.model.encoder import StageModel
from training.model.packing import Layout, Packed
from training.spec import Pooling, Runtime, Settings
from training.tasks import Task

POOLINGS: tuple[Pooling, ...] = get_args(Pooling)


def evaluate_language(
    model: StageModel,
    task: Task,
    language: str,
    examples: Sequence[Any],
    tokenizer: Any,
    settings: Settings,
    runtime: Runtime,
) -> LanguageResult:
    """Retrieve both ways, by the layer and the pooling of `settings`; `layers` of the result has the primary score of
    all. A prediction is a pair of ids: what the English sentence found among the others, and what the other sentence
    found among the English ones; the gold is the example's own id."""
    layer = chosen_layer(model, settings)
    english, foreign = embed(model, task, examples, tokenizer, settings, runtime)
    ids = [example.id for example in examples]

    def both_ways(pooling: int, layer: int) -> list[list[str]]:
        vectors = english[:, pooling, layer], foreign[:, pooling, layer]
        forward, backward = nearest(*vectors, model.device), nearest(*vectors[::-1], model.device)
        return [[ids[there], ids[back]] for there, back in zip(forward, backward, strict=True)]

    id_pairs = {(p, n): both_ways(p, n) for p in range(english.shape[1]) for n in range(english.shape[2])}
    scores = {place: metrics.score(task.metric_family, ids, pairs, language) for place, pairs in id_pairs.items()}
    selected_place = POOLINGS.index(settings.pooling), layer
    layers: dict[str, list[float]] = {
        pooling: [scores[number, n][task.metric] for n in range(english.shape[2])]
        for number, pooling in enumerate(POOLINGS)
    }
    return LanguageResult(scores[selected_place], records(ids, id_pairs[selected_place], ids), layers)


def embed(
    model: StageModel, task: Task, examples: Sequence[Any], tokenizer: Any, settings: Settings, runtime: Runtime
) -> tuple[FloatArray, FloatArray]:
    """Unit vectors [examples, poolings, layers, width] of the English and of the other sentences."""
    pieces = encode(formats.get(task.format), examples, tokenizer, task, settings)

    def forward(batch: Packed) -> Tensor:
        layout = batch.layout
        poolings = [[pooled(hidden, layout, pooling) for pooling in POOLINGS] for hidden in model.every_layer(batch)]
        return torch.stack([torch.stack(of_layer) for of_layer in poolings]).permute(2, 1, 0, 3)

    vectors = np.stack(by_length(model, task.format, pieces, token_budget(model, runtime), forward, _rows))
    sides = np.array([piece.way_back for piece in pieces])
    return vectors[sides == "english"], vectors[sides == "other"]


def sentence_vectors(model: StageModel, pieces: Sequence[Piece], settings: Settings, runtime: Runtime) -> FloatArray:
    """Unit vectors [pieces, width] of pieces that are one sentence each, by the layer and pooling of `settings`."""
    layer = chosen_layer(model, settings)

    def forward(batch: Packed) -> Tensor:
        return pooled(model(batch, layer=layer), batch.layout, settings.pooling)

    return np.stack(by_length(model, "retrieval", pieces, token_budget(model, runtime), forward, _rows))


def _rows(vectors: Tensor, pieces: Sequence[Piece]) -> list[FloatArray]:
    arrays: NDArray[np.float32] = vectors.cpu().numpy()
    return list(arrays)


def chosen_layer(model: StageModel, settings: Settings) -> int:
    """The layer whose hidden states are pooled; 0: embeddings. By default as deep as the 14th of 24."""
    layers = model.encoder.config.sizes.layers
    layer = round(14 / 24 * layers) if settings.layer is None else settings.layer
    if not 0 <= layer <= layers:
        raise UserError(f"layer {layer}: this model has layers 0 (embeddings) to {layers}; set layer to one of them.")
    return layer


def pooled(hidden: Tensor, layout: Layout, pooling: Pooling) -> Tensor:
    """One vector of length 1 per row: [tokens, width] → [rows, width], in fp32. Without specials, a row that has
    nothing else is 0."""
    return torch.nn.functional.normalize(_summed(hidden, layout, pooling), dim=1)  # of a sum as of a mean


def pooled_mean(hidden: Tensor, layout: Layout, pooling: Pooling) -> Tensor:
    """The same of any length: the mean of the tokens' vectors."""
    border = _border(pooling)
    counts = [
        1 if pooling == "cls" else max(1, length - 2 * border) for _, rows, length in layout.runs for _ in range(rows)
    ]
    return _summed(hidden, layout, pooling) / torch.tensor(counts, device=hidden.device)[:, None]


def _summed(hidden: Tensor, layout: Layout, pooling: Pooling) -> Tensor:
    hidden = hidden.float()
    if pooling == "cls":
        return hidden.index_select(0, layout.starts)
    border = _border(pooling)
    # Rows of one length lie side by side, so these are few.
    sums = [
        hidden[start : start + rows * length].view(rows, length, -1)[:, border : length - border].sum(1)
        for start, rows, length in layout.runs
    ]
    return torch.cat(sums)


def _border(pooling: Pooling) -> int:
    """How many tokens at each end do not count."""
    return 1 if pooling == "mean_without_specials" else 0


def nearest(queries: FloatArray, index: FloatArray, device: torch.device = torch.device("cpu")) -> list[int]:  # noqa: B008
    """For each row of `queries` the row of `index` with the largest dot product; of equal ones the first."""
    _, places = neighbours_on(device, queries, index, 1)
    return [int(place) for place in places[:, 0]]
