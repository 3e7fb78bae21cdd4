"""Greedy generation in batches: as transformers' own, a row at a time."""

from collections.abc import Collection
from functools import cache
from typing import Any

import pytest
import torch

from eval.prediction.generation import generate
from slurm.base import UserError
from tests.causal_models import CONFIGS, WINDOW, causal_model

pytestmark = pytest.mark.slow

BOS = 2
model_of = cache(causal_model)
SHARED = [BOS, *range(3, 14)]
PREFIXES = [
    [BOS],
    [BOS, 9],
    SHARED,
    [*SHARED, 20, 21],
    [*SHARED, 22],
    [*range(4, 30)],
    [BOS],
    [*SHARED, 20, 21, 22, 23],
]


def transformers_own(model: Any, prefix: list[int], max_tokens: int, end_tokens: Collection[int]) -> list[int]:
    rows = model.generate(
        torch.tensor([prefix]),
        attention_mask=torch.ones(1, len(prefix), dtype=torch.long),
        do_sample=False,
        max_new_tokens=max_tokens,
        eos_token_id=list(end_tokens),
        pad_token_id=0,
    )
    tokens = rows[0, len(prefix) :].tolist()
    return tokens[:-1] if tokens and tokens[-1] in end_tokens else tokens


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_every_class_is_equal_to_transformers_own(name: str) -> None:
    model = model_of(name)
    end_tokens = {transformers_own(model, prefix, 8, [])[-1] for prefix in PREFIXES[1::4]}
    answers = [transformers_own(model, prefix, 12, end_tokens) for prefix in PREFIXES]
    assert min(map(len, answers)) < 8
    for budget in (1, 150, 10_000):
        assert answers == generate(
            model,
            PREFIXES,
            max_tokens=12,
            end_tokens=end_tokens,
            is_over=lambda tokens: False,
            token_budget=budget,
            window=WINDOW,
            least_shared=3,
        )


def test_an_answer_ends_where_it_is_over_and_a_long_prefix_is_cut_from_the_left() -> None:
    model, long = model_of("llama"), [*range(3, 60)]
    reference = transformers_own(model, long[-40:], 8, [])
    (answer,) = generate(
        model,
        [long],
        max_tokens=8,
        end_tokens=(),
        is_over=lambda tokens: len(tokens) == 5,
        token_budget=100,
        window=WINDOW,
    )
    assert answer == reference[:5]


def test_there_is_room_for_a_prompt() -> None:
    with pytest.raises(UserError, match="an answer of 48 tokens leaves no room"):
        generate(
            model_of("llama"),
            [[BOS]],
            max_tokens=48,
            end_tokens=(),
            is_over=lambda tokens: False,
            token_budget=1,
            window=WINDOW,
        )
