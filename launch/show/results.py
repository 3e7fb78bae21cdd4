"""What `collect` prints: the results table and the averages on stdout; `--json` for programs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from eval.tables import table
from eval.tables.baseline import baseline_words
from eval.tables.cells import Cell
from eval.tables.rows import ROW_SCHEMA
from launch.merging import Collected, SetAside
from launch.plan import Plan
from launch.results import table as result_table
from launch.results.table import Summary
from launch.text import as_typed

C = TypeVar("C")


_NAMED = 20  # results that were set aside; what is more is counted


def results_json(collection: Collected) -> dict[str, Any]:
    """The contract of `stepstone collect FILE --json`: the rows of results.parquet, and what does not count."""
    set_aside = [
        {"stage": of_result.stage, "what": of_result.what, "why": of_result.why, "path": str(of_result.path)}
        | {"moved": of_result.moved}
        for of_result in collection.set_aside
    ]
    return {"schema": ROW_SCHEMA, "rows": collection.table.to_dicts(), "set_aside": set_aside}


def what_does_not_count(plan: Plan, collection: Collected) -> list[str]:
    """Lines for people: results that do not verify and what to type, and how many are missing."""
    lines, file = damaged(plan, collection), as_typed(plan.experiment.path)
    states = collection.table.unique(["stage", "recipe", "target", "language", "seed"])["state"].to_list()
    missing = sum(state in ("missing", "set aside") for state in states)
    if missing:
        lines.append(f"missing: {missing:,} of {len(states):,} results; `stepstone status {file}` says why")
    return lines


def damaged(plan: Plan, collection: Collected) -> list[str]:
    """Lines for people: results that do not verify, and what to type."""
    file = as_typed(plan.experiment.path)
    lines = [_of_result(plan, of_result, file) for of_result in collection.set_aside[:_NAMED]]
    if len(collection.set_aside) > _NAMED:
        lines.append(f"does not count: {len(collection.set_aside) - _NAMED} more; all of them: collect {file} --json")
    return lines


def _of_result(plan: Plan, of_result: SetAside, file: str) -> str:
    where = as_typed(of_result.path)
    if not of_result.moved:
        return f"does not count: {of_result.what}: {of_result.why}; it stays: {where}"
    kind = plan.stages[of_result.stage].kind
    return (
        f"set aside: {of_result.what}: {of_result.why}; it lies at {where};"
        f" `stepstone submit {file}` {'trains' if kind == 'train' else 'evaluates'} anew"
    )


def results_text(plan: Plan, summary: Summary, console: Console) -> None:
    """The table, recipe x target, with the difference to `none`; then the benchmarks' averages."""
    seeds = len(plan.experiment.seeds)
    deviation_text = f"± standard deviation over {result_table.seeds_words(plan)}" if seeds > 1 else "one seed"
    console.print(f"{plan.experiment.name}: mean over languages, in percent; {deviation_text};", soft_wrap=True)
    baseline = baseline_words(summary.recipes)
    console.print(f"below a score its difference to the recipe {baseline}, seed by seed", soft_wrap=True)
    _draw(summary.cells, summary.recipes, summary.metrics, console)
    for average_of_benchmark in summary.averages:
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
    for note in summary.notes:
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
