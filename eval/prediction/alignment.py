"""Alignment: how alike a model represents sentences and their translations, by every layer and way of pooling.

The measures are those of `eval.alignment`. All layers of a sentence come out of one forward pass. One language's
vectors are held at a time, and the English ones beside them, which are computed once for languages that follow each
other with the same English sentences; cosines are held a tile at a time (`eval.prediction.search`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval import metrics
from eval.alignment import measures
from eval.alignment.hubness import NEIGHBOURS
from eval.alignment.measures import Choices, Sides
from eval.alignment.retrieval import Nearest
from eval.prediction.forward import FloatArray, by_length, token_budget
from eval.prediction.predict import LanguageResult, records
from eval.prediction.retrieval import POOLINGS, chosen_layer, pooled_mean
from eval.prediction.search import both_ways
from slurm.base import UserError
from training import formats
from training.data.tokens import encode
from training.formats.base import Piece
from training.model.encoder import StageModel
from training.model.packing import Packed
from training.spec import Runtime, Settings
from training.tasks import Task

_Row = tuple[int, ...]  # token ids


class Alignment:
    """Compares one language after the other with English."""

    def __init__(self, model: StageModel, task: Task, tokenizer: Any, settings: Settings, runtime: Runtime) -> None:
        self.model = model
        self.task = task
        self.tokenizer = tokenizer
        self.settings = settings
        self.runtime = runtime
        self._place = POOLINGS.index(settings.pooling), chosen_layer(model, settings)
        self._english = self._empty(0)
        self._english_places: dict[_Row, int] = {}

    def language(self, language: str, examples: Sequence[Any]) -> LanguageResult:
        """Scores by the layer and the pooling of `settings`; `layers` of the result has `POOLING/MEASURE` of all.

        `examples`: training.formats.retrieval.Example, ids unique. A prediction is four ids: what the English sentence
        found among the others and the other one among the English, by cosine, and then both by margin.
        """
        if len(examples) < measures.FEWEST:
            raise UserError(
                f"target {self.task.name}: {language} has {len(examples)} usable pairs of sentences, alignment needs"
                f" {measures.FEWEST} or more; look at its files."
            )
        english, foreign = self._embed(examples)
        ids = np.array([example.id for example in examples])
        curves: dict[str, list[float]] = {}
        scores: dict[str, float] = {}
        predictions: list[Any] = []
        for number, pooling in enumerate(POOLINGS):
            for layer in range(english.shape[2]):
                chosen_rows, of_vectors = self._compare(english[:, number, layer], foreign[:, number, layer])
                for name, value in (measures.of_choices(chosen_rows) | of_vectors).items():
                    curves.setdefault(f"{pooling}/{name}", []).append(value)
                if (number, layer) == self._place:
                    predictions = _ids_of(chosen_rows, ids)
                    scores = metrics.score(self.task.metric_family, ids.tolist(), predictions, language) | of_vectors
        return LanguageResult(scores, records(ids.tolist(), predictions, ids.tolist()), curves)

    def _compare(self, english: FloatArray, foreign: FloatArray) -> tuple[Choices, dict[str, float]]:
        """Vectors [pairs, width] of one layer and pooling."""
        english, foreign = np.ascontiguousarray(english), np.ascontiguousarray(foreign)
        sides = Sides(english, foreign, _unit(english), _unit(foreign))
        forward, backward = (
            Nearest(*of_side)
            for of_side in both_ways(self.model.device, sides.unit_english, sides.unit_other, NEIGHBOURS)
        )
        return measures.choices(forward, backward), measures.of_vectors(sides, forward, backward)

    def _embed(self, examples: Sequence[Any]) -> tuple[FloatArray, FloatArray]:
        """Vectors [examples, poolings, layers, width] of the English and of the other sentences, of any length."""
        pieces = encode(formats.get(self.task.format), examples, self.tokenizer, self.task, self.settings)
        english_pieces, other_pieces = (
            [piece for piece in pieces if piece.way_back == side] for side in ("english", "other")
        )
        rows = [piece.rows[0] for piece in english_pieces]
        if rows != list(self._english_places):
            self._english, self._english_places = self._embed_english(english_pieces, rows), _places(rows)
        foreign = self._empty(len(examples))
        self._embed_into(foreign, other_pieces)
        return self._english, foreign

    def _embed_english(self, pieces: Sequence[Piece], rows: Sequence[_Row]) -> FloatArray:
        """Those that the language before had are taken from there."""
        vectors = self._empty(len(rows))
        unseen_pieces = []
        for number, (piece, row) in enumerate(zip(pieces, rows, strict=True)):
            place = self._english_places.get(row)
            if place is None:
                unseen_pieces.append(piece)
            else:
                vectors[number] = self._english[place]
        self._embed_into(vectors, unseen_pieces)
        return vectors

    def _embed_into(self, vectors: FloatArray, pieces: Sequence[Piece]) -> None:
        """Write the vectors of `pieces` into the rows of their examples: a copy of all would be as large again."""

        def forward(batch: Packed) -> Tensor:
            of_layers = [
                torch.stack([pooled_mean(hidden, batch.layout, pooling) for pooling in POOLINGS])
                for hidden in self.model.every_layer(batch)
            ]
            return torch.stack(of_layers).permute(2, 1, 0, 3)

        def read(outputs: Tensor, batch: Sequence[Piece]) -> list[FloatArray]:
            vectors[[piece.example for piece in batch]] = outputs.cpu().numpy()
            return [_WRITTEN] * len(batch)

        by_length(self.model, self.task.format, pieces, token_budget(self.model, self.runtime), forward, read)

    def _empty(self, sentences: int) -> FloatArray:
        config = self.model.encoder.config
        return np.empty((sentences, len(POOLINGS), config.sizes.layers + 1, config.hidden_size), np.float32)


_WRITTEN: FloatArray = np.empty(0, np.float32)


def _places(rows: Sequence[_Row]) -> dict[_Row, int]:
    return {row: place for place, row in enumerate(rows)}


def _unit(vectors: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _ids_of(chosen_rows: Choices, ids: NDArray[np.str_]) -> list[list[str]]:
    columns = (chosen_rows.forward, chosen_rows.backward, chosen_rows.margin_forward, chosen_rows.margin_backward)
    return [list(of_pair) for of_pair in zip(*(ids[places].tolist() for places in columns), strict=True)]
