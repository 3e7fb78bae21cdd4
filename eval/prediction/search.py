"""Exact nearest neighbours on the device that computes: what `training.formats.neighbours` finds, by torch; and those
of two sets in each other, by one product."""

import numpy as np
import torch
from torch import Tensor

from training.formats import neighbours as numpys
from training.formats.neighbours import Floats, Places

_TILE = 8192  # rows and columns of the scores that are held at a time
_TILE_BOTH_WAYS = 4096


def neighbours_on(device: torch.device, queries: Floats, index: Floats, k: int) -> tuple[Floats, Places]:
    """As `training.formats.neighbours.neighbours`, on `device`; on a CPU that very function."""
    if device.type == "cpu":
        return numpys.neighbours(queries, index, k)
    return neighbours(device, queries, index, k)


def neighbours(
    device: torch.device, queries: Floats, index: Floats, k: int, tile: int = _TILE
) -> tuple[Floats, Places]:
    """For each row of `queries` [n, width] its k best rows of `index` [m, width]: their dot products in fp32 and
    places, both [n, min(k, m)], best first, of equal ones the first in `index`. Holds tile × tile scores at a time."""
    k = min(k, len(index))
    values, places = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    with torch.no_grad():
        for start in range(0, len(queries), tile):
            rows = slice(start, start + tile)
            best, where = _of_tile(_moved(queries[rows], device), index, k, tile)
            values[rows], places[rows] = best.cpu().numpy(), where.cpu().numpy()
    return values, places


def both_ways(
    device: torch.device, x: Floats, y: Floats, k: int, tile: int = _TILE_BOTH_WAYS
) -> tuple[tuple[Floats, Places], tuple[Floats, Places]]:
    """What `neighbours` finds for the rows of `x` [n, width] in `y` [m, width], and for those of `y` in `x`. Every dot
    product is computed once; holds tile × tile of them at a time."""
    of_x, of_y = _Best(len(x), min(k, len(y)), device), _Best(len(y), min(k, len(x)), device)
    with torch.no_grad():
        for row in range(0, len(x), tile):
            queries = _moved(x[row : row + tile], device)
            for column in range(0, len(y), tile):
                scores = queries @ _moved(y[column : column + tile], device).T
                of_x.merge(row, column, scores)
                of_y.merge(column, row, scores.T)
    return of_x.arrays(), of_y.arrays()


class _Best:
    """The k best scores of each query and their places, of what was merged so far, from left to right."""

    def __init__(self, queries: int, k: int, device: torch.device) -> None:
        self.values = torch.full((queries, k), -torch.inf, device=device)
        self.places = torch.zeros((queries, k), dtype=torch.int64, device=device)

    def merge(self, query: int, place: int, scores: Tensor) -> None:
        """`scores`: of the queries from number `query` on, with what stands at `place` and after."""
        rows, k = slice(query, query + len(scores)), self.values.shape[1]
        values, columns = _first_best(scores, min(k, scores.shape[1]))
        # What came before stands first, so that the first of equals stays the first.
        candidates = torch.cat((self.values[rows], values), 1)
        candidate_places = torch.cat((self.places[rows], columns + place), 1)
        order = candidates.argsort(dim=1, descending=True, stable=True)[:, :k]
        self.values[rows], self.places[rows] = candidates.gather(1, order), candidate_places.gather(1, order)

    def arrays(self) -> tuple[Floats, Places]:
        return self.values.cpu().numpy(), self.places.cpu().numpy()


def _of_tile(queries: Tensor, index: Floats, k: int, tile: int) -> tuple[Tensor, Tensor]:
    best = queries.new_empty((len(queries), 0))
    where = torch.empty((len(queries), 0), dtype=torch.int64, device=queries.device)
    for start in range(0, len(index), tile):
        scores = queries @ _moved(index[start : start + tile], queries.device).T
        columns = torch.arange(start, start + scores.shape[1], device=queries.device).expand(scores.shape)
        # What was found before comes first, so that the first of equals stays the first.
        candidate_scores, candidate_places = torch.cat((best, scores), 1), torch.cat((where, columns), 1)
        best, where = _best(candidate_scores, candidate_places, min(k, candidate_scores.shape[1]))
    return best, where


def _best(scores: Tensor, places: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row, by k maxima: topk does not take the first of equals."""
    values, columns = [], []
    for _ in range(k):
        value, column = scores.max(dim=1, keepdim=True)
        values.append(value)
        columns.append(column)
        scores.scatter_(1, column, -torch.inf)
    return torch.cat(values, 1), places.gather(1, torch.cat(columns, 1))


def _first_best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row and their columns, of equal ones the first. topk, which is fast, takes any of equals:
    where there are more of them than it could take, the k maxima decide."""
    values, columns = scores.topk(min(k + 1, scores.shape[1]), dim=1)
    columns, by_column = columns.sort(dim=1)
    order = values.gather(1, by_column).argsort(dim=1, descending=True, stable=True)
    columns = columns.gather(1, order)[:, :k]
    if values.shape[1] > k:
        unclear_rows = (values[:, k - 1] == values[:, k]).nonzero()[:, 0]
        if len(unclear_rows):
            every = torch.arange(scores.shape[1], device=scores.device).expand(len(unclear_rows), -1)
            columns[unclear_rows] = _best(scores[unclear_rows], every, k)[1]
    return scores.gather(1, columns), columns


def _moved(rows: Floats, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rows)).to(device)
