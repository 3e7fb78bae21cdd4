"""What a mixture's steps are of, and in which order examples come: drawn from the stage's seed, never kept as state."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from training.seeds import permutation, random_words, sub_seed
from training.spec import Sampling, Settings

_UNITS = 1024  # weights that are no whole numbers are rounded to this part of one


@dataclass(frozen=True)
class Mix:
    """How the tasks of a mixture are drawn; see `Settings`."""

    sampling: Sampling
    temperature: float = 2.0
    examples_cap: int = 16384

    def weight(self, examples: int) -> int:
        """The weight of a task with so many examples."""
        match self.sampling:
            case "proportional":
                return examples
            case "uniform":
                return 1
            case "temperature":
                return max(1, round(_UNITS * math.pow(examples, 1 / self.temperature)))
            case "capped":
                return min(examples, self.examples_cap)


def mix_of(settings: Settings) -> Mix:
    return Mix(settings.sampling, settings.temperature, settings.examples_cap)


def draw_parts(sizes: Sequence[int], heads: Sequence[str], mix: Mix, seed: int, count: int) -> list[int]:
    """For each of `count` steps its part: a head drawn by `mix`, then one of the head's parts by size."""
    if len(sizes) == 1:
        return [0] * count
    by_head: dict[str, list[int]] = {}
    for part, head in enumerate(heads):
        by_head.setdefault(head, []).append(part)
    groups = list(by_head.values())
    weights = [mix.weight(sum(sizes[part] for part in group)) for group in groups]
    total = sum(weights)
    drawn_groups = [_pick(weights, int(word) % total) for word in random_words(sub_seed(seed, "mixture"), count)]
    tickets = random_words(sub_seed(seed, "source"), count) if len(groups) < len(sizes) else np.zeros(count, np.uint64)
    return [_source(groups[group], sizes, int(ticket)) for group, ticket in zip(drawn_groups, tickets, strict=True)]


def _source(parts: Sequence[int], sizes: Sequence[int], word: int) -> int:
    weights = [sizes[part] for part in parts]
    return parts[_pick(weights, word % sum(weights))]


def _pick(weights: Sequence[int], ticket: int) -> int:
    """The place that holds ticket number `ticket` of sum(weights)."""
    for place, weight in enumerate(weights):
        if ticket < weight:
            return place
        ticket -= weight
    raise AssertionError((weights, ticket))


@lru_cache(maxsize=16)  # one permutation per part and epoch is in use at a time
def shuffled(seed: int, part: int, pass_: int, size: int) -> tuple[int, ...]:
    """The order of a part's examples in one pass."""
    return permutation(sub_seed(seed, "order", part, pass_), size)


@dataclass(frozen=True, eq=False)  # by identity: hashing millions of indices for each step would take its time
class LanguageGroups:
    """The indices of a part's examples by language; a language of n examples is drawn by n ** `exponent`."""

    members: tuple[tuple[int, ...], ...]
    exponent: float


@lru_cache(maxsize=16)
def by_language(seed: int, part: int, pass_: int, languages: LanguageGroups) -> tuple[int, ...]:
    """One pass over a multilingual part: as many examples as it has, each of a language drawn by its weight.

    A language's examples come shuffled, again and again where it is drawn more often than it has examples (Conneau and
    Lample 2019, arXiv 1901.07291, with the exponent 0.3 of XLM-R, arXiv 1911.02116).
    """
    members = languages.members
    weights = [max(1, round(_UNITS * len(of_language) ** languages.exponent)) for of_language in members]
    size = sum(map(len, members))
    tickets = random_words(sub_seed(seed, "language", part, pass_), size) % np.uint64(sum(weights))
    drawn_languages = np.searchsorted(np.cumsum(weights), tickets, side="right")
    order = np.empty(size, dtype=np.int64)
    for language, of_language in enumerate(members):
        places = np.flatnonzero(drawn_languages == language)
        order[places] = _rounds(of_language, len(places), sub_seed(seed, "order", part, pass_, language))
    return tuple(order.tolist())


def _rounds(members: Sequence[int], count: int, seed: int) -> NDArray[np.int64]:
    """`count` of them: all in a new order, then all in another, as long as it takes."""
    turns = -(-count // len(members))
    indices = [
        members[place] for turn in range(turns) for place in permutation(sub_seed(seed, "turn", turn), len(members))
    ]
    return np.array(indices[:count], dtype=np.int64)
