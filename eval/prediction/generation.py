"""A causal language model's own continuations of prefixes: greedily, the likeliest token each time."""

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from eval.prediction.causal import LEAST_SHARED
from eval.prediction.key_values import Keys, check, step, walk
from eval.prediction.prefixes import Segment, trees
from slurm.base import UserError


def generate(
    model: PreTrainedModel,
    prefixes: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    end_tokens: Collection[int],
    is_over: Callable[[Sequence[int]], bool],
    token_budget: int,
    window: int | None = None,
    least_shared: int = LEAST_SHARED,
    between: Callable[[], None] = lambda: None,
) -> list[list[int]]:
    """Of every prefix the tokens that follow, at most `max_tokens`: up to one of `end_tokens` (EOS), which is not among
    them, or to that with which `is_over` is true of them (`training.formats.prompts.causal.is_over`: a newline).

    model, prefixes, token_budget, between: see `eval.prediction.causal.log_probabilities`. window: what the model reads
    at most; of a longer prefix the first tokens go, so that `max_tokens` have room (as in lm-evaluation-harness).
    UserError where there is no room, and for a kind of model that is not covered.
    """
    check(model)
    if window is not None and window <= max_tokens:
        raise UserError(
            f"an answer of {max_tokens} tokens leaves no room for a prompt: the model reads {window} in all."
        )
    rows = [tuple(prefix if window is None else prefix[max_tokens - window :]) for prefix in prefixes]
    answers: dict[tuple[int, ...], list[int]] = {row: [] for row in rows}
    unique_rows = list(answers)

    def go_on(batch: Sequence[Segment], logits: Tensor, keys: Keys) -> None:
        ends = {
            place: unique_rows[row]
            for place, segment in enumerate(batch)
            for row in segment.rows
            if len(unique_rows[row]) == segment.end
        }
        if ends:
            batch_answers = _continued(model, logits, keys, [*ends], max_tokens, end_tokens, is_over)
            answers.update(zip(ends.values(), batch_answers, strict=True))

    with torch.inference_mode():
        last_tokens = [len(row) - 1 for row in unique_rows]
        walk(model, trees(unique_rows, last_tokens, least_shared), token_budget, go_on, between, growth=max_tokens)
    return [answers[row] for row in rows]


def _continued(
    model: PreTrainedModel,
    logits: Tensor,
    keys: Keys,
    parents: Sequence[int],
    max_tokens: int,
    end_tokens: Collection[int],
    is_over: Callable[[Sequence[int]], bool],
) -> list[list[int]]:
    """What follows rows `parents` of `keys`, of which `logits` [rows, vocabulary] are the next tokens'."""
    answers: list[list[int]] = [[] for _ in parents]
    going_on = list(range(len(answers)))  # those whose next tokens `logits` are
    while True:
        tokens = logits.argmax(dim=1).tolist()
        rows = []
        for row, (number, token) in enumerate(zip(going_on, tokens, strict=True)):
            if token in end_tokens:
                continue
            answers[number].append(token)
            if len(answers[number]) < max_tokens and not is_over(answers[number]):
                rows.append(row)
        if not rows:
            return answers
        new_tokens = [[tokens[row]] for row in rows]
        logits, keys = step(model, new_tokens, [[0]] * len(rows), keys, [parents[row] for row in rows])
        going_on, parents = [going_on[row] for row in rows], range(len(rows))
