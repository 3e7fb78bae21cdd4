"""What a table to publish says: differences, errors, marks, the best; languages in groups; two tables."""

from pathlib import Path
from statistics import mean, stdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.statistics.several import holm
from eval.tables import cells, diff, entries, facts, references, significance
from eval.tables import rows as score_rows
from eval.tables.diff import Side
from eval.tables.facts import FACTS, SOURCES, Grouping
from eval.tables.rows import Row
from eval.tables.sheet import Column, Entry, as_records
from slurm.base import UsageError, UserError
from tests.eval.tables.study import COLUMNS, RECIPES, study_cells, study_rows, study_sheet
from training.tasks import catalogue

SCORE = st.floats(0, 100)


def _entries(*, with_intervals: bool = False) -> dict[tuple[str, str], Entry]:
    sheet = study_sheet(with_intervals=with_intervals)
    return {
        (recipe, column.name): entry
        for recipe, of_row in sheet.rows
        for column, entry in zip(sheet.columns, of_row, strict=True)
    }


def _row(recipe: str, seed: int | None, score: float, language: str = "de", target: str = "xnli") -> Row:
    return Row(recipe, target, language, seed, "accuracy", True, score, 10, "k", "g", "c")


# --- entries


def test_none_has_its_score_and_the_others_their_difference() -> None:
    of_cells = _entries()
    none, squad = of_cells["none", "xnli"], of_cells["squad", "xnli"]
    assert (none.kind, none.number, none.spread) == ("score", "70.1", "±0.2")  # of 70.0, 70.4, 69.8: 0.306 / √3
    assert none.error == pytest.approx(stdev([70.0, 70.4, 69.8]) / 3**0.5)
    assert (squad.kind, squad.number, squad.spread) == ("difference", "+0.3", "±0.3")
    assert squad.error == pytest.approx(stdev([0.3, -0.2, 0.8]) / 3**0.5)
    assert squad.score == pytest.approx(mean([70.3, 70.2, 70.6]))


def test_what_is_missing_or_diverged_is_said() -> None:
    of_cells = _entries()
    assert of_cells["squad > mnli", "xquad"].number == "1 missing"
    assert of_cells["squad", "bucc"].number == "-"
    diverged = of_cells["mnli + squad", "tatoeba"]
    assert (diverged.dagger, diverged.seeds, diverged.error is not None) == ("†1", 3, True)


def test_the_best_of_a_column_is_of_those_that_have_a_score() -> None:
    best = {cell for cell, entry in _entries().items() if entry.best}
    assert best == {("squad > mnli", "xnli"), ("mnli + squad", "xquad"), ("squad", "tatoeba")}


def test_the_best_is_so_on_the_same_seeds() -> None:
    """As in a race: a recipe that lost on two good seeds is not above all seeds of none."""
    rows = [_row("none", seed, score) for seed, score in ((1, 70.0), (2, 71.0), (3, 60.0), (4, 61.0))]
    rows += [_row("squad", 1, 69.0), _row("squad", 2, 70.2)]
    required_languages = {(row.recipe, row.target, row.seed): ["de"] for row in rows}
    of_cells = cells.of_rows(rows, required_languages, {"xnli": "accuracy"})
    columns = [Column("xnli", "accuracy", "accuracy")]
    (_, (none,)), (_, (squad,)) = entries.of_cells(of_cells, ["none", "squad"], columns, {})
    assert none.best and not squad.best and (squad.value or 0) < 0 and (squad.score or 0) > (none.score or 0)


def test_where_all_are_alike_none_is_the_best() -> None:
    alike = cells.of_rows(
        [_row(recipe, seed, 50.0) for recipe in ("none", "squad") for seed in (1, 2)],
        {(recipe, "xnli", seed): ["de"] for recipe in ("none", "squad") for seed in (1, 2)},
        {"xnli": "accuracy"},
    )
    compared = significance.adjusted(significance.of_cells(alike))
    rows = entries.of_cells(alike, ["none", "squad"], COLUMNS[:1], compared)
    assert [entry.best for _, of_row in rows for entry in of_row] == [False, False]
    # Seeds that agree exactly say nothing of how far others would lie apart: no p of 0.
    assert compared["squad", "xnli"].adjusted_p is None and compared["squad", "xnli"].mark == ""


def test_marks_are_of_p_values_after_holm_over_the_table() -> None:
    together = significance.adjusted(significance.of_cells(study_cells()))
    with_p = {cell: comparison for cell, comparison in together.items() if comparison.adjusted_p is not None}
    assert len(with_p) == 8  # three recipes on three targets, one without all its scores
    raw = [comparison.difference.p for comparison in with_p.values()]
    assert [comparison.adjusted_p for comparison in with_p.values()] == holm([p for p in raw if p is not None])
    for (recipe, column), comparison in with_p.items():
        p = comparison.adjusted_p
        assert p is not None
        stars = "***" if p < 0.001 else "**" if p < 0.01 else "*" if p < 0.05 else ""
        assert comparison.mark == _entries()[recipe, column].mark == stars


