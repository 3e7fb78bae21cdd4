"""The cells drawn as a table, recipe x target: for a terminal, and in Markdown."""

from collections.abc import Mapping, Sequence
from itertools import accumulate

from rich import box
from rich.table import Table
from rich.text import Text

from eval.tables.baseline import split
from eval.tables.cells import Cell
from eval.tables.sheet import Column, Entry, Sheet

_RECIPE_WIDTH = 36  # longer ones are folded
BEST = "^"


def draw(cells: Mapping[tuple[str, str], Cell], recipes: Sequence[str], targets: Mapping[str, str]) -> Table:
    """The table for a terminal. `targets`: the name of each target's metric. Differences stand below the scores."""
    table = _empty(list(targets.items()))
    for before, recipe in zip(["", *recipes], recipes, strict=False):
        if before and split(before)[0] != split(recipe)[0]:
            table.add_section()
        row = [cells.get((recipe, target)) for target in targets]
        table.add_row(recipe, *(_lines(cell) for cell in row))
    return table


def _empty(headings: Sequence[tuple[str, str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("recipe", overflow="fold", max_width=_RECIPE_WIDTH)
    for name, detail in headings:
        table.add_column(f"{name}\n{detail}", justify="right", no_wrap=True)
    return table


def _lines(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    difference = cell.show_difference()
    return cell.show() + (f"\n{difference}" if difference else "")


def markdown(cells: Mapping[tuple[str, str], Cell], recipes: Sequence[str], targets: Mapping[str, str]) -> str:
    """The same table in Markdown."""
    lines = _heading([f"{target} ({metric})" for target, metric in targets.items()])
    for recipe in recipes:
        texts = [_lines(cells.get((recipe, target))).replace("\n", " (") for target in targets]
        lines.append(f"| {recipe} | " + " | ".join(text + (")" if "(" in text else "") for text in texts) + " |")
    return "\n".join(lines) + "\n"


def _heading(names: Sequence[str]) -> list[str]:
    return ["| recipe | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]


def draw_sheet(sheet: Sheet, columns: Sequence[Column]) -> Table:
    """Some columns of a sheet for a terminal. Marks stand in a column of their own, so that numbers end together."""
    places = [sheet.columns.index(column) for column in columns]
    rows = [(name, [of_row[place] for place in places]) for name, of_row in (*sheet.rows, *sheet.references)]
    widths = [max((len(_marks(of_row[at])) for _, of_row in rows), default=0) for at in range(len(places))]
    table = _empty([(column.name, column.detail) for column in columns])
    ends = set(accumulate(map(len, sheet.by_model)))  # below the rows from each start model
    for number, (name, of_row) in enumerate(rows):
        if number in ends:
            table.add_section()
        table.add_row(name, *(_text(entry, width) for entry, width in zip(of_row, widths, strict=True)))
    return table


def _marks(entry: Entry) -> str:
    return entry.dagger + entry.mark + (BEST if entry.best else "")


def _text(entry: Entry, width: int) -> Text:
    marks = _marks(entry).ljust(width)
    lines = [f"{entry.number}{marks}"]
    if entry.interval is not None:
        lines.append(entry.spread + " " * width)
    elif entry.spread:
        lines = [f"{entry.number} {entry.spread}{marks}"]
    return Text("\n".join(lines), style="bold" if entry.best else "", justify="right")


def markdown_sheet(sheet: Sheet) -> str:
    """A sheet in Markdown, its caption as a list below it."""
    lines = [f"**{_plain(sheet.title)}**", ""]
    lines += _heading([_plain(f"{column.name} ({column.detail})") for column in sheet.columns])
    for name, of_row in (*sheet.rows, *sheet.references):
        lines.append(f"| {_plain(name)} | " + " | ".join(map(_in_markdown, of_row)) + " |")
    caption = [*sheet.caption, *([f"bold: {sheet.best_words}"] if sheet.has_best else [])]
    return "\n".join([*lines, "", *(f"- {_plain(line)}" for line in caption)]) + "\n"


def _in_markdown(entry: Entry) -> str:
    text = _plain(" ".join(filter(None, (entry.number, entry.spread, entry.dagger))))
    return (f"**{text}**" if entry.best else text) + _plain(entry.mark)


def _plain(text: str) -> str:
    """Without what Markdown would read as a sign of its own."""
    return "".join(f"\\{letter}" if letter in "\\`*_|<>[]#~" else letter for letter in text)
