"""Which examples a step trains on, and how they are cut: functions of (seed, step), the same on any number of ranks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from training.formats.base import Piece
from training.seeds import permutation, random_words, sub_seed
from training.spec import Sampling


@dataclass(frozen=True)
class Step:
    """One optimizer step: some examples of one part of the stage. Steps and epochs count from 0."""

    number: int
    epoch: int  # of the stage; dev is scored at its end
    part: int
    examples: tuple[int, ...]  # indices into the part


class Order:
    """The steps of a stage over parts of the given sizes (numbers of examples).

    Every step is of one part. Each part goes through its own seeded epochs; the last step of an epoch may be smaller.
    In a mixture the part is drawn anew for each step, by size ("proportional") or evenly ("uniform").
    """

    def __init__(self, sizes: Sequence[int], *, batch: int, epochs: int, sampling: Sampling, seed: int) -> None:
        assert sizes and min(sizes) > 0 and batch > 0 and epochs > 0, (sizes, batch, epochs)
        self.sizes = tuple(sizes)
        self.batch = batch
        self.seed = seed
        self.steps_per_epoch = sum(_batches(size, batch) for size in sizes)
        self.total = epochs * self.steps_per_epoch
        self._parts = self._draw_parts(sampling)
        self._turns = _turns(self._parts, len(sizes))

    def step(self, number: int) -> Step:
        """The step of this number, 0 ≤ number < total."""
        part = self._parts[number]
        turns = _batches(self.sizes[part], self.batch)
        pass_, place = divmod(self._turns[number], turns)
        order = _shuffled(self.seed, part, pass_, self.sizes[part])
        examples = order[place * self.batch : (place + 1) * self.batch]
        return Step(number, number // self.steps_per_epoch, part, examples)

    def ends_epoch(self, step: Step) -> bool:
        return (step.number + 1) % self.steps_per_epoch == 0

    def _draw_parts(self, sampling: Sampling) -> list[int]:
        if len(self.sizes) == 1:
            return [0] * self.total
        weights = self.sizes if sampling == "proportional" else (1,) * len(self.sizes)
        words = random_words(sub_seed(self.seed, "mixture"), self.total)
        return [_pick(weights, int(word) % sum(weights)) for word in words]


def _batches(size: int, batch: int) -> int:
    return -(-size // batch)


def _pick(weights: Sequence[int], ticket: int) -> int:
    """The part that holds ticket number `ticket` of sum(weights)."""
    for part, weight in enumerate(weights):
        if ticket < weight:
            return part
        ticket -= weight
    raise AssertionError((weights, ticket))


def _turns(parts: Sequence[int], count: int) -> list[int]:
    """For each step: how many earlier steps were of its part."""
    seen = [0] * count
    turns = []
    for part in parts:
        turns.append(seen[part])
        seen[part] += 1
    return turns


@lru_cache(maxsize=16)  # one permutation per part and epoch is in use at a time
def _shuffled(seed: int, part: int, pass_: int, size: int) -> tuple[int, ...]:
    return permutation(sub_seed(seed, "order", part, pass_), size)


@dataclass(frozen=True)
class Micro:
    """One forward pass of a step. `weight` 0: only there so that every rank makes equally many."""

    index: int  # within the step, the same on any number of ranks
    examples: tuple[int, ...]
    weight: float


def cut(examples: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """A step's examples in micro-batches of `size`; the last may be smaller."""
    return [tuple(examples[start : start + size]) for start in range(0, len(examples), size)]


def rounds(batch: int, size: int, world: int) -> int:
    """Micro-batches that each rank makes in every step: enough for a full one."""
    return _batches(_batches(batch, size), world)


def share(micros: Sequence[tuple[int, ...]], rank: int, world: int, count: int) -> list[Micro]:
    """Rank's micro-batches (every world-th), filled up to `count` with the step's last one at weight 0."""
    own = [Micro(index, micros[index], 1.0) for index in range(rank, len(micros), world)]
    assert len(own) <= count, (len(micros), world, count)
    filler = Micro(len(micros) - 1, micros[-1], 0.0)
    return own + [filler] * (count - len(own))


@dataclass(frozen=True)
class Batch:
    """Padded rows of some pieces: ids and mask [rows, length of the longest]."""

    ids: Tensor
    mask: Tensor
    pieces: tuple[Piece, ...]


def collate(pieces: Sequence[Piece], pad_id: int, device: torch.device) -> Batch:
    """Pad the pieces' rows to the longest of them."""
    rows = [row for piece in pieces for row in piece.rows]
    length = max(len(row) for row in rows)
    ids = torch.tensor([(*row, *[pad_id] * (length - len(row))) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    return Batch(ids.to(device), mask.to(device), tuple(pieces))


def tokens(pieces: Sequence[Piece]) -> int:
    """Real tokens, specials included, padding not."""
    return sum(len(row) for piece in pieces for row in piece.rows)