def test_an_interval_is_shown_instead_of_the_error() -> None:
    of_cells = _entries(with_intervals=True)
    none, squad = of_cells["none", "xnli"], of_cells["squad", "xnli"]
    assert none.interval is not None and none.spread == "[69.3, 70.8]"  # 70.07 ± 4.303 · 0.176
    mean_difference = significance.of_cells(study_cells())["squad", "xnli"].difference.mean
    assert mean_difference is not None and squad.interval == mean_difference.interval()
    assert of_cells["none", "tatoeba"].spread == ""  # one score


def test_without_anything_to_compare_with_a_score_stands_in_parentheses() -> None:
    found = cells.of_rows(
        [_row("none", 1, 40.0), _row("squad", 2, 50.0)],
        {("none", "xnli", 1): ["de"], ("none", "xnli", 2): ["de"], ("squad", "xnli", 2): ["de"]},
        {"xnli": "accuracy"},
    )
    (_, (none,)), (_, (squad,)) = entries.of_cells(found, ["none", "squad"], COLUMNS[:1], {})
    assert (none.number, squad.number, squad.kind) == ("1 missing", "(50.0)", "score")
    ((_, (alone,)),) = entries.of_cells(found, ["squad"], COLUMNS[:1], {})
    assert alone.number == "50.0"  # a table without none has scores throughout


@given(st.lists(st.tuples(SCORE, SCORE), min_size=2, max_size=6))
@settings(deadline=None, max_examples=50)
def test_the_difference_and_its_error_are_of_the_pairs(pairs: list[tuple[float, float]]) -> None:
    seeds = range(1, len(pairs) + 1)
    rows = [_row("none", seed, pair[0]) for seed, pair in zip(seeds, pairs, strict=True)]
    rows += [_row("squad", seed, pair[1]) for seed, pair in zip(seeds, pairs, strict=True)]
    required = {(row.recipe, row.target, row.seed): ["de"] for row in rows}
    of_cells = cells.of_rows(rows, required, {"xnli": "accuracy"})
    _, (_, (squad,)) = entries.of_cells(of_cells, ["none", "squad"], COLUMNS[:1], {})
    differences = [after - before for before, after in pairs]
    assert squad.value == pytest.approx(mean(differences), abs=1e-9)
    assert squad.error == pytest.approx(stdev(differences) / len(pairs) ** 0.5, abs=1e-9)


def test_records_are_unrounded() -> None:
    records = as_records(study_sheet())
    record = next(r for r in records if (r["row"], r["column"]) == ("squad", "xnli"))
    assert record["difference"] == study_cells()["squad", "xnli"].difference
    assert record["kind"] == "difference" and record["metric"] == "accuracy" and record["low"] is None


# --- languages in groups


@pytest.mark.parametrize("by", SOURCES)
def test_groups_share_out_all_languages(by: Grouping) -> None:
    task = catalogue.TASKS["panx"]
    languages = task.languages + task.extra_languages
    groups = facts.groups(languages, by)
    assert sorted(code for codes in groups.values() for code in codes) == sorted(languages)
    assert facts.UNKNOWN not in groups
    assert list(facts.groups(["xx", *languages], by))[-1] == facts.UNKNOWN


def test_every_language_of_the_benchmarks_is_known() -> None:
    for name in catalogue.TARGETS:
        task = catalogue.TASKS[name]
        assert facts.unknown([code for code in task.languages + task.extra_languages if "-" not in code]) == []


def test_facts_that_the_sources_give() -> None:
    assert FACTS["en"] == facts.Facts("IE: Germanic", "Latn", 300.8)
    assert FACTS["zh"].size == pytest.approx(46.9 + 16.6)  # simplified and traditional
    assert {code for code, of_language in FACTS.items() if not of_language.size} >= {"yo", "qu", "ht", "wo"}
    assert facts.groups(["sw", "en", "yo"], "size") == {"≥ 50 GiB": ["en"], "1–10 GiB": ["sw"], "not seen": ["yo"]}
    assert facts.groups(["sw", "en", "yo"], "seen") == {"seen": ["sw", "en"], "not seen": ["yo"]}
    assert facts.groups(["sw", "de", "yo", "ru"], "family") == {
        "Niger-Congo": ["sw", "yo"], "IE: Germanic": ["de"], "IE: Slavic": ["ru"],
    }  # fmt: skip


def test_an_unknown_grouping_is_one_line() -> None:
    with pytest.raises(UsageError, match="--by country: it is family, script, size or seen"):
        facts.grouping("country")


# --- published rows


def test_the_published_row_averages_to_what_was_published() -> None:
    """XLM-R Base in the XLM-Align paper: 66.4 over seven tasks."""
    scores = references.find("xlmr-base").scores
    tasks: dict[str, list[float]] = {}
    for (task, _), score in scores.items():
        tasks.setdefault(task, []).append(score)
    assert mean(map(mean, tasks.values())) == pytest.approx(66.4, abs=0.051)


