"""A small study as cells, and the sheet of it that the tests of every format draw."""

from eval.tables import cells, entries, references, significance
from eval.tables.cells import Cell
from eval.tables.rows import Row
from eval.tables.sheet import Column, Sheet

RECIPES = ["none", "squad", "squad > mnli", "mnli + squad"]
COLUMNS = [
    Column("xnli", "accuracy", "accuracy"),
    Column("xquad", "f1", "f1"),
    Column("bucc", "f1", "f1"),
    Column("tatoeba", "accuracy", "accuracy"),
]
_BY_SEED = {
    ("none", "xnli"): [70.0, 70.4, 69.8],
    ("squad", "xnli"): [70.3, 70.2, 70.6],
    ("squad > mnli", "xnli"): [74.1, 74.3, 74.0],
    ("mnli + squad", "xnli"): [73.0, 73.7, 72.9],
    ("none", "xquad"): [60.2, 61.1, 60.5],
    ("squad", "xquad"): [59.9, 60.1, 60.4],
    ("squad > mnli", "xquad"): [58.0, 57.1],
    ("mnli + squad", "xquad"): [61.0, 61.2, 60.9],
    ("none", "tatoeba"): [31.0],
    ("squad", "tatoeba"): [55.0, 57.2, 56.1],
    ("squad > mnli", "tatoeba"): [44.4, 47.7, 41.0],
    ("mnli + squad", "tatoeba"): [54.0, 53.1, 2.0],
}
_DIVERGED = ("mnli + squad", "tatoeba", 3)


def study_rows() -> list[Row]:
    """Scores in one language, de; the third seed of one recipe diverged, one recipe lacks a seed, bucc is not there."""
    return [
        Row(
            recipe, target, "de", None if (recipe, target) == ("none", "tatoeba") else seed,
            "f1" if target == "xquad" else "accuracy", True, score, 100, "k", "g", "c",
            (recipe, target, seed) == _DIVERGED,
        )
        for (recipe, target), scores in _BY_SEED.items()
        for seed, score in enumerate(scores, 1)
    ]  # fmt: skip


def study_cells() -> dict[tuple[str, str], Cell]:
    rows = study_rows()
    required = {(row.recipe, row.target, row.seed): ["de"] for row in rows} | {("squad > mnli", "xquad", 3): ["de"]}
    return cells.of_rows(rows, required, {"xnli": "accuracy", "xquad": "f1", "tatoeba": "accuracy"})


def models_sheet() -> Sheet:
    """The same from two start models, of which the second one's scores are 3 higher without a recipe."""
    rows = [
        row._replace(recipe=f"{label}: {row.recipe}", score=row.score + higher * (row.recipe == "none"))
        for label, higher in (("large", 0.0), ("v1.5", 3.0))
        for row in study_rows()
    ]
    required = {(row.recipe, row.target, row.seed): ["de"] for row in rows}
    all_cells = cells.of_rows(rows, required, {"xnli": "accuracy", "xquad": "f1", "tatoeba": "accuracy"})
    names = [f"{label}: {recipe}" for label in ("large", "v1.5") for recipe in RECIPES]
    comparisons = significance.adjusted(significance.of_cells(all_cells))
    rows_of_sheet = entries.of_cells(all_cells, names, COLUMNS, comparisons)
    published_rows = entries.of_references([references.find("xtreme-xlmr-large")], COLUMNS)
    return Sheet("two models", tuple(COLUMNS), rows_of_sheet, ("in percent",), published_rows)


def study_sheet(*, with_intervals: bool = False) -> Sheet:
    all_cells = study_cells()
    comparisons = significance.adjusted(significance.of_cells(all_cells))
    return Sheet(
        "study_1",
        tuple(COLUMNS),
        entries.of_cells(all_cells, RECIPES, COLUMNS, comparisons, with_intervals),
        ("in percent; ± standard error over 3 seeds", "max_eval: 50 % & more <b>", "* p < 0.05"),
        entries.of_references([references.find("xtreme-xlmr-large")], COLUMNS),
    )
