"""TODO."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from eval.tables import table
from eval.tables.cells import Cell
from eval.tables.rows import ROW_SCHEMA, Row, as_records
from launch.plan import Plan
from launch.results import table as result_table
from launch.store import Store

# --- the results


def results_json(rows: list[Row]) -> dict[str, Any]:
    """The contract of `stepstone collect FILE --json`: one row per recipe, target, language, seed, metric."""
    return {"schema": ROW_SCHEMA, "rows": as_records(rows)}


def results_text(
    plan: Plan,
    store: Store,
    rows: list[Row],
    console: Console,
    profile: result_table.Profile = "xtreme",
    average: str | None = None,
) -> None:
    """The table, recipe x target, with the difference to `none`; then the benchmarks' averages."""
    seeds = len(plan.experiment.seeds)
    spread = f"± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    console.print(f"{plan.experiment.name}: mean over languages, in percent; {spread};")
    console.print("below a score its difference to the recipe none, seed by seed")
    recipe_names = result_table.recipe_names(plan)
    _draw(
        result_table.cells(plan, store, rows, profile), recipe_names, result_table.metrics(plan, rows, profile), console
    )
    for made in result_table.averaged(plan, rows, average) if profile == "xtreme" else ():
        if made.recipes:
            console.print(f"average {made.benchmark.name}: mean over tasks", highlight=False)
            _draw(made.cells, made.recipes, made.benchmark.columns, console)
        for line in made.missing:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    for note in result_table.notes(plan, store, rows, profile):
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


def _draw(
    cells: Mapping[tuple[str, str], Cell], recipe_names: Sequence[str], columns: Mapping[str, str], console: Console
) -> None:
    """The table; as several, one below the other, where the console is too narrow for all columns."""
    unlimited = console.options.update(max_width=10_000)
    names = list(columns)
    while names:
        shown = list(names)
        while True:
            drawn = table.draw(cells, recipe_names, {name: columns[name] for name in shown})
            if len(shown) == 1 or console.measure(drawn, options=unlimited).maximum <= console.width:
                break
            shown.pop()
        console.print(drawn)
        names = names[len(shown) :]
