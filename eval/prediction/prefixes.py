"""What rows of tokens have in common at their beginning, as trees: what many rows begin with is computed once.

A tree's root is the longest common beginning of its rows, its branches are those of the rests. No torch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Segment:
    """Tokens that `rows` have in common, after the `start` tokens of the segments above.

    `rows`: places in the list of rows. `first_output`: of its own tokens the first whose output is asked for,
    `len(tokens)` where none is. Of all rows under it: `leaves`, how many lie side by side at most; `longest`, the
    tokens of the longest one from the root on; `outputs`, how many outputs are asked for.
    """

    start: int
    tokens: tuple[int, ...]
    rows: tuple[int, ...]
    first_output: int
    branches: tuple["Segment", ...]
    leaves: int
    longest: int
    outputs: int

    @property
    def end(self) -> int:
        return self.start + len(self.tokens)


def trees(rows: Sequence[tuple[int, ...]], first_outputs: Sequence[int], least_shared: int) -> list[Segment]:
    """The trees of rows, none of which is empty or there twice; each row's tokens are those of the segments from a
    root to the last one that has the row.

    first_outputs: of every row the first place whose output is asked for. least_shared: how many tokens a common
    beginning has at least; a shorter one is computed row by row, for each level of a tree is a forward pass.
    """
    order = sorted(range(len(rows)), key=lambda row: rows[row])
    common = [_common(rows[row], rows[following]) for row, following in pairwise(order)]

    def segment(first: int, last: int, start: int) -> Segment:
        """Of the sorted rows `first` to `last` (exclusive), which share more than `start` tokens."""
        members = tuple(order[first:last])
        end = min(common[first : last - 1], default=len(rows[members[0]]))
        branches = tuple(segments(first, last, end)) if len(members) > 1 else ()
        first_output = min(max(min(first_outputs[row] for row in members), start), end)
        return Segment(
            start,
            rows[members[0]][start:end],
            members,
            first_output - start,
            branches,
            leaves=max(1, sum(branch.leaves for branch in branches)),
            longest=max([end, *(branch.longest for branch in branches)]),
            outputs=end - first_output + sum(branch.outputs for branch in branches),
        )

    def segments(first: int, last: int, start: int) -> Iterator[Segment]:
        run = first
        for place in range(first, last):
            if place + 1 == last or common[place] < start + least_shared:
                if len(rows[order[run]]) > start:  # else it ends where the segment above does
                    yield segment(run, place + 1, start)
                run = place + 1

    return list(segments(0, len(order), 0))


def _common(row: tuple[int, ...], following: tuple[int, ...]) -> int:
    """How many tokens two rows have in common at their beginning."""
    length = min(len(row), len(following))
    different = np.flatnonzero(np.asarray(row[:length]) != np.asarray(following[:length]))
    return int(different[0]) if len(different) else length
