"""Of several start models the collected rows are one table: told apart by `model`, compared each with its own."""

from itertools import product
from pathlib import Path
from typing import Any

import polars
import pytest

from eval.tables import diff
from eval.tables.rows import read_parquet
from launch.plan import Plan
from launch.results import table
from launch.store import Store
from tests.launch.merging.published import collected, publish, publish_language
from tests.launch.workspace import Workspace, write_model

GRID: dict[str, Any] = {"recipes": ["none", "squad"], "targets": ["tatoeba"], "seeds": ["1"]}


@pytest.fixture
def plan(workspace: Workspace) -> Plan:
    write_model(workspace.root / "large", 9)
    return workspace.plan(**GRID, model=None, models={"large": "./large", "small": "./model"})


def test_rows_are_told_apart_by_their_model(plan: Plan) -> None:
    publish(plan)
    collection = collected(plan)
    frame = polars.read_parquet(collection.path)
    assert frame.columns[:2] == ["model", "recipe"]
    runs = frame.filter("primary").select("model", "recipe", "language").rows()
    assert runs == list(product(("large", "small"), ("none", "squad"), ("de", "sw")))
    assert list(dict.fromkeys(row.recipe for row in collection.rows)) == list(plan.recipe_names)
    assert read_parquet(collection.path) == collection.rows
    cells = table.cells(plan, Store(plan.experiment.store), collection.rows)
    assert cells["small: squad", "tatoeba"].difference == 0.0 and cells["small: none", "tatoeba"].difference is None


def test_one_is_compared_with_its_own_none_alone(plan: Plan) -> None:
    store = Store(plan.experiment.store)
    for stage in plan.stages.values():
        if stage.kind == "evaluate" and stage.name != "small/start--tatoeba":
            for language in ("de", "sw"):
                publish_language(plan, store, stage, language)
    cells = table.cells(plan, store, collected(plan).rows)
    assert cells["large: squad", "tatoeba"].difference == 0.0
    assert cells["small: none", "tatoeba"].missing == 2 and cells["small: squad", "tatoeba"].difference is None
    assert [(gap.recipe, gap.language) for gap in collected(plan).missing] == [
        ("small: none", "de"), ("small: none", "sw"),
    ]  # fmt: skip


def test_without_labels_the_model_is_named_and_is_no_part_of_a_recipe(workspace: Workspace, tmp_path: Path) -> None:
    plan = workspace.plan(**GRID)
    publish(plan)
    collection = collected(plan)
    assert set(collection.table["model"]) == {"./model"}
    assert {row.recipe for row in collection.rows} == {"none", "squad"}
    collection.table.drop("model").write_parquet(tmp_path / "before.parquet")
    before = read_parquet(tmp_path / "before.parquet")
    assert [row._replace(model=None) for row in collection.rows] == before
    sheet = diff.of_sides(diff.Side("A", before), diff.Side("B", collection.rows))
    assert [name for name, _ in sheet.rows] == ["none", "squad"]
    assert all(entry.value == 0.0 for _, of_row in sheet.rows for entry in of_row)


def test_two_tables_of_one_model_each_are_compared_whatever_their_labels(plan: Plan) -> None:
    publish(plan)
    rows = collected(plan).rows
    sides = [diff.Side(label, [row for row in rows if row.model == label]) for label in ("large", "small")]
    assert [name for name, _ in diff.of_sides(*sides).rows] == ["none", "squad"]
    both = diff.of_sides(diff.Side("both", rows), diff.Side("both", rows))
    assert [name for name, _ in both.rows] == list(plan.recipe_names)
