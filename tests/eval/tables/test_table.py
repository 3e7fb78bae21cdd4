"""The results table: means, error bars over seeds, differences to `none`, and what is missing is not averaged over."""

import itertools
from collections.abc import Collection
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from eval.tables import cells, table
from eval.tables.cells import Cell
from eval.tables.rows import Row

Scores = dict[tuple[str, str, int | None], dict[str, float]]
Diverged = Collection[tuple[str, str, int | None]]


def _row(recipe: str, target: str, language: str, seed: int | None, score: float, **changes: object) -> Row:
    base = {"metric": "accuracy", "primary": True, "examples": 10, "stage": "k", "generation": "g", "code": "c"}
    return Row(recipe, target, language, seed, score=score, **(base | changes))  # type: ignore[arg-type]


def _rows(scores: Scores) -> list[Row]:
    return [
        _row(recipe, target, language, seed, score)
        for (recipe, target, seed), found in scores.items()
        for language, score in found.items()
    ]


def _cells(scores: Scores, *languages: str, diverged: Diverged = ()) -> dict[tuple[str, str], Cell]:
    rows = [row._replace(diverged=(row.recipe, row.target, row.seed) in diverged) for row in _rows(scores)]
    return cells.of_rows(rows, dict.fromkeys(scores, languages), METRICS)


METRICS = dict.fromkeys(("xnli", "tatoeba", "panx"), "accuracy")


FULL: Scores = {
    ("none", "xnli", 1): {"de": 40.0, "sw": 20.0},
    ("none", "xnli", 2): {"de": 44.0, "sw": 24.0},
    ("squad", "xnli", 1): {"de": 50.0, "sw": 30.0},
    ("squad", "xnli", 2): {"de": 52.0, "sw": 28.0},
}


def test_mean_over_languages_then_seeds() -> None:
    found = _cells(FULL, "de", "sw")
    none, squad = found["none", "xnli"], found["squad", "xnli"]
    assert (none.score, none.seeds, none.missing) == (32.0, 2, 0)  # of 30 and 34
    assert none.deviation == pytest.approx(8**0.5)
    assert (none.difference, none.difference_deviation) == (None, None)
    assert (squad.score, squad.deviation) == (40.0, 0.0)


def test_the_difference_is_paired_by_seed() -> None:
    squad = _cells(FULL, "de", "sw")["squad", "xnli"]
    assert squad.difference == 8.0  # of 40 - 30 and 40 - 34
    assert squad.difference_deviation == pytest.approx(8**0.5)
    alone = {key: value for key, value in FULL.items() if key != ("none", "xnli", 2)}
    squad = _cells(alone, "de", "sw")["squad", "xnli"]
    assert (squad.score, squad.difference, squad.difference_deviation) == (40.0, 10.0, None)


def test_a_baseline_without_seeds_stands_for_all() -> None:
    """`none` on a target that trains nothing has one score, the recipes one per seed."""
    found = _cells(
        {
            ("none", "tatoeba", None): {"de": 60.0},
            ("squad", "tatoeba", 1): {"de": 70.0},
            ("squad", "tatoeba", 2): {"de": 74.0},
        },
        "de",
    )
    none, squad = found["none", "tatoeba"], found["squad", "tatoeba"]
    assert (none.score, none.deviation, none.seeds) == (60.0, None, 1)
    assert (squad.score, squad.difference) == (72.0, 12.0)
    assert squad.difference_deviation == squad.deviation == pytest.approx(8**0.5)


def test_one_seed_has_no_error_bar() -> None:
    cell = _cells({("none", "xnli", 1): {"de": 40.0}}, "de")["none", "xnli"]
    assert (cell.show(), cell.show_difference()) == ("40.0", "")


def test_a_missing_language_is_not_averaged_over() -> None:
    scores = {key: dict(found) for key, found in FULL.items()}
    del scores["squad", "xnli", 2]["sw"]
    squad = _cells(scores, "de", "sw")["squad", "xnli"]
    assert (squad.score, squad.difference, squad.missing) == (None, None, 1)
    assert (squad.show(), squad.show_difference()) == ("1 missing", "")
    scores["squad", "xnli", 1] = {}
    assert _cells(scores, "de", "sw")["squad", "xnli"].show() == "3 missing"


