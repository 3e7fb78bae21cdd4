"""Which sentence of the other language is taken for a sentence's translation, by cosine and by margin."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MARGIN_NEIGHBOURS = 4


@dataclass(frozen=True)
class Nearest:
    """Of each query, its k nearest of the other side, the nearest first: cosines and places, [queries, k] each."""

    cosines: NDArray[np.float32]
    places: NDArray[np.int64]


def by_cosine(nearest: Nearest) -> NDArray[np.int64]:
    """The place of the nearest, [queries]."""
    return nearest.places[:, 0]


def by_margin(nearest: Nearest, back: Nearest) -> NDArray[np.int64]:
    """Of each query's four nearest that with the largest ratio of its cosine to the mean of both sides' mean cosines
    to their four nearest (Artetxe & Schwenk 2019, arXiv 1811.01136), the first of equals: [queries].

    `back`: of the other side's sentences, their nearest among the queries.
    """
    cosines, places = nearest.cosines[:, :MARGIN_NEIGHBOURS], nearest.places[:, :MARGIN_NEIGHBOURS]
    own_mean = cosines.mean(axis=1)
    their_mean = back.cosines[:, :MARGIN_NEIGHBOURS].mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        margins = cosines / ((own_mean[:, None] + their_mean[places]) / 2)
    best = np.nan_to_num(margins, nan=-np.inf).argmax(axis=1)
    chosen_places: NDArray[np.int64] = places[np.arange(len(places)), best]
    return chosen_places
