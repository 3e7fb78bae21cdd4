"""The answer in plain sentences: nothing is called sure that is not."""

from dataclasses import replace

import pytest

from eval.report import answer
from eval.report.content import Content
from eval.tables.sheet import Entry
from tests.eval.report import invented

BASELINE = Entry("score", 60.0, 0.5, (59.0, 61.0), score=60.0, seeds=5)


def _content(*entries: Entry, recipes: tuple[str, ...] = ("none", "squad", "mnli")) -> Content:
    """Of one target with these cells, one a recipe."""
    full = invented.content(recipes=recipes, targets=("xnli",))
    rows = tuple((recipe, (entry,)) for recipe, entry in zip(recipes, entries, strict=True))
    return replace(full, matrix=replace(full.matrix, sheet=replace(full.matrix.sheet, rows=rows)))


def _gain(value: float, p: float | None) -> Entry:
    return Entry(
        "difference", value, 0.5, (value - 1, value + 1), score=60.0 + value, seeds=5, adjusted_p=p, with_interval=True
    )


def test_a_sure_gain_is_named_with_its_interval() -> None:
    sentence = answer.in_one_sentence(_content(BASELINE, _gain(2.0, 0.01), _gain(-3.0, 0.001)))
    assert sentence == (
        "On 1 of 1 target a recipe is surely better than none, squad on xnli (+2.0 [+1.0, +3.0]);"
        " on 1 one is surely worse, mnli on xnli (-3.0 [-4.0, -2.0])."
    )


@pytest.mark.parametrize("p", [0.05, 0.2, 1.0])
def test_what_may_be_chance_is_called_so(p: float) -> None:
    content = _content(BASELINE, _gain(9.0, p), _gain(1.0, 1.0))
    assert answer.in_one_sentence(content).startswith("No recipe is surely better than none on any")
    assert "it may be chance" in answer.of_target(content, "xnli")


def test_one_seed_tests_nothing() -> None:
    content = _content(BASELINE, _gain(9.0, None), _gain(1.0, None))
    assert "can be tested" in answer.in_one_sentence(content)
    assert "not tested" in answer.of_target(content, "xnli")


def test_a_recipe_all_of_whose_seeds_diverged_is_not_the_best() -> None:
    entry = replace(_gain(30.0, None), kind="score", seeds=2, diverged=2)
    assert "highest: none" in answer.of_target(_content(BASELINE, entry, _gain(-1.0, 0.5)), "xnli")


def test_the_highest_is_so_on_the_same_seeds() -> None:
    """In a race seeds differ: a recipe that lost on two good ones is not above all seeds of none."""
    entry = replace(_gain(-1.0, 0.001), score=63.0, seeds=2)
    assert "highest: none" in answer.of_target(_content(BASELINE, entry, _gain(-2.0, 0.5)), "xnli")


def test_without_a_baseline_nothing_is_compared() -> None:
    content = _content(BASELINE, BASELINE, recipes=("squad", "mnli"))
    assert answer.in_one_sentence(content) == (
        "There are scores, and nothing to compare them with: the recipes lack none."
    )


def test_a_partial_one_speaks_of_so_far() -> None:
    content = replace(_content(BASELINE, _gain(2.0, 0.01), _gain(1.0, 1.0)), finished=3)
    assert answer.in_one_sentence(content).startswith("So far, on 1 of 1 target")


def test_tests_of_an_unfinished_experiment_are_for_one_look_unless_it_is_raced() -> None:
    content = replace(_content(BASELINE, _gain(2.0, 0.01), _gain(1.0, 1.0)), finished=3)
    assert "hold for one look" in answer.progress(content)
    assert "look" not in answer.progress(replace(content, least_seeds=2))
    assert "look" not in answer.progress(replace(content, finished=content.total))
