"""What words alone say: how many are distinct, and counts of them as features."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
from scipy.sparse import csr_array

SEGMENT = 1000  # words
Bag = Sequence[str]  # features, each as often as it occurs


def words(text: str) -> list[str]:
    """Runs of letters and digits, without case."""
    return re.findall(r"\w+", text.casefold())


def type_token_ratio(texts: Iterable[str]) -> float | None:
    """Distinct words per word, the mean over runs of 1,000 words: of more words fewer are new, so that a ratio of all
    would measure how many there are (mean segmental type-token ratio, Johnson 1944). None: there are fewer."""
    all_words = list(chain.from_iterable(map(words, texts)))
    starts = range(0, len(all_words) - SEGMENT + 1, SEGMENT)
    ratios = [len(set(all_words[start : start + SEGMENT])) / SEGMENT for start in starts]
    return float(np.mean(ratios)) if ratios else None


def bag(texts: Sequence[str]) -> list[str]:
    """The words of each text apart, and those that all of several have: by themselves, and how many they are."""
    word_lists = [words(text) for text in texts]
    features = [f"{place} {word}" for place, of_text in enumerate(word_lists) for word in of_text]
    return features + (_shared(word_lists) if len(texts) > 1 else [])


def bag_of_choice(question: str, choice: str) -> list[str]:
    """The same of a choice: the question's words, which all of its choices have, tell none from another."""
    return [f"1 {word}" for word in words(choice)] + _shared([words(question), words(choice)])


def _shared(word_lists: Sequence[Sequence[str]]) -> list[str]:
    shared_words = sorted(set.intersection(*map(set, word_lists)))
    return [f"shared {word}" for word in shared_words] + ["shared"] * len(shared_words)


def counts(bags: Sequence[Bag], columns: Sequence[str]) -> csr_array:
    """log(1 + how often) each feature occurs: (bags, columns). Features that are no column are left out."""
    places = {feature: place for place, feature in enumerate(columns)}
    rows = [Counter(places[feature] for feature in features if feature in places) for features in bags]
    ends = np.cumsum([0, *map(len, rows)])
    column = np.fromiter(chain.from_iterable(rows), np.int64, ends[-1])
    value = np.log1p(np.fromiter(chain.from_iterable(row.values() for row in rows), np.float32, ends[-1]))
    return csr_array((value, column, ends), shape=(len(bags), len(columns)))


def columns_of(bags: Iterable[Bag]) -> tuple[str, ...]:
    """Every feature once, in the order in which they come."""
    return tuple(dict.fromkeys(chain.from_iterable(bags)))
