"""The matrix at any width: folded into blocks, names wrapped, no number ever cut."""

import random
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.text import Text

from launch.show import cells, matrix
from launch.standing.progress import Progress
from launch.standing.records import FOLD_STATES, Cell, FoldState, Overview, SeedStanding, SharedTraining
from slurm.causes import CAUSES
from tests.launch import golden
from training.tasks import catalogue

GOLDEN = Path(__file__).parent / "golden"
# Names, not the catalogue's targets, which grow: the pictures stay.
TARGETS = (
    *["xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc", "tatoeba", "xcopa", "lareqa", "mewslix"],
    *(f"my_own_task_{n}" for n in range(7)),
    "a_task_of_somebody_with_a_long_name",
)
STEPS = catalogue.intermediate()
RECIPES = (
    "none", *STEPS[:13], *(f"{a} > {b}" for a, b in pairwise(STEPS[:9])),
    *(f"{a} + {b} > {c}" for a, b, c in zip(STEPS[:8], STEPS[2:10], STEPS[4:12], strict=True)),
)  # fmt: skip


def seed(number: int, state: FoldState, chance: random.Random) -> SeedStanding:
    score = round(chance.uniform(0, 100), 2) if state == "finished" else None
    progress = (
        Progress("s", chance.randint(0, 900), 1000, None, chance.uniform(0.1, 400)) if state == "running" else None
    )
    cause = chance.choice(CAUSES) if state == "failed" else None
    place = chance.randint(1, 4000) if state == "queued" else None
    return SeedStanding(
        number, "k", state, "k", cause, None, place, progress, score, chance.random() < 0.1 and score is not None
    )


def overview(recipes: tuple[str, ...], targets: tuple[str, ...], seeds: int, states: tuple[FoldState, ...]) -> Overview:
    chance = random.Random(1)
    made = {
        (recipe, target): Cell(tuple(seed(n, chance.choice(states), chance) for n in range(seeds)), recipe, target)
        for recipe in recipes
        for target in targets
    }
    shared = tuple(
        SharedTraining((seed(1, chance.choice(states), chance),), recipe, tuple((recipe, target) for target in targets))
        for recipe in recipes[1:]
    )
    return Overview("many", 0.0, recipes, targets, made, shared, Counter(), 0)


def printed(lines: list[Text]) -> str:
    return "".join(f"{line.plain}\n" for line in lines)


@pytest.mark.parametrize("width", [80, 120])
def test_thirty_recipes_on_twenty_targets(width: int) -> None:
    assert (len(RECIPES), len(TARGETS)) == (30, 20)
    look = overview(RECIPES, TARGETS, 3, ("finished", "finished", "finished", "running", "queued", "failed"))
    text = printed([*matrix.matrix(look, width), Text(""), *matrix.shared_trainings(look, width)])
    text += "; ".join(cells.legend([*look.cells.values(), *look.shared])) + "\n"
    golden.check(GOLDEN / f"many-{width}.txt", text)
    _every_number_is_there(look, width)


@pytest.mark.parametrize("width", [80, 120])
def test_recipes_from_each_start_model_stand_apart(width: int) -> None:
    names = [f"{label}: {recipe}" for label in ("large", "altclip") for recipe in ("none", "squad > hellaswag")]
    look = overview(tuple(names), ("xnli", "panx"), 2, ("finished", "running"))
    text = printed([*matrix.matrix(look, width), Text(""), *matrix.shared_trainings(look, width)])
    golden.check(GOLDEN / f"models-{width}.txt", text)
    _every_number_is_there(look, width)


NAMES = st.lists(st.text("abcdefg_+> ", min_size=1, max_size=40).filter(str.strip), min_size=1, max_size=6, unique=True)


@settings(max_examples=20)
@given(NAMES, NAMES, st.integers(1, 4), st.integers(50, 140), st.lists(st.sampled_from(FOLD_STATES), min_size=1))
def test_it_fits_any_width(
    recipes: list[str], targets: list[str], seeds: int, width: int, states: list[FoldState]
) -> None:
    _every_number_is_there(overview(tuple(recipes), tuple(targets), seeds, tuple(states)), width)


def _every_number_is_there(look: Overview, width: int) -> None:
    lines = [*matrix.matrix(look, width), *matrix.shared_trainings(look, width)]
    assert all(line.cell_len <= width for line in lines)
    text = printed(matrix.matrix(look, width))
    assert "…" not in text
    said = Counter(
        number for cell in look.cells.values() for part in cells.parts(cell) for number in _numbers(part.text)
    )
    there = Counter(_numbers(text))
    assert all(there[number] >= count for number, count in said.items())


def _numbers(text: str) -> list[str]:
    return re.findall(r"[\d.]+[%smhd]?", text)


def test_the_legend_says_only_what_is_shown() -> None:
    assert cells.legend([Cell((seed(1, "new", random.Random(1)),), "none", "xnli")]) == ["new: not sent"]


def test_words_of_a_cell() -> None:
    def said(*seeds: SeedStanding) -> list[str]:
        return [part.text for part in cells.parts(Cell(seeds, "none", "xnli"))]

    good = SeedStanding(1, "a", "finished", "a", score=81.24)
    runs = SeedStanding(2, "b", "running", "b", progress=Progress("b", 45, 100, None, 13.0))
    assert said(good) == ["81.2"]
    assert said(good, good._replace(score=80.0)) == ["80.6 ±0.9"]
    assert said(good, good._replace(score=1.0, diverged=True)) == ["81.2 †1"]
    assert said(good._replace(diverged=True)) == ["81.2 †"]
    assert said(good._replace(score=None)) == ["done"]
    assert said(runs) == ["run 45% 12m"]
    assert said(runs._replace(progress=None)) == ["run"]
    assert said(good, runs, runs) == ["81.2", "2 run 45% 12m"]
    assert said(SeedStanding(1, "a", "queued", "a", place=3)) == ["queued #3"]
    assert said(SeedStanding(1, "a", "failed", "a", "cuda-oom")) == ["failed cuda-oom"]
    assert said(SeedStanding(1, "a", "failed", "a", "unknown")) == ["failed"]
