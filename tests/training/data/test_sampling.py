"""How tasks and languages are drawn."""

from collections import Counter
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.sampling import LanguageGroups, Mix, by_language, draw_parts
from training.engine.batches import Order

MIXES = {
    Mix("proportional"): 0.9,
    Mix("uniform"): 0.5,
    Mix("temperature", temperature=2.0): 0.75,  # 30 : 10
    Mix("temperature", temperature=1.0): 0.9,
    Mix("capped", examples_cap=200): 2 / 3,
    Mix("capped", examples_cap=50): 0.5,
}


@pytest.mark.parametrize(("mix", "share"), MIXES.items(), ids=str)
def test_tasks_are_drawn_by_their_weights(mix: Mix, share: float) -> None:
    drawn = draw_parts([900, 100], ["a", "b"], mix, 1, 20_000)
    assert drawn.count(0) / len(drawn) == pytest.approx(share, abs=0.015)
    assert drawn == draw_parts([900, 100], ["a", "b"], mix, 1, 20_000)
    assert drawn != draw_parts([900, 100], ["a", "b"], mix, 2, 20_000)


def test_sources_of_one_head_count_as_one_task_and_are_drawn_by_size() -> None:
    drawn = Counter(draw_parts([300, 100, 50], ["nli", "nli", "qa"], Mix("uniform"), 3, 20_000))
    shares = [drawn[part] / 20_000 for part in range(3)]
    assert shares == pytest.approx([0.375, 0.125, 0.5], abs=0.015)


def test_one_source_more_under_a_head_leaves_the_draws_of_heads_as_they_are() -> None:
    """What the steps of a mixture are of depends on its heads' sizes only."""
    alone = draw_parts([400, 50], ["nli", "qa"], Mix("proportional"), 3, 500)
    split = draw_parts([300, 100, 50], ["nli", "nli", "qa"], Mix("proportional"), 3, 500)
    assert [part == 1 for part in alone] == [part == 2 for part in split]


def test_anli_plus_steps_are_of_one_source_each() -> None:
    order = Order([40, 20, 4], batch=4, epochs=2, mix=Mix("proportional"), seed=1, heads=["nli"] * 3)
    steps = [order.step(number) for number in range(order.total)]
    assert {step.part for step in steps} == {0, 1, 2}
    assert order.total == 2 * (10 + 5 + 1)


members = st.lists(st.integers(1, 30), min_size=1, max_size=5).map(
    lambda sizes: tuple(tuple(range(sum(sizes[:n]), sum(sizes[: n + 1]))) for n in range(len(sizes)))
)


@given(members, st.floats(0.0, 1.0), st.integers(0, 99))
def test_a_pass_over_languages_uses_each_ones_examples_evenly(
    own: tuple[tuple[int, ...], ...], exponent: float, seed: int
) -> None:
    languages = LanguageGroups(own, exponent)
    drawn = by_language(seed, 0, 0, languages)
    assert len(drawn) == sum(map(len, own))
    counts = Counter(drawn)
    for language in own:
        times = [counts[index] for index in language]
        assert max(times) - min(times) <= 1
    assert drawn == by_language.__wrapped__(seed, 0, 0, languages)


def test_small_languages_are_drawn_more_often_than_their_share() -> None:
    own = (tuple(range(10_000)), tuple(range(10_000, 10_100)))
    drawn = by_language(1, 0, 0, LanguageGroups(own, 0.3))
    weights = [10_000**0.3, 100**0.3]
    assert sum(index < 10_000 for index in drawn) / len(drawn) == pytest.approx(weights[0] / sum(weights), abs=0.02)
    assert set(chain(*own[1:])) <= set(drawn)
    assert drawn != by_language(1, 0, 1, LanguageGroups(own, 0.3))
