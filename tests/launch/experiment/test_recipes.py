"""The recipe grammar: spelling, meaning, counts, and errors that point at the column."""

from math import factorial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.experiment.recipes import NONE, Recipe, expand, show
from slurm.base import UsageError

NAMES = st.sampled_from(["anli", "mnli", "squad", "squad_v2", "hellaswag", "a.b", "x-1", "t@2"])
STEPS = st.lists(NAMES, min_size=1, max_size=4, unique=True).map(lambda names: tuple(sorted(names)))
RECIPES = st.lists(STEPS, max_size=4).map(tuple)


@given(RECIPES)
def test_a_shown_recipe_reads_as_itself(recipe: Recipe) -> None:
    assert expand(show(recipe)) == [recipe]


@given(RECIPES.filter(bool), st.randoms(use_true_random=False), st.sampled_from(["", " ", "  ", "\t"]))
def test_spaces_and_the_order_of_a_joint_step_have_no_meaning(recipe: Recipe, random: object, space: str) -> None:
    spelled = []
    for step in recipe:
        names = list(step)
        random.shuffle(names)  # type: ignore[attr-defined]
        spelled.append(f"{space}+{space}".join(names))
    text = space + f"{space}>{space}".join(spelled) + space
    assert expand(text) == [recipe]


def test_jointly_binds_tighter_than_then() -> None:
    assert expand("mnli + mlm > hellaswag") == [(("mlm", "mnli"), ("hellaswag",))]
    assert expand("hellaswag > mnli + mlm") == [(("hellaswag",), ("mlm", "mnli"))]
    assert expand("a > a") == [(("a",), ("a",))]
    assert expand("none") == [NONE]


@given(st.lists(NAMES, min_size=1, max_size=5, unique=True))
def test_orders_are_all_permutations(names: list[str]) -> None:
    found = expand(f"orders({', '.join(names)})")
    assert len(set(found)) == len(found) == factorial(len(names))
    assert all(sorted(name for step in recipe for name in step) == sorted(names) for recipe in found)
    assert all(len(step) == 1 for recipe in found for step in recipe)


@given(st.lists(NAMES, min_size=1, max_size=7, unique=True))
def test_subsets_are_all_non_empty_joint_steps(names: list[str]) -> None:
    found = expand(f"subsets({','.join(names)})")
    assert len(set(found)) == len(found) == 2 ** len(names) - 1
    assert all(len(recipe) == 1 and set(recipe[0]) <= set(names) for recipe in found)


def _only_known(name: str) -> None:
    if name == "unknown":
        raise UsageError("'unknown' is no task")


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("", 1, "expected a task name"),
        ("a >", 4, "expected a task name"),
        ("a > > b", 5, "expected a task name"),
        ("a + b + a", 9, "each task once"),
        ("(a > b) + c", 1, "no parentheses"),
        ("a + (b > c)", 5, "cannot be part of a joint step"),
        ("a b", 3, "expected the end"),
        ("a > none", 5, "'none' stands alone"),
        ("none > a", 6, "expected the end"),
        ("a + orders(b, c)", 5, "'orders' stands alone"),
        ("orders(a, b) > c", 14, "expected the end"),
        ("orders(a, b", 12, "expected ',' or ')'"),
        ("orders(a > b)", 10, "expected ',' or ')'"),
        ("orders()", 8, "expected a task name"),
        ("orders(a, a)", 12, "each task once"),
        ("subsets(a,b,c,d,e,f,g,h)", 24, "at most 7"),
        ("a > ü", 5, "a recipe has task names"),
        ("a ; b", 3, "a recipe has task names"),
        ("  a > b, c", 8, "expected the end"),
        ("a  > unknown", 6, "'unknown' is no task"),
        ("orders(a, unknown)", 11, "'unknown' is no task"),
    ],
)
def test_errors_name_the_column(text: str, column: int, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        expand(text, _only_known)
    message = str(caught.value)
    assert f"recipe '{text}': column {column}: " in message
    assert said in message and "\n" not in message


@given(st.text(alphabet="ab>+(), ;none", max_size=20))
def test_any_text_is_a_recipe_or_a_one_line_error(text: str) -> None:
    try:
        found = expand(text)
    except UsageError as error:
        assert "column" in str(error) and len(str(error).splitlines()) == 1
    else:
        assert found and all(expand(show(recipe)) == [recipe] for recipe in found)
