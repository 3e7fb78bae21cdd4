"""Questions in mode prompt whose answers a causal language model writes."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from eval.prediction.forward import evaluating, token_budget
from eval.prediction.generation import generate
from eval.prediction.predict import LanguageResult, scored
from training import formats
from training.data.tokens import encode
from training.formats.prompts.causal import answer_text, is_over
from training.model.causal import CausalModel
from training.model.encoder import StageModel
from training.spec import Runtime, Settings
from training.tasks import Task


def evaluate_language(
    model: StageModel,
    task: Task,
    language: str,
    examples: Sequence[Any],
    tokenizer: Any,
    settings: Settings,
    runtime: Runtime,
    between: Callable[[], None] = lambda: None,
) -> LanguageResult:
    """A prediction is the first line of what the model writes, at most `max_answer_length` tokens. UserError where it
    is none that writes."""
    pieces = encode(formats.get(task.format), examples, tokenizer, task, settings)
    assert isinstance(model.encoder, CausalModel), "what encoding refuses"
    with evaluating(model), torch.autocast(model.device.type, torch.bfloat16, enabled=model.bf16):
        answers = generate(
            model.encoder.language_model,
            [piece.rows[0] for piece in pieces],
            max_tokens=settings.max_answer_length,
            end_tokens={tokenizer.eos_token_id},
            is_over=lambda tokens: is_over(tokens, tokenizer),
            token_budget=token_budget(model, runtime),
            between=between,
        )
    return scored(task, language, examples, pieces, [answer_text(tokens, tokenizer) for tokens in answers])
