"""Demonstrations: balanced, the same for a seed, fewer among more; the nearest as a plain search has them."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.base import UserError
from training.formats.prompts.demonstrations import balanced, nearest

LABELS = ("entailment", "neutral", "contradiction")
GOLDS = [LABELS[number % 7 % 3] for number in range(70)]


@given(st.integers(0, 12), st.integers(0, 2**40))
def test_balanced_over_labels_and_fewer_are_the_first_of_more(count: int, seed: int) -> None:
    places = balanced(GOLDS, LABELS, count, seed)
    assert len(set(places)) == count
    counts = Counter(GOLDS[place] for place in places)
    assert max(counts.values(), default=0) - min(counts[label] for label in LABELS) <= 1
    assert balanced(GOLDS, LABELS, 12, seed)[:count] == places


def test_the_seed_decides_which_and_in_which_order() -> None:
    draws = [balanced(GOLDS, LABELS, 3, seed) for seed in range(300)]
    assert len(set(draws)) > 200 and draws[0] == balanced(GOLDS, LABELS, 3, 0)
    first_labels = Counter(GOLDS[places[0]] for places in draws)
    assert all(60 < first_labels[label] < 140 for label in LABELS)  # about a third of 300 each


def test_too_few_of_a_label_is_one_line() -> None:
    golds = ["entailment"] * 5 + ["neutral"] * 5 + ["contradiction"]
    assert len(balanced(golds, LABELS, 3, 0)) == 3
    with pytest.raises(
        UserError, match="8 demonstrations need 2 training examples of label contradiction, there are 1;"
    ):
        balanced(golds, LABELS, 8, 0)


@given(st.integers(0, 6), st.integers(0, 2**32 - 1))
def test_nearest_as_a_plain_search(count: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    # Small whole numbers: many equal ones and vectors of zeros.
    queries, candidates = (draw.integers(-1, 2, (rows, 3)).astype(np.float32) for rows in (4, 6))

    def cosine(left: np.ndarray, right: np.ndarray) -> float:
        product = float(np.linalg.norm(left) * np.linalg.norm(right))
        return float(left @ right) / product if product else 0.0

    for query, places in zip(queries, nearest(queries, candidates, count), strict=True):
        order = sorted(range(6), key=lambda place: (-round(cosine(query, candidates[place]), 9), place))
        cosines = [round(cosine(query, candidates[place]), 9) for place in places[::-1]]
        assert cosines == [round(cosine(query, candidates[place]), 9) for place in order[:count]]
        assert len(set(places.tolist())) == count


def test_the_nearest_is_last_whatever_its_length() -> None:
    candidates = np.array([[0, 5], [3, 3], [0.1, 0]], np.float32)
    assert nearest(np.array([[2, 0]], np.float32), candidates, 2).tolist() == [[1, 2]]
