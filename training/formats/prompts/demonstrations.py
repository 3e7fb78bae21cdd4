"""Which labelled training examples a prompt shows before its question."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from slurm.base import UserError
from training.seeds import permutation, sub_seed

T = TypeVar("T")


def balanced(golds: Sequence[str], labels: Sequence[str], count: int, seed: int) -> tuple[int, ...]:
    """The places of `count` examples among `golds`, equally many of every label but for one: the order is random.

    They depend on (seed, golds, labels) only; fewer are the first of more. UserError where a label has too few.
    """
    by_label = {
        label: _shuffled([place for place, gold in enumerate(golds) if gold == label], seed, label) for label in labels
    }
    places: list[int] = []
    for number in range(-(-count // len(labels))):
        for label in _shuffled(labels, seed, number)[: count - len(places)]:
            if number >= len(by_label[label]):
                raise UserError(
                    f"{count} demonstrations need {number + 1} training examples of label {label},"
                    f" there are {len(by_label[label])}; ask for fewer."
                )
            places.append(by_label[label][number])
    return tuple(places)


def _shuffled(items: Sequence[T], seed: int, purpose: str | int) -> list[T]:
    return [items[place] for place in permutation(sub_seed(seed, "demonstrations", purpose), len(items))]


def nearest(queries: NDArray[np.float32], candidates: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Of every query the places of its `count` nearest candidates by cosine, the nearest last: it stands next to the
    question (Liu et al. 2022, arXiv 2101.06804). Of equal ones the first is nearer.

    queries [n, width], candidates [m, width] → [n, count]. No balance over labels. A vector of zeros is like no other.
    """
    assert 0 <= count <= len(candidates), (count, len(candidates))
    cosines = _unit(queries) @ _unit(candidates).T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return order[:, ::-1].astype(np.int64)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    unit: NDArray[np.float64] = wide / np.where(lengths > 0, lengths, 1)
    return unit