def test_where_the_baseline_misses_something_there_is_no_difference_to_it() -> None:
    scores = {key: dict(found) for key, found in FULL.items()}
    del scores["none", "xnli", 2]["sw"]
    found = _cells(scores, "de", "sw")
    assert found["none", "xnli"].show() == "1 missing"
    assert (found["squad", "xnli"].score, found["squad", "xnli"].difference) == (40.0, 10.0)  # of seed 1 alone


def test_only_the_shown_metric_and_the_languages_asked_for_count() -> None:
    rows = [
        _row("none", "panx", "de", 1, 80.0, metric="f1"),
        _row("none", "panx", "de", 1, 10.0, metric="recall", primary=False),
        _row("none", "panx", "sw", 1, 0.0, metric="f1"),
    ]
    for metric, score in (("f1", 80.0), ("recall", 10.0)):
        assert cells.of_rows(rows, {("none", "panx", 1): ["de"]}, {"panx": metric})["none", "panx"].score == score


# --- seeds that diverged

THREE: Scores = FULL | {("none", "xnli", 3): {"de": 0.0, "sw": 0.0}, ("squad", "xnli", 3): {"de": 60.0, "sw": 40.0}}


def test_a_seed_that_diverged_is_left_out_of_everything() -> None:
    found = _cells(FULL, "de", "sw", diverged=[("squad", "xnli", 2)])
    none, squad = found["none", "xnli"], found["squad", "xnli"]
    assert (none.show(), none.diverged) == ("32.0 ±2.8", 0)
    assert (squad.score, squad.deviation, squad.seeds, squad.diverged) == (40.0, None, 2, 1)
    assert (squad.difference, squad.difference_deviation) == (10.0, None)  # of seed 1
    assert (squad.show(), squad.show_difference()) == ("40.0 †1", "+10.0")


def test_nothing_is_compared_with_a_baseline_that_diverged() -> None:
    found = _cells(THREE, "de", "sw", diverged=[("none", "xnli", 3)])
    none, squad = found["none", "xnli"], found["squad", "xnli"]
    assert none.show() == "32.0 ±2.8 †1"
    assert squad.show() == "43.3 ±5.8"  # its own three are sound
    assert squad.show_difference() == "+8.0 ±2.8"  # of seeds 1 and 2
    found = _cells(THREE, "de", "sw", diverged=[("none", "xnli", seed) for seed in (1, 2, 3)])
    assert found["none", "xnli"].show() == "21.3 †"
    assert (found["squad", "xnli"].show(), found["squad", "xnli"].show_difference()) == ("43.3 ±5.8", "")


def test_where_no_other_seed_remains_the_score_is_marked() -> None:
    found = _cells(FULL, "de", "sw", diverged=[("squad", "xnli", 1), ("squad", "xnli", 2)])
    squad = found["squad", "xnli"]
    assert (squad.show(), squad.show_difference(), squad.diverged) == ("40.0 †", "", 2)
    scores: Scores = {("none", "tatoeba", None): {"de": 60.0}, ("squad", "tatoeba", 1): {"de": 34.1}}
    alone = _cells(scores, "de", diverged=[("squad", "tatoeba", 1)])
    assert alone["squad", "tatoeba"].show() == "34.1 †" and alone["squad", "tatoeba"].difference is None


def test_what_is_missing_is_still_said_first() -> None:
    scores = {key: dict(found) for key, found in FULL.items()}
    del scores["squad", "xnli", 2]["sw"]
    squad = _cells(scores, "de", "sw", diverged=[("squad", "xnli", 1)])["squad", "xnli"]
    assert (squad.show(), squad.score) == ("1 missing", None)


@given(st.sets(st.sampled_from(list(THREE))))
@settings(deadline=None)
def test_a_seed_that_diverged_counts_as_one_that_never_was(diverged: set[tuple[str, str, int | None]]) -> None:
    found = _cells(THREE, "de", "sw", diverged=diverged)
    without = _cells({key: value for key, value in THREE.items() if key not in diverged}, "de", "sw")
    for cell, plain in without.items():
        marked = replace(found[cell], seeds=plain.seeds, diverged=0)
        assert marked == plain
    for cell in found.keys() - without.keys():
        assert found[cell].diverged == found[cell].seeds == 3 and found[cell].difference is None


