"""Compact vocabulary: train only the word embeddings that a stage's data uses; the others change by weight decay alone.

A row whose token never occurs has no gradient and no moments in any step, so AdamW multiplies it by 1 - lr · wd, step
after step: it needs neither memory nor time until the stage ends.
"""

import hashlib
import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.spec import Settings
from training.tensors import empty


class CompactEmbedding(nn.Module):
    """Rows `ids` of a table, looked up by the table's own ids. An id that is not kept is an error."""

    def __init__(self, table: nn.Embedding, ids: NDArray[np.int64]) -> None:
        super().__init__()
        kept_ids = torch.from_numpy(ids)
        place = torch.full((table.num_embeddings,), -1, dtype=torch.int64)
        place[kept_ids] = torch.arange(len(kept_ids))
        self.place: Tensor
        self.register_buffer("place", place, persistent=False)
        self.weight = nn.Parameter(table.weight.detach()[kept_ids].clone())
        # As in the table, whose padding row gets no gradient.
        self.padding_idx = None if table.padding_idx is None else int(place[table.padding_idx])

    def forward(self, ids: Tensor) -> Tensor:
        """ids of any shape → [..., width]."""
        return functional.embedding(self.place[ids], self.weight, self.padding_idx)


def used_ids(tokens: Iterable[NDArray[Any]], specials: Iterable[int], vocabulary: int) -> NDArray[np.int64]:
    """The sorted ids that occur, with the special ones."""
    used = np.zeros(vocabulary, dtype=np.bool_)
    used[list(specials)] = True
    for values in tokens:
        used[values] = True
    return np.flatnonzero(used)


def ids_hash(ids: NDArray[np.int64]) -> str:
    return hashlib.sha256(np.ascontiguousarray(ids, dtype="<i8").tobytes()).hexdigest()


def decay_factor(rates: Iterable[float], weight_decay: float) -> float:
    """What a row without gradients is multiplied by in steps of these learning rates: Π(1 - lr · wd), in float64.

    Dense fp32 training itself rounds each of these steps, often to no change at all.
    """
    return math.prod(1.0 - rate * weight_decay for rate in rates)


def full_table(
    parent: Tensor, ids: NDArray[np.int64], rows: Tensor, rates: Iterable[float], settings: Settings
) -> Tensor:
    """The whole table after training: `rows` at `ids`; elsewhere the parent's, decayed. fp32, [vocabulary, width]."""
    factor = decay_factor(rates, settings.weight_decay) if settings.decay_unseen else 1.0
    table = empty(parent.shape, parent.dtype).copy_(parent) if factor == 1.0 else _times(parent, factor)
    table[torch.from_numpy(ids)] = rows
    return table


def _times(table: Tensor, factor: float) -> Tensor:
    """Each value times `factor` in float64, rounded once. By numpy, which goes over it in small parts: torch would have
    the whole table in float64, and take three times as long."""
    product = empty(table.shape, table.dtype)
    threads = torch.get_num_threads()

    def multiply(source: Tensor, target: Tensor) -> None:
        np.multiply(source.numpy(), factor, out=target.numpy(), dtype=np.float64, casting="same_kind")

    with ThreadPoolExecutor(threads, thread_name_prefix="decay") as pool:
        list(pool.map(multiply, table.chunk(threads), product.chunk(threads)))
    return product
