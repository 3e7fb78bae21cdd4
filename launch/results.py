"""An experiment's results: the published scores of its evaluate stages as rows and as the table."""

from pathlib import Path
from typing import Any

from eval import collect, table
from eval.collect import Row
from eval.table import Cell
from launch import recipes
from launch.plan import Plan, Stage
from launch.store import Store
from slurm.files import make_folder, write_atomic


def rows(plan: Plan, store: Store) -> list[Row]:
    """Every published score that the experiment asks for, in the plan's order."""
    found: list[Row] = []
    done: set[tuple[str, str, int | None]] = set()
    for (recipe, target, _), key in plan.paths.items():
        stage = plan.stages[key]
        if (recipe, target, stage.seed) not in done:
            done.add((recipe, target, stage.seed))
            found += _stage_rows(plan, store, stage, recipe, target)
    return found


def _stage_rows(plan: Plan, store: Store, stage: Stage, recipe: str, target: str) -> list[Row]:
    primary = plan.targets[target].task.metric
    return [
        Row(
            recipe, target, language, stage.seed, metric, metric == primary, score,
            result["examples"], stage.key, result["generation"], result["code"],
        )
        for language, result in store.language_results(plan, stage).items()
        for metric, score in result["scores"].items()
    ]  # fmt: skip


def expected(plan: Plan, store: Store) -> dict[tuple[str, str, int | None], list[str]]:
    """The languages that every (recipe, target, seed) must have before it counts: all but those without gold."""
    return {
        (recipe, target, plan.stages[key].seed): [
            language
            for language in plan.targets[target].languages
            if language not in (done := store.language_results(plan, plan.stages[key])) or done[language]["scores"]
        ]
        for (recipe, target, _), key in plan.paths.items()
    }


def cells(plan: Plan, store: Store, found: list[Row]) -> dict[tuple[str, str], Cell]:
    """The table's cells, by (recipe, target)."""
    return table.cells(found, expected(plan, store))


def recipe_names(plan: Plan) -> list[str]:
    """The recipes as shown, in the file's order."""
    return [recipes.show(recipe) for recipe in plan.experiment.recipes]


def metrics(plan: Plan) -> dict[str, str]:
    """By target: the metric that the table shows."""
    return {name: definition.task.metric for name, definition in plan.targets.items()}


def write(plan: Plan, store: Store, found: list[Row]) -> Path:
    """Write `results.parquet` and `table.md` to the experiment's results folder."""
    folder = make_folder(plan.experiment.store / "results" / plan.experiment.name)
    collect.write_parquet(found, folder)
    write_atomic(folder / "table.md", table.markdown(cells(plan, store, found), recipe_names(plan), metrics(plan)))
    return folder


def score(plan: Plan, store: Store, stage: Stage) -> float | None:
    """A stage's own score: a train's selected English dev score, an evaluate's mean over its languages."""
    if stage.kind == "train":
        result: dict[str, Any] | None = store.train_result(stage)
        return None if result is None else float(result["dev_score"])
    results = store.language_results(plan, stage)
    metric = plan.by_digest[stage.definition].task.metric
    values = [result["scores"][metric] for result in results.values() if result["scores"]]
    return sum(values) / len(values) if values else None