# --- metrics that stand in for others, pairs of languages


@pytest.mark.parametrize(
    ("present", "shown"),
    [
        ({"f1", "precision", "f1_dev"}, "f1"),
        ({"f1_dev", "precision_dev"}, "f1_dev"),
        ({"f1_untuned"}, "f1_untuned"),
        (set(), "f1"),
        ({"accuracy"}, "f1"),  # results of another kind: missing, never shown as what they are not
    ],
)
def test_a_column_shows_its_metric_or_what_stands_in_for_it(present: set[str], shown: str) -> None:
    assert cells.shown_metric("f1", present) == shown


def test_a_language_that_could_only_be_scored_under_another_name_says_so() -> None:
    assert cells.stands_in({"f1_dev", "precision_dev"}, "f1")
    assert not cells.stands_in({"f1", "f1_dev"}, "f1")
    assert not cells.stands_in({"f1"}, "f1_corrected")  # an older result: missing
    assert not cells.stands_in({}, "f1")


def test_pairs_of_languages_are_not_in_the_mean() -> None:
    assert cells.in_the_mean(["de", "de-en", "en"]) == ["de", "en"]
    assert cells.in_the_mean(["de-en", "en-de"]) == ["de-en", "en-de"]


def test_the_notes_name_what_is_not_in_the_mean() -> None:
    rows = [
        _row("none", "bucc", "de", None, 50.0, metric="f1"),
        _row("none", "bucc", "zh", None, 60.0, metric="f1_dev"),
        _row("none", "mlqa", "de", 1, 60.0, metric="f1"),
        _row("none", "mlqa", "de-en", 1, 60.0, metric="f1"),
    ]
    assert cells.notes(rows, {"bucc": "f1", "mlqa": "f1"}) == [
        "bucc: not in the mean: zh (f1_dev)",
        "mlqa: not in the mean: pairs of languages (1); results.parquet has them",
    ]
    assert cells.notes(rows[1:2], {"bucc": "f1_dev"}) == [
        "bucc: f1_dev: the threshold was tuned on the examples that are scored"
    ]
    assert cells.notes(rows[:1], {"bucc": "f1"}) == []


def test_without_a_baseline_there_are_no_differences() -> None:
    found = _cells({("squad", "xnli", 1): {"de": 40.0}}, "de")
    assert found["squad", "xnli"].difference is None


@given(st.lists(st.floats(0, 100), min_size=8, max_size=8))
@settings(deadline=None)
def test_the_mean_difference_is_the_difference_of_the_means(values: list[float]) -> None:
    keys = itertools.product(("none", "squad"), ("xnli",), (1, 2))
    numbers = iter(values)
    found = _cells({key: {"de": next(numbers), "sw": next(numbers)} for key in keys}, "de", "sw")
    none, squad = found["none", "xnli"], found["squad", "xnli"]
    assert none.score is not None and squad.score is not None
    assert squad.difference == pytest.approx(squad.score - none.score, abs=1e-9)


# --- how it looks


def test_the_table_on_a_terminal() -> None:
    console = Console(width=60)
    with console.capture() as caught:
        console.print(table.draw(_cells(FULL, "de", "sw"), ["none", "squad"], {"xnli": "accuracy"}))
    lines = [line.split() for line in caught.get().splitlines()]
    for expected in (["recipe", "accuracy"], ["none", "32.0", "±2.8"], ["squad", "40.0", "±0.0"], ["+8.0", "±2.8"]):
        assert expected in lines


def test_the_table_in_markdown() -> None:
    found = _cells(FULL | {("squad", "panx", 1): {}}, "de", "sw")
    text = table.markdown(found, ["none", "squad"], {"xnli": "accuracy", "panx": "f1"})
    assert text.splitlines() == [
        "| recipe | xnli (accuracy) | panx (f1) |",
        "| --- | ---: | ---: |",
        "| none | 32.0 ±2.8 | - |",
        "| squad | 40.0 ±0.0 (+8.0 ±2.8) | 2 missing |",
    ]
