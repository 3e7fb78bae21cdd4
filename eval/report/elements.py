"""Pieces of HTML that several sections of a report are made of: tables, and what is folded."""

from collections.abc import Sequence

from eval.report import heat
from eval.report.words import cut, escape

_MOST_ROWS = 2000  # of a table: a page is read by people


def table(
    caption: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[object]],
    numbers: Sequence[int] = (),
    most_rows: int = _MOST_ROWS,
) -> str:
    """An ordinary table. `numbers`: columns that are set to the right; `most_rows`: what is more is counted."""
    head = "".join(f'<th scope="col"{_side(number, numbers)}>{escape(name)}</th>' for number, name in enumerate(heads))
    body = "\n".join(_row(cells, numbers) for cells in rows[:most_rows])
    remark = f"\n<p>{len(rows) - most_rows:,} rows more are not shown.</p>" if len(rows) > most_rows else ""
    scrolled_table = heat.scrolled(
        caption, '<table class="words">', f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>"
    )
    return scrolled_table + remark


def _row(cells: Sequence[object], numbers: Sequence[int]) -> str:
    first, *more = (escape(str(cell)) for cell in cells)
    columns = "".join(f"<td{_side(number, numbers)}>{text}</td>" for number, text in enumerate(more, 1))
    return f'<tr><th scope="row">{first}</th>{columns}</tr>'


def _side(column: int, numbers: Sequence[int]) -> str:
    return ' class="num"' if column in numbers else ""


def folded(title: str, html: str) -> str:
    """Behind its title; "" where there is nothing."""
    return f"<details><summary>{title}</summary>\n{html}\n</details>\n" if html else ""


def notes(lines: Sequence[str]) -> str:
    """What a reader must know of numbers, folded."""
    items = "\n".join(f"<li>{escape(cut(line, 1000))}</li>" for line in lines)
    return f'<details><summary>How to read it</summary><ul class="dim">\n{items}\n</ul></details>' if items else ""
