"""Continuations scored along trees of common beginnings: as a forward pass of each whole row has it."""

import random
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eval.prediction import causal
from slurm.base import UserError
from tests.causal_models import CONFIGS, VOCABULARY, WINDOW, causal_model

pytestmark = pytest.mark.slow

BOS = 2
model_of = cache(causal_model)


def row_by_row(
    model: Any, prefixes: list[list[int]], continuations: list[list[list[int]]], window: int | None
) -> list[list[np.ndarray]]:
    """As lm-evaluation-harness cuts a row and reads its logits, without batches and without a cache."""
    results = []
    for prefix, of_prefix in zip(prefixes, continuations, strict=True):
        results.append([])
        for tokens in of_prefix:
            row = [*prefix, *tokens] if window is None else [*prefix, *tokens][-(window + 1) :]
            with torch.inference_mode():
                scores = model(torch.tensor([row[:-1]])).logits[0].float().log_softmax(dim=-1)
            places = range(len(row) - 1 - len(tokens), len(row) - 1)
            results[-1].append(scores[list(places), tokens].numpy())
    return results


def assert_equal(values: list[list[np.ndarray]], reference: list[list[np.ndarray]]) -> None:
    for of_prefix, of_reference in zip(values, reference, strict=True):
        for tokens, of_row in zip(of_prefix, of_reference, strict=True):
            assert tokens.dtype == np.float32
            np.testing.assert_allclose(tokens, of_row, rtol=1e-4, atol=1e-4)


def random_prefixes(
    seed: int, questions: int, demonstration_tokens: int, length: int
) -> tuple[list[list[int]], list[list[list[int]]]]:
    """Prefixes of at most `length` tokens after the demonstrations that all have, and up to four continuations each."""
    dice = random.Random(seed)

    def tokens(least: int, longest: int) -> list[int]:
        return [dice.randrange(3, VOCABULARY) for _ in range(dice.randint(least, longest))]

    demonstrations = [BOS, *tokens(demonstration_tokens, demonstration_tokens)]
    prefixes = [[*demonstrations, *tokens(0, length)] for _ in range(questions)]
    prefixes += [list(prefix) for prefix in prefixes[:1]]  # one is there twice
    return prefixes, [[tokens(1, 5) for _ in range(dice.randint(1, 4))] for _ in prefixes]


@pytest.mark.parametrize(
    "name",
    [name if name in ("xglm", "bloom", "qwen2") else pytest.param(name, marks=pytest.mark.slow) for name in CONFIGS],
)
def test_every_class_is_equal_to_row_by_row(name: str) -> None:
    prefixes, continuations = random_prefixes(1, questions=6, demonstration_tokens=9, length=20)
    prefixes += [[BOS], [BOS], [*range(3, 60), 5, 6, 7]]  # no text, and longer than the window
    continuations += [[[4], [5, 4]], [[4]], [[8, 9, 10], [8], [11]]]
    prefixes += [[*range(3, 47)], [*range(13, 23)]]  # beside each other they are wider than the window
    continuations += [[[5, 6, 7], [6, 6, 6]], [[*range(4, 28)], [*range(5, 30)]]]
    reference = row_by_row(model_of(name), prefixes, continuations, WINDOW)
    for budget in (1, 150):
        values = causal.log_probabilities(
            model_of(name), prefixes, continuations, token_budget=budget, window=WINDOW, least_shared=4
        )
        assert_equal(values, reference)


@pytest.mark.slow
@settings(max_examples=60)
@example(0, "xglm", 0, 0, 0, 1, 1, 1)
@given(
    st.integers(0, 10**6),
    st.sampled_from(sorted(CONFIGS)),
    st.integers(0, 8),
    st.integers(0, 30),
    st.integers(0, 30),
    st.sampled_from([1, 60, 250, 10_000]),
    st.integers(1, 12),
    st.sampled_from([6, 17, WINDOW]),
)
def test_lengths_counts_budgets_and_windows_change_nothing(
    seed: int,
    name: str,
    questions: int,
    demonstration_tokens: int,
    length: int,
    budget: int,
    least_shared: int,
    window: int,
) -> None:
    prefixes, continuations = random_prefixes(seed, questions, demonstration_tokens, length)
    values = causal.log_probabilities(
        model_of(name), prefixes, continuations, token_budget=budget, window=window, least_shared=least_shared
    )
    assert_equal(values, row_by_row(model_of(name), prefixes, continuations, window))


def test_what_is_common_is_computed_once_and_no_other_scores_are_made() -> None:
    model, (places, scores) = model_of("qwen2"), ([], [])
    hooks = [
        model.model.embed_tokens.register_forward_hook(lambda _, inputs, __: places.append(inputs[0].numel())),
        model.lm_head.register_forward_hook(lambda _, __, outputs: scores.append(outputs.shape[:-1].numel())),
    ]
    demonstrations, questions = [BOS, *range(3, 22)], ([30] * 8, [31] * 8)
    causal.log_probabilities(
        model,
        [[*demonstrations, *question] for question in questions],
        [[[5, 8], [6, 9, 9], [7, 9]] for _ in questions],
        token_budget=10_000,
    )
    for hook in hooks:
        hook.remove()
    # The demonstrations, two questions, and of each label all but the last token, padded to two.
    assert places == [20, 2 * 8, 6 * 2]
    assert scores == [0, 2, 2 * (1 + 2 + 1)]


def test_a_budget_cuts_batches_and_between_is_called_before_each() -> None:
    prefixes = [[BOS, number, *[7] * 8] for number in range(3, 13)]
    calls: list[int] = []
    causal.log_probabilities(
        model_of("llama"), prefixes, [[[4, 5]]] * 10, token_budget=44, between=lambda: calls.append(1)
    )
    assert len(calls) == 3  # four rows of eleven, twice, and two


def test_the_window_is_the_configs_or_the_tokenizers() -> None:
    class Unlimited:
        model_max_length = int(1e30)

    class Limited:
        model_max_length = 33

    assert causal.context_window(model_of("xglm"), Limited()) == WINDOW
    assert causal.context_window(model_of("gpt2"), Limited()) == WINDOW
    assert causal.context_window(model_of("bloom"), Limited()) == 33
    assert causal.context_window(model_of("bloom"), Unlimited()) == 2048


def test_a_model_without_keys_and_values_is_refused() -> None:
    from transformers import MambaConfig, MambaForCausalLM

    model = MambaForCausalLM(MambaConfig(vocab_size=20, hidden_size=8, state_size=4, num_hidden_layers=1)).eval()
    with pytest.raises(UserError, match="mamba: prompts need a causal language model"):
        causal.log_probabilities(model, [[1]], [[[2]]], token_budget=100)
