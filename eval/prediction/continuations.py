"""Prompts' answers by a causal language model: what prompts begin with is computed once, whatever continues it."""

from collections.abc import Callable, Sequence

import torch

from eval.prediction.causal import log_probabilities
from eval.prediction.forward import FloatArray, evaluating
from training.formats.base import Piece
from training.model.causal import CausalModel
from training.model.encoder import StageModel


def outputs(
    model: StageModel, pieces: Sequence[Piece], budget: int, between: Callable[[], None] = lambda: None
) -> list[FloatArray]:
    """Of each piece the log-probabilities of its answer's tokens, as `training.model.heads.unbatch` gives them."""
    assert isinstance(model.encoder, CausalModel), type(model.encoder)
    places: dict[tuple[int, ...], list[int]] = {}
    for place, piece in enumerate(pieces):
        places.setdefault(piece.rows[0][: piece.way_back.start], []).append(place)
    answers = [[pieces[place].rows[0][len(prefix) :] for place in of_prefix] for prefix, of_prefix in places.items()]
    language_model = model.encoder.language_model
    with evaluating(model), torch.autocast(model.device.type, torch.bfloat16, enabled=model.bf16):
        values = log_probabilities(language_model, list(places), answers, token_budget=budget, between=between)
    arrays = dict(
        pair
        for of_prefix, of_answers in zip(places.values(), values, strict=True)
        for pair in zip(of_prefix, of_answers, strict=True)
    )
    return [arrays[place] for place in range(len(pieces))]
