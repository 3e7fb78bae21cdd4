"""Sheets as one HTML page that stands alone: no script, no network."""

from collections.abc import Sequence
from html import escape

from eval.tables.sheet import Entry, Sheet

_STYLE = """\
:root { color-scheme: light dark; }
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em; }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: bold; padding-bottom: .5em; }
th, td { padding: .2em .7em; text-align: right; white-space: nowrap; }
th[scope=row], thead th:first-child { text-align: left; }
th[scope=row] { font-weight: normal; }
sup { line-height: 0; }
thead tr, tbody { border-top: 1px solid; }
tbody:last-child { border-bottom: 1px solid; }
thead small { display: block; font-weight: normal; }
ul { max-width: 60em; padding-left: 1.2em; }
@media print { body { margin: 0; } }"""


def page(sheets: Sequence[Sheet]) -> str:
    """The page. Its title is that of the first sheet."""
    title = escape(sheets[0].title) if sheets else ""
    head = f'<meta charset="utf-8">\n<title>{title}</title>\n<style>\n{_STYLE}\n</style>'
    body = "\n".join(map(_table, sheets))
    return f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'


def _table(sheet: Sheet) -> str:
    columns = "".join(
        f'<th scope="col">{escape(column.name)}<small>{escape(column.detail)}</small></th>' for column in sheet.columns
    )
    bodies = "\n".join(
        "<tbody>\n" + "\n".join(_row(name, of_row) for name, of_row in rows) + "\n</tbody>"
        for rows in (*sheet.by_model, sheet.references)
        if rows
    )
    lines = [*sheet.caption, *([f"bold: {sheet.best_words}"] if sheet.has_best else [])]
    notes = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return (
        f"<table>\n<caption>{escape(sheet.title)}</caption>\n"
        f'<thead>\n<tr><th scope="col">recipe</th>{columns}</tr>\n</thead>\n{bodies}\n</table>\n<ul>\n{notes}\n</ul>'
    )


def _row(name: str, of_row: Sequence[Entry]) -> str:
    cells = "".join(f"<td>{_cell(entry)}</td>" for entry in of_row)
    return f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'


def _cell(entry: Entry) -> str:
    text = escape(" ".join(filter(None, (entry.number, entry.spread, entry.dagger))))
    return (f"<strong>{text}</strong>" if entry.best else text) + (f"<sup>{entry.mark}</sup>" if entry.mark else "")
