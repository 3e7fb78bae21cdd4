"""Packed batches: rows of tokens one behind the other in one long row, so that the encoder computes no padding.

Attention alone must know where a row ends (`Layout`); what is read of the rows is found by places in the long row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from training.formats.base import Piece

FIRST_POSITION = 2  # XLM-R counts from its padding id + 1
_BUCKET = 0.7  # a row is padded inside attention to a length that it has this share of at least


@dataclass(frozen=True)
class Bucket:
    """Rows of similar length, padded for attention.

    `places` [rows, length] in the long row, that of the row's last token where there is padding; `mask` [rows, 1, 1,
    length] true where there is a token; None: everywhere.
    """

    places: Tensor
    mask: Tensor | None


class Layout:
    """Where the rows of a packed batch lie, on the device that computes."""

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        self.lengths = tuple(lengths)
        self.longest = max(lengths)
        self.tokens = sum(lengths)
        self.device = device

    @cached_property
    def starts(self) -> Tensor:
        """The place of each row's first token. [rows]"""
        return self.ends[:-1].long()

    @cached_property
    def ends(self) -> Tensor:
        """0, then the place behind each row's last token, as attention kernels want it. [rows + 1], int32"""
        ends = np.concatenate(([0], np.cumsum(self.lengths))).astype(np.int32)
        return torch.from_numpy(ends).to(self.device, non_blocking=True)

    @cached_property
    def buckets(self) -> tuple[list[Bucket], Tensor]:
        """The rows in buckets, and [tokens]: the place of each token among all buckets' places."""
        starts = np.cumsum([0, *self.lengths[:-1]])
        buckets, back, behind = [], np.empty(self.tokens, dtype=np.int64), 0
        for rows in _by_length(self.lengths):
            lengths = np.array([self.lengths[row] for row in rows])
            inside = np.arange(lengths.max())[None, :] < lengths[:, None]
            # Padding repeats the row's own last token: gradients of nothing are not added up at one place.
            places = starts[rows][:, None] + np.minimum(np.arange(lengths.max())[None, :], lengths[:, None] - 1)
            back[places[inside]] = behind + np.flatnonzero(inside)
            behind += inside.size
            mask = None if inside.all() else self._to_device(inside)[:, None, None, :]
            buckets.append(Bucket(self._to_device(places), mask))
        return buckets, self._to_device(back)

    @cached_property
    def runs(self) -> list[tuple[int, int, int]]:
        """(first token, rows, length) of consecutive rows of one length."""
        runs: list[tuple[int, int, int]] = []
        place = 0
        for length in self.lengths:
            if runs and runs[-1][2] == length:
                start, rows, _ = runs[-1]
                runs[-1] = start, rows + 1, length
            else:
                runs.append((place, 1, length))
            place += length
        return runs

    def _to_device(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device, non_blocking=True)


def _by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Rows of similar lengths together, the longest first."""
    buckets: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if buckets and lengths[row] >= _BUCKET * lengths[buckets[-1][0]]:
            buckets[-1].append(row)
        else:
            buckets.append([row])
    return buckets


@dataclass(frozen=True)
class Packed:
    """Some pieces for the model. ids and positions: [1, tokens]. `reads`: the places of the tokens that the head reads;
    None: all but `filler`, tokens at the end that belong to no piece."""

    ids: Tensor
    positions: Tensor
    layout: Layout
    pieces: tuple[Piece, ...]
    reads: Tensor | None = None
    filler: int = 0

    def to(self, device: torch.device) -> "Packed":
        """The same on a device."""
        if device == self.ids.device:
            return self
        reads = None if self.reads is None else self.reads.to(device, non_blocking=True)
        ids, positions = (tensor.to(device, non_blocking=True) for tensor in (self.ids, self.positions))
        return Packed(ids, positions, Layout(self.layout.lengths, device), self.pieces, reads, self.filler)


def pack(pieces: Sequence[Piece], reads: Sequence[int] | None = None, multiple: int = 1) -> Packed:
    """The rows of all pieces, in their order, on the CPU. `reads`: see `training.model.heads.reads`.

    `multiple`: the number of tokens is made a multiple of it by rows of padding at the end (static shapes).
    """
    rows = [row for piece in pieces for row in piece.rows]
    filler = _filler_rows(-sum(map(len, rows)) % multiple)
    lengths = [*map(len, rows), *filler]
    ids = np.fromiter(chain(*rows, *((1,) * length for length in filler)), np.int64, sum(lengths))
    positions = np.concatenate([np.arange(FIRST_POSITION, FIRST_POSITION + length) for length in lengths])
    return Packed(
        torch.from_numpy(ids)[None],
        torch.from_numpy(positions)[None],
        Layout(lengths, torch.device("cpu")),
        tuple(pieces),
        None if reads is None else torch.tensor(reads, dtype=torch.int64),
        sum(filler),
    )


def _filler_rows(tokens: int, longest: int = 256) -> list[int]:
    """Lengths of rows that have so many tokens together; none is longer than positions reach."""
    return [longest] * (tokens // longest) + ([tokens % longest] if tokens % longest else [])


def tokens(pieces: Sequence[Piece]) -> int:
    """Tokens of the pieces' rows, specials included."""
    return sum(len(row) for piece in pieces for row in piece.rows)


def cut(sizes: Sequence[int], budget: int, world: int = 1) -> list[range]:
    """Consecutive units of `sizes` tokens in micro-batches of at most `budget` tokens, as even as can be.

    Their number is a multiple of `world` (every rank makes equally many), as long as there are units enough. A unit
    that is larger than the budget stands alone.
    """
    full = _greedy(sizes, budget)
    count = -(-len(full) // world) * world
    if count >= len(sizes):
        return [range(unit, unit + 1) for unit in range(len(sizes))]
    even = _even(sizes, count)
    if all(len(part) == 1 or sum(sizes[part.start : part.stop]) <= budget for part in even):
        return even
    return _split(full, count)


def _greedy(sizes: Sequence[int], budget: int) -> list[range]:
    """As many units as fit, again and again."""
    parts, start, used = [], 0, 0
    for unit, size in enumerate(sizes):
        if unit > start and used + size > budget:
            parts.append(range(start, unit))
            start, used = unit, 0
        used += size
    return [*parts, range(start, len(sizes))]


def _split(parts: list[range], count: int) -> list[range]:
    """`count` runs of units, from fewer, by halving those of the most units."""
    parts = list(parts)
    while len(parts) < count:
        longest = max(range(len(parts)), key=lambda number: len(parts[number]))
        part = parts[longest]
        half = part.start + len(part) // 2
        parts[longest : longest + 1] = [range(part.start, half), range(half, part.stop)]
    return parts


def _even(sizes: Sequence[int], count: int) -> list[range]:
    """`count` runs of units, each with one or more, that end nearest to equal shares of the tokens."""
    ends = np.cumsum(sizes)
    parts, start = [], 0
    for number in range(1, count + 1):
        share = ends[-1] * number / count
        end = int(np.searchsorted(ends, share)) + 1
        if end > 1 and share - ends[end - 2] < ends[min(end, len(sizes)) - 1] - share:
            end -= 1
        end = min(max(end, start + 1), len(sizes) - (count - number))
        parts.append(range(start, end))
        start = end
    return parts
