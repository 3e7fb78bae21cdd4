"""What `collect` prints: the results table and the averages on stdout; `--json` for programs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from eval.tables import table
from eval.tables.cells import Cell
from eval.tables.rows import ROW_SCHEMA, Row, as_records
from launch.plan import Plan
from launch.results import table as result_table
from launch.store import Store

C = TypeVar("C")


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
    deviation_text = f"± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    console.print(f"{plan.experiment.name}: mean over languages, in percent; {deviation_text};", soft_wrap=True)
    console.print("below a score its difference to the recipe none, seed by seed", soft_wrap=True)
    recipe_names = result_table.recipe_names(plan)
    _draw(
        result_table.cells(plan, store, rows, profile), recipe_names, result_table.metrics(plan, rows, profile), console
    )
    for average_of_benchmark in result_table.averaged(plan, rows, average) if profile == "xtreme" else ():
        if average_of_benchmark.recipes:
            console.print(
                f"average {average_of_benchmark.benchmark.name}: mean over tasks", highlight=False, soft_wrap=True
            )
            _draw(
                average_of_benchmark.cells,
                average_of_benchmark.recipes,
                average_of_benchmark.benchmark.columns,
                console,
            )
        for line in average_of_benchmark.missing:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    for note in result_table.notes(plan, store, rows, result_table.metrics(plan, rows, profile)):
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


def _draw(
    cells: Mapping[tuple[str, str], Cell], recipe_names: Sequence[str], columns: Mapping[str, str], console: Console
) -> None:
    print_folded(
        list(columns),
        lambda names: table.draw(cells, recipe_names, {name: columns[name] for name in names}),
        console,
    )


def print_folded(columns: Sequence[C], draw: Callable[[Sequence[C]], Table], console: Console) -> None:
    """The table of these columns; as several, one below the other, where the console is too narrow for all."""
    wide_options = console.options.update(max_width=10_000)
    while columns:
        count = len(columns)
        while count > 1 and console.measure(draw(columns[:count]), options=wide_options).maximum > console.width:
            count -= 1
        console.print(draw(columns[:count]))
        columns = columns[count:]
