"""The entities of very many sentences as arrays: those of `eval.metrics.tags`, in a tenth of the time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.metrics.tags import Sentences


@dataclass(frozen=True)
class EntityEnds:
    """Of each word, and of the `O` after each sentence: whether an entity ends with it, where that begins, and its
    type's number, the same in all of a process."""

    ends: NDArray[np.bool_]
    begins: NDArray[np.int64]
    types: NDArray[np.int64]


_TYPES: dict[str, int] = {}


def entity_ends(sentences: Sentences) -> EntityEnds:
    """The entities of `tags.entities`."""
    all_tags = [tag for sentence in sentences for tag in (*sentence, "O")]
    names = sorted(set(all_tags))
    places = {name: place for place, name in enumerate(names)}
    numbers = np.fromiter((places[tag] for tag in all_tags), np.int64, len(all_tags))
    prefixes = np.array([name[0] for name in names])[numbers]
    types = np.array([_TYPES.setdefault(name.rpartition("-")[2], len(_TYPES)) for name in names])[numbers]
    last, last_types = np.concatenate([["O"], prefixes[:-1]]), np.concatenate([[-1], types[:-1]])
    other_type = last_types != types
    # As `_ends` and `_starts` of `tags` have it.
    ends = (
        np.isin(last, ("E", "S"))
        | (np.isin(last, ("B", "I")) & np.isin(prefixes, ("B", "S", "O")))
        | (~np.isin(last, ("O", ".")) & other_type)
    )
    starts = (
        np.isin(prefixes, ("B", "S"))
        | (np.isin(last, ("E", "S", "O")) & np.isin(prefixes, ("E", "I")))
        | (~np.isin(prefixes, ("O", ".")) & other_type)
    )
    begins = np.maximum.accumulate(np.where(starts, np.arange(len(starts)), 0))
    # An entity that ends between two words ends with the first; after the last one none does.
    return EntityEnds(np.concatenate([ends[1:], [False]]), begins, types)
