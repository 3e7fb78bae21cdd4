"""A report's content out of nothing, of any size: differences that some recipes have and seeds that scatter."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from eval.report.content import (
    AskedStudy,
    Content,
    Cost,
    Costs,
    Curve,
    DataSource,
    Divergence,
    Environment,
    Grid,
    Missing,
    NotCounted,
    Provenance,
    TargetGrids,
    TransferPoint,
)
from eval.studies.finding import Column as StudyColumn
from eval.studies.finding import Estimate, Estimates, Finding, Matrix, Point, Scatter, Table
from eval.tables import entries, facts, significance
from eval.tables.cells import Cell
from eval.tables.facts import Grouping
from eval.tables.sheet import Column, Sheet

RECIPES = (
    "none", "mnli", "squad", "hellaswag", "qqp", "commonsenseqa", "cosmosqa", "socialiqa", "squad > mnli",
    "mnli > squad", "mnli + squad", "anli", "ccg", "squad + mnli > hellaswag",
)  # fmt: skip
TARGETS = ("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc", "tatoeba")
LANGUAGES = tuple(code for code in facts.FACTS if facts.FACTS[code].size > 0)[:40]
_GROUPINGS: tuple[Grouping, ...] = ("family", "script", "size")


def content(
    recipes: Sequence[str] = RECIPES[:3],
    targets: Sequence[str] = TARGETS[:2],
    languages: Sequence[str] = ("ar", "de", "en", "zh"),
    seeds: int = 2,
    points: int = 20,
) -> Content:
    """Finished, nothing diverged. `points`: of each curve."""
    draw = np.random.default_rng(0)
    gains = {recipe: 0.0 if recipe == "none" else float(draw.normal(0.5, 2.0)) for recipe in recipes}
    runs = [(recipe, target, seed) for recipe in recipes for target in targets for seed in range(1, seeds + 1)]
    stages = 2 * len(runs)
    return Content(
        name="invented",
        file="invented.yaml",
        command="stepstone submit invented.yaml",
        written=1795753858.0,
        finished=stages,
        total=stages,
        counts={"finished": stages},
        recipes=tuple(recipes),
        seeds=tuple(range(1, seeds + 1)),
        matrix=_grid("invented", recipes, targets, seeds, gains, draw),
        targets=tuple(_target(target, recipes, languages, seeds, gains, draw) for target in targets),
        curves=tuple(
            _curve(f"{recipe} > {target}", seed, f"{n:016x}", points, draw)
            for n, (recipe, target, seed) in enumerate(runs)
        ),
        transfer=tuple(
            TransferPoint(*run, 80 + gains[run[0]] + draw.normal(), 60 + gains[run[0]] + draw.normal(), 75.5)
            for run in runs
        ),
        costs=_costs(recipes, len(runs)),
        missing=(),
        diverged=(),
        provenance=tuple(
            Provenance(*run, f"{n:016x}", f"{run[0]}.{run[1]}-s{run[2]}--{run[1]}".replace(" > ", "."),
                       (f"{n + 1:016x}", f"{n + 2:016x}"), f"{n + 3:016x}", ("5d8f84d09c18e88f",), len(languages),
                       2000 * len(languages))
            for n, run in enumerate(runs)
        ),
        data=tuple(
            DataSource(target, "test", code, "google/xtreme@ec5f1f46e9af79639a90684a7a70a956c4998f01:test", 2000)
            for target in targets for code in languages
        ),
        environment=Environment(
            "FacebookAI/xlm-roberta-base@e73636d4f797dec63c3081bb6ed5c7b0bb3f2089",
            (("5d8f84d09c18e88f", 2 * len(runs)),), (("torch", (("2.13.0", 10), ("2.12.1", 2))),),
            (("NVIDIA A100-SXM4-40GB", len(runs)),), (("bf16", len(runs)),),
            tuple((recipe, "epochs 2, global_batch_size 16") for recipe in recipes),
        ),
        notes=(),
    )  # fmt: skip


def partial(full: Content) -> Content:
    """The same while half of it runs, one training has diverged and one run failed."""
    recipe, target = full.recipes[-1], full.targets[0].target
    missing = (
        Missing(recipe, target, 1, "00000000000000aa", "failed", "gpu-oom: CUDA out of memory", ("ar", "de")),
        Missing(recipe, target, 2, "00000000000000ab", "running", "", ("zh",)),
    )
    not_counted = (NotCounted("squad.mnli-s1--xnli de", "00000000000000ad", "its checksum is not that of its content"),)
    divergences = (Divergence("squad-s1", "00000000000000ac", ("squad",), 0.4, 3),)
    return replace(
        full, finished=full.total // 2, missing=missing, diverged=divergences, not_counted=not_counted,
        studies=(study(full.recipes[-1]),), counts={"finished": full.total // 2, "running": 3, "failed": 1},
    )  # fmt: skip


def study(name: str) -> AskedStudy:
    """Of a finding with each kind of figure, in which something has this name."""
    columns = (StudyColumn("effect", "text"), StudyColumn("points", "difference"), StudyColumn("95 %", "interval"))
    table = Table("Effects", columns, ((f"{name} last", 1.25, (0.5, 2.0)), ("squad last", -0.5, None)), ("a caption",))
    figures = (
        Estimates("Effects", "points", (Estimate(name, 1.25, (0.5, 2.0), marked=True), Estimate("squad", -0.5, None))),
        Matrix("Neighbours", "points", (name, "squad"), ("squad",), ((1.0,), (None,)), frozenset(((name, "squad"),))),
        Scatter("Dev", "accuracy", "gain", (Point(name, 1.0, 2.0), Point("squad", 2.0, 3.0)), (1.0, 1.0)),
    )
    finding = Finding(
        "order",
        "The order changed transfer.",
        (table, table),
        figures,
        ("2 of 6 orders; more is in `stepstone table`",),
    )
    return AskedStudy("Does the order change transfer?", finding, ("3 of 9 scores are missing",))


def _target(
    target: str,
    recipes: Sequence[str],
    languages: Sequence[str],
    seeds: int,
    gains: dict[str, float],
    draw: np.random.Generator,
) -> TargetGrids:
    groups = {
        by: _grid(f"{target} by {by}", recipes, ["mean", *facts.groups(languages, by)], seeds, gains, draw)
        for by in _GROUPINGS
    }
    of_languages = _grid(f"{target} by language", recipes, ["mean", *languages], seeds, gains, draw)
    return TargetGrids(target, "accuracy", of_languages, groups)


def _grid(
    title: str,
    recipes: Sequence[str],
    columns: Sequence[str],
    seeds: int,
    gains: dict[str, float],
    draw: np.random.Generator,
) -> Grid:
    cells: dict[tuple[str, str], Cell] = {}
    for column in columns:
        baseline = 60 + 10 * draw.normal() + draw.normal(size=seeds)
        for recipe in recipes:
            differences = gains[recipe] + draw.normal() + 0.5 * draw.normal(size=seeds)
            is_baseline = recipe == "none"
            values = baseline if is_baseline else baseline + differences
            cells[recipe, column] = Cell(
                float(values.mean()),
                float(values.std(ddof=1)) if seeds > 1 else None,
                seeds,
                None if is_baseline else float(differences.mean()),
                None if is_baseline or seeds < 2 else float(differences.std(ddof=1)),
                0,
                0,
                tuple(values.tolist()),
                () if is_baseline else tuple(differences.tolist()),
            )
    sheet_columns = tuple(Column(name, "accuracy", "accuracy") for name in columns)
    comparisons = significance.adjusted(significance.of_cells(cells))
    rows = entries.of_cells(cells, recipes, sheet_columns, comparisons, True)
    return Grid(Sheet(title, sheet_columns, rows, ("mean over languages, in percent",)), (2000,) * len(columns))


def _curve(training: str, seed: int, stage: str, points: int, draw: np.random.Generator) -> Curve:
    steps = np.arange(1, points + 1) * 50
    loss = 0.4 + 0.8 * np.exp(-steps / 800) + 0.05 * draw.normal(size=points)
    dev = tuple((int(steps[-1] * (epoch + 1) / 3), 70.0 + 3 * epoch) for epoch in range(3))
    losses = tuple(float(f"{value:.4g}") for value in loss)
    return Curve(training, seed, stage, tuple(steps.tolist()), losses, dev, 2)


def _costs(recipes: Sequence[str], runs: int) -> Costs:
    by_recipe = tuple(Cost(recipe, 10.0 + n, 0.0, 1.0, 0.5 * n) for n, recipe in enumerate(recipes))
    total = Cost("all", sum(c.useful for c in by_recipe), 0.0, float(len(recipes)), sum(c.wasted for c in by_recipe))
    kinds = (Cost("train mnli", 20.0, 0.0, 1.0, 0.0),)
    return Costs("GPU-hours", total, by_recipe, kinds, (("diverged", 2.0),), runs, 2 * runs, 12.0, 30.5)
