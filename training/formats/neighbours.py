"""Exact nearest neighbours by dot product, a tile at a time. No torch."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Places = NDArray[np.int64]
Search = Callable[[Floats, Floats, int], tuple[Floats, Places]]  # queries, index, k: see `neighbours`
_TILE = 4096  # rows and columns of the scores that are held at a time


def neighbours(queries: Floats, index: Floats, k: int, tile: int = _TILE) -> tuple[Floats, Places]:
    """For each row of `queries` [n, width] its k best rows of `index` [m, width]: their dot products and places, both
    [n, min(k, m)], best first, of equal ones the first in `index`. Holds tile × tile scores at a time."""
    k = min(k, len(index))
    values, places = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    for start in range(0, len(queries), tile):
        rows = slice(start, start + tile)
        values[rows], places[rows] = _of_tile(queries[rows], index, k, tile)
    return values, places


def _of_tile(queries: Floats, index: Floats, k: int, tile: int) -> tuple[Floats, Places]:
    best = np.full((len(queries), k), -np.inf, np.float32)
    places = np.zeros((len(queries), k), np.int64)
    for start in range(0, len(index), tile):
        scores = queries @ index[start : start + tile].T
        # Most rows find nothing better in most tiles: the costly part is for the others.
        rows = np.flatnonzero(scores.max(axis=1) > best[:, -1])
        tile_best, columns = _best(scores[rows], k)
        candidates, candidate_places = np.hstack((best[rows], tile_best)), np.hstack((places[rows], columns + start))
        order = np.argsort(-candidates, axis=1, kind="stable")[:, :k]
        best[rows], places[rows] = (
            np.take_along_axis(candidates, order, 1),
            np.take_along_axis(candidate_places, order, 1),
        )
    return best, places


def _best(scores: Floats, k: int) -> tuple[Floats, Places]:
    """The k largest of each row and their columns; argmax, as argpartition does not take the first of equals."""
    rows = np.arange(len(scores))
    values, columns = np.empty((len(scores), k), np.float32), np.empty((len(scores), k), np.int64)
    for rank in range(k):
        columns[:, rank] = scores.argmax(axis=1)
        values[:, rank] = scores[rows, columns[:, rank]]
        scores[rows, columns[:, rank]] = -np.inf
    return values, columns
