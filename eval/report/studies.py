"""The section of a study: what it asks, its sentence, plots, tables, and the limits of the conclusion."""

import re
from collections.abc import Callable

from eval.report import elements
from eval.report.content import AskedStudy
from eval.report.words import escape
from eval.studies.finding import Table, write

_MOST_ROWS = 200  # of a table; `stepstone study` writes all
_COMMAND = re.compile("`(stepstone [a-z]+)`")
_PLOTS = ("estimates", "matrix", "scatter")


def html(study: AskedStudy, plot: Callable[[str], str]) -> str:
    """`plot`: the HTML of the plot of this name."""
    finding = study.finding
    lacking = "".join(f'<p class="partial">So far: {escape(line)}.</p>\n' for line in study.lacking)
    kinds = {type(figure).__name__.lower() for figure in finding.figures}
    figures = "".join(plot(f"{study.address}-{kind}") for kind in _PLOTS if kind in kinds)
    first, *more = [_table(table) for table in finding.tables] or [""]
    limits = "".join(f"<li>{_limit(line)}</li>" for line in finding.limits)
    return (
        f"<p>{escape(study.question)}</p>\n{lacking}"
        f'<p class="answer">{escape(finding.sentence)}</p>\n{first}{figures}'
        + elements.folded("The other tables", "\n".join(more))
        + (f"<p>What it cannot show:</p>\n<ul>{limits}</ul>" if limits else "")
    )


def _limit(line: str) -> str:
    return _COMMAND.sub(r"<code>\1</code>", escape(line))


def _table(table: Table) -> str:
    rows = [
        tuple(write(value, column.kind) for value, column in zip(row, table.columns, strict=True)) for row in table.rows
    ]
    numbers = [place for place, column in enumerate(table.columns) if column.kind != "text"]
    caption = f'\n<p class="dim">{escape(" ".join(table.caption))}</p>\n' if table.caption else ""
    return elements.table(table.title, [column.name for column in table.columns], rows, numbers, _MOST_ROWS) + caption
