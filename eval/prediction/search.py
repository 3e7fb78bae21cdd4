"""Exact nearest neighbours on the device that computes: what `training.formats.neighbours` finds, by torch."""

import numpy as np
import torch
from torch import Tensor

from training.formats import neighbours as numpys
from training.formats.neighbours import Floats, Places

_TILE = 8192  # rows and columns of the scores that are held at a time


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


def _moved(rows: Floats, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rows)).to(device)
