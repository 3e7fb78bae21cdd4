"""Grids as tables whose cells are coloured by their difference to `none`: everything is in the text as well."""

from collections.abc import Callable, Sequence

from eval.report.content import Grid
from eval.report.words import count, entry_text, escape, told
from eval.tables.baseline import split
from eval.tables.sheet import Entry

_CLOSE = 1e-9
Link = Callable[[int, int], str | None]  # the address of what a cell leads to, by row and column


def strongest(grids: Sequence[Grid]) -> float:
    """The largest difference, in points, that the colours of some tables reach to."""
    values = [
        abs(entry.value)
        for grid in grids
        for _, entries in grid.sheet.rows
        for entry in entries
        if entry.kind == "difference" and not entry.alone and entry.value is not None
    ]
    return max(values, default=0.0) or 1.0


def by_recipe(grid: Grid, caption: str, scale: float, link: Link) -> str:
    """Rows are recipes. What a cell tells on hover and focus is `told`; `link`: where it leads."""
    heads = "".join(_head(column.name, column.detail) for column in grid.sheet.columns)
    rows = "\n".join(
        f'{_next_model(grid, row)}<tr><th scope="row">{escape(recipe)}</th>'
        + "".join(
            _cell(
                entry,
                scale,
                _linked(entry, grid.examples[column], f"{recipe}, {grid.columns[column]}", link(row, column)),
            )
            for column, entry in enumerate(entries)
        )
        + "</tr>"
        for row, (recipe, entries) in enumerate(grid.sheet.rows)
    )
    return _table(caption, f'<th scope="col">recipe</th>{heads}', rows)


def _next_model(grid: Grid, row: int) -> str:
    """The rows from each start model are a part of the table."""
    is_first = row and split(grid.recipes[row])[0] != split(grid.recipes[row - 1])[0]
    return "</tbody>\n<tbody>\n" if is_first else ""


def by_column(grid: Grid, caption: str, scale: float, first_head: str, anchor: Callable[[int], str]) -> str:
    """Rows are the grid's columns (languages or groups), columns its recipes. `anchor`: the id of a recipe's head."""
    heads = "".join(
        f'<th scope="col" id="{anchor(number)}">{escape(recipe)}</th>' for number, recipe in enumerate(grid.recipes)
    )
    rows = "\n".join(
        f'<tr><th scope="row">{escape(column)}</th><td class="n">{grid.examples[number] or "-"}</td>'
        + "".join(_cell(entries[number], scale, _plain(entries[number])) for _, entries in grid.sheet.rows)
        + "</tr>"
        for number, column in enumerate(grid.columns)
    )
    return _table(caption, f'<th scope="col">{escape(first_head)}</th><th scope="col">n</th>{heads}', rows)


def _table(caption: str, heads: str, rows: str) -> str:
    return scrolled(caption, '<table class="heat">\n', f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>")


def scrolled(title: str, start: str, content: str) -> str:
    """A table that scrolls in itself where it is too wide, below its title, which is as wide as the page."""
    words = escape(title)
    return (
        f'<p class="title" aria-hidden="true">{words}</p>\n'
        f'<div class="scroll" role="region" tabindex="0" aria-label="{words}">\n'
        f'{start}<caption class="unseen">{words}</caption>\n{content}\n</table>\n</div>'
    )


def _head(name: str, detail: str) -> str:
    return f'<th scope="col">{escape(name)}<small>{escape(detail)}</small></th>'


def _cell(entry: Entry, scale: float, inside: str) -> str:
    if entry.kind != "difference" or entry.alone or entry.value is None:
        return f"<td>{inside}</td>"
    share = round(100 * min(1.0, abs(entry.value) / scale))
    side = "zero" if abs(entry.value) < _CLOSE else "up" if entry.value > 0 else "down"
    return f'<td class="{side}" style="--m:{share}">{inside}</td>'


def _linked(entry: Entry, examples: int, name: str, address: str | None) -> str:
    words = escape(told(entry, examples))
    tip = f'<span class="tip" role="tooltip"><b>{escape(name)}</b> {words}</span>'
    label = f'aria-label="{escape(name)}: {words}"'
    if address is None:
        return f'<span class="cell" tabindex="0" role="note" {label}>{_plain(entry)}{tip}</span>'
    return f'<a class="cell" href="#{address}" {label}>{_plain(entry)}{tip}</a>'


def _plain(entry: Entry) -> str:
    text = escape(entry_text(entry))
    text = f"<b>{text}</b>" if entry.best else text
    errors = entry.spread if entry.interval is not None else f"±{entry.error:.1f}" if entry.error is not None else ""
    lines = [errors] if errors and entry.value is not None else []
    if entry.missing and entry.value is not None:
        lines.append(f"{count(entry.seeds, 'seed')} so far")
    return text + "".join(f"<small>{escape(line)}</small>" for line in lines)
