"""The cells drawn as a table, recipe x target: for a terminal, and in Markdown."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from eval.tables.cells import Cell

_RECIPE_WIDTH = 36  # longer ones are folded


def draw(cells: Mapping[tuple[str, str], Cell], recipes: Sequence[str], targets: Mapping[str, str]) -> Table:
    """The table for a terminal. `targets`: the name of each target's metric. Differences stand below the scores."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("recipe", overflow="fold", max_width=_RECIPE_WIDTH)
    for target, metric in targets.items():
        table.add_column(f"{target}\n{metric}", justify="right", no_wrap=True)
    for recipe in recipes:
        row = [cells.get((recipe, target)) for target in targets]
        table.add_row(recipe, *(_lines(cell) for cell in row))
    return table


def _lines(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    difference = cell.show_difference()
    return cell.show() + (f"\n{difference}" if difference else "")


def markdown(cells: Mapping[tuple[str, str], Cell], recipes: Sequence[str], targets: Mapping[str, str]) -> str:
    """The same table in Markdown."""
    lines = ["| recipe | " + " | ".join(f"{target} ({metric})" for target, metric in targets.items()) + " |"]
    lines.append("| --- |" + " ---: |" * len(targets))
    for recipe in recipes:
        texts = [_lines(cells.get((recipe, target))).replace("\n", " (") for target in targets]
        lines.append(f"| {recipe} | " + " | ".join(text + (")" if "(" in text else "") for text in texts) + " |")
    return "\n".join(lines) + "\n"
