"""The order of the training data and its cut: functions of (seed, step), the same on any number of ranks."""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from training.data.sampling import Mix
from training.engine.batches import Order, cut_pieces, share
from training.formats.base import Piece
from training.model.packing import tokens
from training.seeds import permutation, sub_seed

sizes = st.lists(st.integers(1, 40), min_size=1, max_size=4)
small = st.integers(1, 9)


def order(parts: list[int], batch: int = 4, epochs: int = 2, sampling: Any = "proportional", seed: int = 1) -> Order:
    return Order(parts, batch=batch, epochs=epochs, mix=Mix(sampling), seed=seed)


@given(st.integers(1, 50), small, small)
def test_every_epoch_of_one_task_has_each_example_once(size: int, batch: int, epochs: int) -> None:
    made = order([size], batch, epochs)
    steps = [made.step(number) for number in range(made.total)]
    for epoch in range(epochs):
        own = [step for step in steps if step.epoch == epoch]
        assert sorted(example for step in own for example in step.examples) == list(range(size))
        assert all(len(step.examples) == batch for step in own[:-1])
        assert [made.ends_epoch(step.number) for step in own] == [False] * (len(own) - 1) + [True]


def test_epochs_and_seeds_differ() -> None:
    made = order([40], batch=40, epochs=2)
    assert made.step(0).examples != made.step(1).examples
    assert made.step(0).examples != order([40], batch=40, epochs=2, seed=2).step(0).examples


@given(sizes, small, st.sampled_from(["proportional", "uniform"]), st.integers(0, 99))
def test_a_step_is_a_function_of_its_number(parts: list[int], batch: int, sampling: str, seed: int) -> None:
    forwards, backwards = order(parts, batch, 2, sampling, seed), order(parts, batch, 2, sampling, seed)
    numbers = range(forwards.total)
    assert forwards.total == 2 * sum(-(-size // batch) for size in parts)
    assert [forwards.step(n) for n in numbers] == [backwards.step(n) for n in reversed(numbers)][::-1]


@given(sizes, small, st.sampled_from(["proportional", "uniform"]))
def test_each_task_of_a_mixture_goes_through_epochs_of_its_own(parts: list[int], batch: int, sampling: str) -> None:
    made = order(parts, batch, 3, sampling)
    seen: dict[int, list[int]] = {part: [] for part in range(len(parts))}
    for number in range(made.total):
        step = made.step(number)
        seen[step.part] += step.examples
    for part, size in enumerate(parts):
        counts = Counter(seen[part])
        assert max(counts.values(), default=0) - min((counts[e] for e in range(size)), default=0) <= 1


def test_mixtures_are_drawn_by_size_or_evenly() -> None:
    for sampling, share_of_first in (("proportional", 0.9), ("uniform", 0.5)):
        made = order([9000, 1000], batch=10, epochs=4, sampling=sampling)
        first = sum(made.step(number).part == 0 for number in range(made.total)) / made.total
        assert abs(first - share_of_first) < 0.03, (sampling, first)


def pieces_of(lengths: list[int]) -> list[Piece]:
    return [Piece(number, ((0,) * length,), (0,)) for number, length in enumerate(lengths)]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), st.integers(1, 60), st.integers(1, 5), st.integers(1, 4))
def test_ranks_share_what_one_would_do(lengths: list[int], budget: int, world: int, whole: int) -> None:
    pieces = pieces_of(lengths)
    micros = cut_pieces(pieces, whole, budget, world)
    shares = [share(micros, rank, world) for rank in range(world)]
    assert len({len(own) for own in shares}) == 1, "every rank makes equally many"
    real = {micro.index: micro.pieces for own in shares for micro in own if micro.weight == 1.0}
    assert real == dict(enumerate(micros))
    assert [piece for micro in micros for piece in micro] == list(range(len(pieces)))
    assert all(micro.start % whole == 0 for micro in micros), "what belongs together stays together"
    assert sum(micro.weight for own in shares for micro in own) == len(micros)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), st.integers(30, 60))
def test_the_budget_is_kept_and_the_step_is_whole(lengths: list[int], budget: int) -> None:
    micros = cut_pieces(pieces_of(lengths), 1, budget, 1)
    assert all(tokens(pieces_of(lengths)[micro.start : micro.stop]) <= budget for micro in micros)
    assert len(micros) <= 2 * -(-sum(lengths) // budget)


@given(st.integers(0, 200), st.integers(0, 2**63 - 1))
def test_permutations_are_permutations(count: int, seed: int) -> None:
    assert sorted(permutation(seed, count)) == list(range(count))


def test_sub_seeds_differ_by_every_part_and_stay_what_they_are() -> None:
    seeds = [sub_seed(1, "a", 1), sub_seed(1, "a", 2), sub_seed(1, "b", 1), sub_seed(2, "a", 1), sub_seed(1, "a", "1")]
    assert len(set(seeds)) == len(seeds)
    # A change here would make another run of every stage: stage keys would have to change too.
    assert permutation(sub_seed(1, "order", 0, 0), 6) == (5, 1, 3, 2, 0, 4)
