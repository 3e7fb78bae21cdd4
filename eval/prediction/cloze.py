"""Examples answered by a masked language model's head, without training on the task: cloze prompts.

Every row goes through the packed encoder once and serves all answers of its length. Predictions are decoded and scored
as those of a fine-tuned head are.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from eval.prediction.forward import FloatArray, by_length, token_budget
from eval.prediction.predict import SCORES_SHARE, Encoded, LanguageResult, result_of
from eval.prompts import scoring
from slurm.base import UserError
from training.formats.base import Piece
from training.formats.prompts.cloze import Question, encode
from training.formats.prompts.template import Template
from training.formats.prompts.texts import Example
from training.model import heads
from training.model.encoder import StageModel, use_bf16
from training.model.packing import Packed
from training.model.parent import Parent
from training.spec import Runtime, Settings
from training.tasks import Task

Calibration = Literal["none", "pmi", "contextual"]
_HEAD = "mlm"
_ROWS = 64
_CONTENT = {"none": (), "pmi": ("N/A",), "contextual": ("N/A", "")}  # what stands for texts in prompts that say nothing


def model_with_lm_head(parent: Parent, settings: Settings, device: torch.device) -> StageModel:
    """The encoder and its masked language model's head, to evaluate. UserError where it comes without one."""
    if not parent.lm_head:
        raise UserError(
            f"{parent.folder}: has no masked language model's head (lm_head.*), which cloze prompts need;"
            " take a model that has one, or train `mlm` first."
        )
    parent.move(device)
    config = parent.config
    head = heads.build("mlm", config.vocab_size, config.hidden_size, dropout=0.0)
    head.load_state_dict(parent.lm_head)
    return StageModel(parent.encoder(), {_HEAD: head}, bf16=use_bf16(settings, device)).to(device).eval()


def evaluate_language(
    model: StageModel,
    task: Task,
    template: Template,
    language: str,
    examples: Sequence[Example],
    tokenizer: Any,
    settings: Settings,
    runtime: Runtime,
    *,
    wording: str = "en",
    demonstrations: Sequence[Sequence[str]] | None = None,
    calibration: Calibration = "none",
) -> LanguageResult:
    """Predictions and scores of one language's examples; `wording`: the language of the prompts.

    `demonstrations`: of every example the answered prompts before it, the nearest last. UserError: see
    `training.formats.prompts.cloze.encode`.
    """
    shown_prompts = demonstrations if demonstrations is not None else [()] * len(examples)

    def scored(content: str | None) -> scoring.Scores:
        prompts = [
            template.prompt(example, wording) if content is None else template.content_free(example, wording, content)
            for example in examples
        ]
        questions = [
            Question(example.id, prompt, tuple(before))
            for example, prompt, before in zip(examples, prompts, shown_prompts, strict=True)
        ]
        return scoring.averaged(log_probabilities(model, questions, tokenizer, settings, runtime))

    scores = scored(None)
    content_free = [scored(content) for content in _CONTENT[calibration]]
    if calibration == "pmi":
        scores = scoring.pmi(scores, content_free[0])
    if calibration == "contextual":
        scores = scoring.calibrated(scores, np.stack(content_free))
    outputs = list(scores.astype(np.float32))
    rows = [Piece(number, (), ()) for number in range(len(examples))]
    return result_of(task, Encoded(language, examples, rows, 0), outputs, settings)


def log_probabilities(
    model: StageModel, questions: Sequence[Question], tokenizer: Any, settings: Settings, runtime: Runtime
) -> list[list[FloatArray]]:
    """Of every question, of every label: the log-probability of each of its answer's tokens at that token's mask, where
    all of them are masked at once."""
    pieces = encode(questions, tokenizer, settings.max_length).pieces
    budget = max(1, token_budget(model, runtime) // SCORES_SHARE)
    arrays = by_length(model, "mlm", pieces, budget, lambda batch: _asked(model, batch), _by_piece)
    answers: list[list[FloatArray]] = [[_NOTHING] * len(question.prompt.answers) for question in questions]
    for piece, array in zip(pieces, arrays, strict=True):
        for label, tokens in zip(piece.way_back.labels, array, strict=True):
            answers[piece.example][label] = tokens
    return answers


_NOTHING: FloatArray = np.empty(0, np.float32)


def _asked(model: StageModel, batch: Packed) -> Tensor:
    """What is asked of all pieces, one behind the other: each answer's tokens. No other score leaves the device."""
    masks: list[int] = []
    tokens: list[int] = []
    place = 0
    for piece in batch.pieces:
        length = len(piece.way_back.tokens[0])
        for answer in piece.way_back.tokens:
            masks.extend(range(place, place + length))
            tokens.extend(answer)
        place += length
    logits: Tensor = model(batch, _HEAD)
    # Some at a time: in fp32 all scores would take twice the room.
    normalisers = torch.cat([some_rows.float().logsumexp(dim=1) for some_rows in torch.split(logits, _ROWS)])
    at_masks = torch.tensor(masks, device=logits.device)
    chosen_logits = logits[at_masks, torch.tensor(tokens, device=logits.device)].float()
    return chosen_logits - normalisers[at_masks]


def _by_piece(outputs: Tensor, pieces: Sequence[Piece]) -> list[FloatArray]:
    """[answers, tokens] each."""
    values = outputs.cpu().numpy()
    arrays, start = [], 0
    for piece in pieces:
        shape = (len(piece.way_back.tokens), len(piece.way_back.tokens[0]))
        arrays.append(values[start : start + shape[0] * shape[1]].reshape(shape))
        start += shape[0] * shape[1]
    return arrays
