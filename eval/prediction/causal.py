"""A causal language model's log-probabilities of continuations of prefixes, what these have in common computed once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from eval.prediction.forward import FloatArray
from eval.prediction.key_values import Keys, check, walk
from eval.prediction.prefixes import Segment, trees

LEAST_SHARED = 8  # tokens: less is computed row by row
_NO_WINDOW = 2048  # tokens of a model that names no window, as lm-evaluation-harness has it
_ROWS = 64


def context_window(model: PreTrainedModel, tokenizer: Any) -> int:
    """How many tokens a model reads at most, as lm-evaluation-harness finds it: the positions of its config, else its
    tokenizer's maximum, else 2,048 (BLOOM)."""
    config = getattr(model.config, "text_config", None) or model.config
    for name in ("n_positions", "max_position_embeddings", "n_ctx"):
        if getattr(config, name, None) is not None:
            return int(getattr(config, name))
    longest = getattr(tokenizer, "model_max_length", None)
    return _NO_WINDOW if longest is None or longest > 10**9 else int(longest)


def log_probabilities(
    model: PreTrainedModel,
    prefixes: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[Sequence[int]]],
    *,
    token_budget: int,
    window: int | None = None,
    least_shared: int = LEAST_SHARED,
    between: Callable[[], None] = lambda: None,
) -> list[list[FloatArray]]:
    """Of every prefix, of every one of its continuations: each token's natural log-probability after all before it.

    model: an `AutoModelForCausalLM` in evaluation, on its device; computed in its own type, normalised in fp32.
    prefixes: token ids, one at least (BOS where there is no text). continuations: [prefix][label] token ids, one at
    least. token_budget: keys and values that a batch holds at most, padding included; a row that is longer is computed
    alone, and of whole texts that are asked for a batch has fewer (`SCORES_SHARE`).
    window: the tokens that the model reads at most; of what is longer the first go, as in lm-evaluation-harness. The
    last token is only ever predicted, so that a row may have one more; no continuation is longer than the window.
    between: called before every forward pass; what it raises ends the work.
    UserError for a kind of model that is not covered.
    """
    check(model)
    requests: dict[tuple[int, ...], list[_Request]] = {}
    results: list[list[FloatArray]] = []
    for prefix, of_prefix in zip(prefixes, continuations, strict=True):
        results.append([np.empty(len(tokens), np.float32) for tokens in of_prefix])
        for tokens, values in zip(of_prefix, results[-1], strict=True):
            assert prefix and tokens and (window is None or len(tokens) <= window), (len(prefix), len(tokens), window)
            row = tuple((*prefix, *tokens)[-(window + 1) if window is not None else 0 :])
            requests.setdefault(row[:-1], []).append(_Request(row, len(row) - len(tokens), values))
    rows = list(requests)
    first_outputs = [min(request.start for request in requests[row]) - 1 for row in rows]

    def score(batch: Sequence[Segment], logits: Tensor, keys: Keys) -> None:
        _keep(
            batch, logits, [[request for row in segment.rows for request in requests[rows[row]]] for segment in batch]
        )

    with torch.inference_mode():
        walk(model, trees(rows, first_outputs, least_shared), token_budget, score, between)
    return results


@dataclass(frozen=True)
class _Request:
    """Of a row's tokens those from place `start` on are asked for; `values`: where their log-probabilities go."""

    row: tuple[int, ...]
    start: int
    values: FloatArray


def _keep(batch: Sequence[Segment], logits: Tensor, of_segments: Sequence[Sequence[_Request]]) -> None:
    """The log-probabilities of what is asked of a batch's segments, into the requests' values."""
    outputs: list[int] = []
    targets: list[int] = []
    parts: list[FloatArray] = []
    first = 0
    for segment, requests in zip(batch, of_segments, strict=True):
        first_output = segment.start + segment.first_output
        for request in requests:
            start = max(first_output, request.start - 1)
            if start < segment.end:
                outputs.extend(range(first + start - first_output, first + segment.end - first_output))
                targets.extend(request.row[start + 1 : segment.end + 1])
                parts.append(request.values[start + 1 - request.start : segment.end + 1 - request.start])
        first += segment.end - first_output
    if not outputs:
        return
    # Some at a time: in fp32 all scores would take twice the room.
    normalisers = torch.cat([some_rows.float().logsumexp(dim=1) for some_rows in torch.split(logits, _ROWS)])
    at = torch.tensor(outputs, device=logits.device)
    chosen_logits = logits[at, torch.tensor(targets, device=logits.device)].float()
    values = (chosen_logits - normalisers[at]).cpu().numpy()
    place = 0
    for part in parts:
        part[:] = values[place : place + len(part)]
        place += len(part)
