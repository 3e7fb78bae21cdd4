"""Forward passes of a causal language model along trees of common beginnings, whose keys and values are shared.

Trees (`eval.prediction.prefixes`) are computed level by level: a branch goes on from the keys and values of what stands
before it, be it a question's, for its labels, or those of demonstrations, for all questions. What is computed lies at
the left of its batch, what it goes on from at the right of the keys, so that the tokens of a row always stand side by
side: right for every kind of positions (sinusoidal, rotary, by distance as ALiBi, by a sliding window).

Equal to a forward pass of each whole row, but for rounding. Not covered: models that keep a state in place of keys and
values (Mamba, RWKV, hybrids) and encoder-decoders; a batch may be wider than the window (never a position), which MPT
refuses.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from eval.prediction.forward import SCORES_SHARE
from eval.prediction.prefixes import Segment
from slurm.base import UserError

_LAYER_TYPES = frozenset(("full_attention", "sliding_attention"))


@dataclass(frozen=True)
class Keys:
    """The keys and values of a batch's rows, from their first tokens on: of each layer [rows, heads, places, width].

    Row r's tokens lie side by side in `lengths[r]` places, the last one before place `ends[r]`.
    """

    layers: list[tuple[Tensor, Tensor]]
    ends: list[int]
    lengths: list[int]


def walk(
    model: PreTrainedModel,
    roots: Sequence[Segment],
    token_budget: int,
    visit: Callable[[Sequence[Segment], Tensor, Keys], None],
    between: Callable[[], None],
    growth: int = 0,
) -> None:
    """Compute all segments of the trees, and `visit` each batch of them with the logits asked for and its keys.

    Logits: [outputs, vocabulary], segment by segment. A batch is of one level; the longest rows come first.
    growth: how many tokens `visit` may add to each row.
    """

    def descend(segments: Sequence[Segment], parents: Sequence[int], keys: Keys | None) -> None:
        for batch in _batches(segments, token_budget, growth):
            members = [segments[place] for place in batch]
            outputs = [range(segment.first_output, len(segment.tokens)) for segment in members]
            between()
            logits, batch_keys = step(
                model, [segment.tokens for segment in members], outputs, keys, [parents[place] for place in batch]
            )
            visit(members, logits, batch_keys)
            del logits
            branches = [(branch, row) for row, segment in enumerate(members) for branch in segment.branches]
            if branches:
                descend([branch for branch, _ in branches], [row for _, row in branches], batch_keys)
            del batch_keys  # before the next batch makes its own

    descend(roots, [0] * len(roots), None)


def _batches(segments: Sequence[Segment], token_budget: int, growth: int) -> Iterator[list[int]]:
    """Places, those with the longest rows first, such that all rows under them can be computed side by side, or one.

    Of one that is too large its branches are cut again, each time with its keys.
    """
    batch: list[int] = []
    leaves, outputs, longest = 0, 0, 0
    for place in sorted(range(len(segments)), key=lambda place: -segments[place].longest):
        segment = segments[place]
        leaves, outputs, longest = leaves + segment.leaves, outputs + segment.outputs, max(longest, segment.longest)
        if batch and (leaves * (longest + growth) > token_budget or outputs > max(1, token_budget // SCORES_SHARE)):
            yield batch
            batch = []
            leaves, outputs, longest = segment.leaves, segment.outputs, segment.longest
        batch.append(place)
    if batch:
        yield batch


def check(model: PreTrainedModel) -> None:
    """UserError for a kind of model that is not covered."""
    config = model.config
    stateful = getattr(model, "_is_stateful", False) or set(getattr(config, "layer_types", None) or ()) - _LAYER_TYPES
    if stateful or config.is_encoder_decoder or "logits_to_keep" not in signature(model.forward).parameters:
        raise UserError(
            f"{config.model_type}: prompts need a causal language model that keeps the keys and values of every token"
            " (XGLM, BLOOM, Qwen2, Llama, …); this is another kind."
        )


def step(
    model: PreTrainedModel,
    rows: Sequence[Sequence[int]],
    outputs: Sequence[Sequence[int]],
    keys: Keys | None,
    parents: Sequence[int],
) -> tuple[Tensor, Keys]:
    """Logits [outputs, vocabulary] at places `outputs[r]` of every row, row by row, and the rows' keys.

    rows: tokens, one at least, each after those of row `parents[r]` of `keys` (None: it begins here).
    """
    device = model.device
    width = max(map(len, rows))
    # Padded with its own last token: a padding token would make some models look for a mask.
    tokens = torch.tensor([[*row, *[row[-1]] * (width - len(row))] for row in rows], device=device)
    output_mask = torch.zeros(tokens.shape, dtype=torch.bool)
    for row, places in enumerate(outputs):
        output_mask[row, list(places)] = True
    lengths = [len(row) for row in rows]
    before = 0
    inputs: dict[str, Any] = {}
    cache = DynamicCache()
    if keys is not None:
        lengths_before = [keys.lengths[parent] for parent in parents]
        before = max(lengths_before)
        cache = _gathered(keys, parents, before)
        inputs |= _places(lengths_before, lengths, before, width, model)
        lengths = [first + length for first, length in zip(lengths_before, lengths, strict=True)]
    result = model(
        input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=output_mask.to(device), **inputs
    )
    layers = [(layer.keys, layer.values) for layer in result.past_key_values.layers]
    ends = [before + len(row) for row in rows]
    return result.logits, Keys(layers, ends, lengths)


def _gathered(keys: Keys, parents: Sequence[int], width: int) -> Cache:
    """The keys of rows' parents, the last `width` places before their ends: what is left of a row is masked."""
    device = keys.layers[0][0].device
    as_they_are = [*parents] == [*range(len(keys.ends))] and {*keys.ends} == {width, keys.layers[0][0].shape[2]}
    at = torch.tensor(parents, device=device)[:, None]
    ends = torch.tensor([keys.ends[parent] for parent in parents], device=device)[:, None]
    places = (ends - width + torch.arange(width, device=device)).clamp(min=0)

    def layer(of_keys: Tensor, of_values: Tensor) -> DynamicLayer:
        cache_layer = DynamicLayer()
        cache_layer.lazy_initialization(of_keys, of_values)
        # Not by `update`, which would copy them once more.
        cache_layer.keys, cache_layer.values = (
            tensor if as_they_are else tensor.transpose(1, 2)[at, places].transpose(1, 2)
            for tensor in (of_keys, of_values)
        )
        return cache_layer

    return Cache(layers=[layer(*tensors) for tensors in keys.layers])


def _places(
    lengths_before: Sequence[int], lengths: Sequence[int], before: int, width: int, model: PreTrainedModel
) -> dict[str, Tensor]:
    """Which keys are tokens, and the positions of the new ones: those of padding are the last token's, for a model may
    have no more."""
    place = torch.arange(before + width)
    old, new = (torch.tensor(of_rows)[:, None] for of_rows in (lengths_before, lengths))
    inputs = {"attention_mask": ((place >= before - old) & (place < before + new)).long()}
    if "position_ids" in signature(model.forward).parameters:
        inputs["position_ids"] = old + torch.minimum(torch.arange(width), new - 1)
    return {name: tensor.to(model.device) for name, tensor in inputs.items()}