def test_published_numbers_stand_under_their_metric_alone() -> None:
    columns = [Column("xquad", "f1", "f1"), Column("xquad", "f1_corrected", "f1_corrected")]
    ((label, (f1, corrected)),) = entries.of_references([references.find("xtreme-xlmr-large")], columns)
    assert (label, f1.number, corrected.number) == ("XLM-R Large (XTREME)", "76.6", "-")
    with pytest.raises(UsageError, match="--reference xtreme-xlmr: did you mean xtreme-xlmr-large"):
        references.find("xtreme-xlmr")


@pytest.mark.parametrize("name", references.REFERENCES)
def test_published_rows_are_of_targets_and_metrics_that_there_are(name: str) -> None:
    for target, metric in references.REFERENCES[name].scores:
        assert target == "xtreme" or target in catalogue.TARGETS
        assert metric in ("average", "exact_match", catalogue.TASKS[target].metric if target in catalogue.TASKS else "")


# --- two tables


def test_the_second_less_the_first() -> None:
    first = [_row("none", 1, 40.0), _row("none", 2, 44.0), _row("squad", 1, 50.0)]
    second = [_row("none", 1, 41.0), _row("none", 2, 47.0), _row("mnli", 1, 50.0)]
    sheet = diff.of_sides(Side("a.yaml", first), Side("b.yaml", second))
    ((recipe, (entry,)),) = sheet.rows  # the recipe that both have
    assert (recipe, entry.number, entry.spread) == ("none", "+2.0", "±1.0")
    assert sheet.title == "b.yaml less a.yaml"
    assert sheet.caption[0].startswith("b.yaml less a.yaml, in points; mean over languages; ± standard error")


def test_seeds_that_are_not_the_same_are_not_paired() -> None:
    first = [_row("none", 1, 40.0), _row("none", 2, 44.0)]
    second = [_row("none", 3, 50.0), _row("none", 4, 56.0)]
    sheet = diff.of_sides(Side("a", first), Side("b", second))
    ((_, (entry,)),) = sheet.rows
    assert (entry.value, entry.error) == (11.0, pytest.approx((2.0**2 + 3.0**2) ** 0.5))
    assert "paired by seed where both have it" in sheet.caption[0]


def test_only_languages_that_both_have_are_compared() -> None:
    first = [_row("none", 1, 40.0), _row("none", 1, 90.0, "en")]
    second = [_row("none", 1, 43.0), _row("none", 1, 10.0, "sw")]
    sheet = diff.of_sides(Side("a", first), Side("b", second))
    ((_, (entry,)),) = sheet.rows
    assert entry.value == 3.0
    assert "xnli: of the 1 languages that both have" in sheet.caption


def test_nothing_in_common_is_one_line() -> None:
    with pytest.raises(UserError, match="a and b: have no recipe and target in common with a score f1"):
        diff.of_sides(Side("a", [_row("none", 1, 40.0)]), Side("b", [_row("none", 1, 40.0)]), "f1")


@given(st.lists(st.tuples(SCORE, SCORE), min_size=1, max_size=4))
@settings(deadline=None, max_examples=50)
def test_the_other_way_round_it_has_the_other_sign(pairs: list[tuple[float, float]]) -> None:
    first = Side("a", [_row("none", seed, pair[0]) for seed, pair in enumerate(pairs)])
    second = Side("b", [_row("none", seed, pair[1]) for seed, pair in enumerate(pairs)])
    ((_, (there,)),) = diff.of_sides(first, second).rows
    ((_, (back,)),) = diff.of_sides(second, first).rows
    assert there.value == pytest.approx(-(back.value or 0.0), abs=1e-9)
    assert (there.error is None) == (back.error is None)
    assert (there.error or 0.0) == pytest.approx(back.error or 0.0, abs=1e-9)


def test_a_table_of_scores_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """One of 2026-11-26, as somebody may have kept it to compare with."""
    import polars

    rows = study_rows()
    names = [
        "recipe", "target", "language", "seed", "metric", "primary", "score", "examples", "stage", "generation", "code",
        "diverged",
    ]  # fmt: skip
    path = tmp_path / "results.parquet"
    polars.DataFrame([{name: getattr(row, name) for name in names} for row in rows]).write_parquet(path)
    assert score_rows.read_parquet(path) == rows
    polars.DataFrame([{name: getattr(row, name) for name in names[:-1]} for row in rows]).write_parquet(path)
    assert score_rows.read_parquet(path) == [row._replace(diverged=False) for row in rows]
    sheet = diff.of_sides(Side("a", rows), Side("b", [row._replace(score=row.score + 1) for row in rows]))
    assert {recipe for recipe, _ in sheet.rows} == set(RECIPES)
    assert {entry.number for _, of_row in sheet.rows for entry in of_row} == {"+1.0"}


def test_what_is_no_table_of_scores_is_one_line(tmp_path: Path) -> None:
    import polars

    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(UserError, match=r"text.parquet: is no table of scores \(Parquet\) that can be read"):
        score_rows.read_parquet(tmp_path / "text.parquet")
    polars.DataFrame({"recipe": ["none"]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(UserError, match=r"other.parquet: is no table of scores: it has no column target, language, "):
        score_rows.read_parquet(tmp_path / "other.parquet")
