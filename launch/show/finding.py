"""What `stepstone study` prints: a study's sentence, tables folded to the terminal, limits; and the list of studies."""

import textwrap
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as Drawn

from eval.studies import STUDIES, forms
from eval.studies.finding import Column, Table, write
from eval.studies.study import Need
from launch.show.results import print_folded
from launch.studies import Answer
from launch.text import labelled, wrapped

_ROWS = 40  # of a table; what is more is counted
_TEXT, _HEADING = 30, 12  # letters: longer texts are folded, longer headings wrapped
_NEEDS: dict[Need, str] = {
    "runs": "scores", "dev_points": "English dev of recipes' steps", "measures": "measures of their tasks' data",
    "representations": "measures on parallel text", "prompted_targets": "answers to prompts",
}  # fmt: skip


def list_lines(width: int) -> list[str]:
    """Name, question and what each is drawn from."""
    rows = [
        (study.name, f"{study.question} Drawn from {' and '.join(_NEEDS[need] for need in study.needs)}.")
        for study in STUDIES
    ]
    return labelled(rows, width)


def list_json() -> dict[str, Any]:
    """The contract of `stepstone study --json`."""
    studies = [{"name": s.name, "question": s.question, "needs": list(s.needs)} for s in STUDIES]
    return {"schema": forms.SCHEMA, "studies": studies}


def findings_json(answers: Sequence[Answer]) -> dict[str, Any]:
    """The contract of `stepstone study NAME FILE --json`: a finding; where start models have labels, one by each."""
    if any(answer.model for answer in answers):
        return {"schema": forms.SCHEMA, "models": {answer.model: _finding_json(answer) for answer in answers}}
    (answer,) = answers
    return _finding_json(answer)


def _finding_json(answer: Answer) -> dict[str, Any]:
    about = {"schema": forms.SCHEMA, "question": answer.study.question, "lacking": list(answer.lacking)}
    return about | forms.as_record(answer.finding)


def print_finding(answer: Answer, console: Console) -> None:
    """For a terminal, at its width."""
    finding = answer.finding
    if answer.model:
        _print(f"start model {answer.model}", console, "bold")
    _print(answer.study.question, console, "bold")
    _print(finding.sentence, console)
    for table in finding.tables:
        console.print()
        _print_table(table, console)
    if finding.limits:
        console.print()
        for line in labelled([("limits" if not at else "", line) for at, line in enumerate(finding.limits)],
                             console.width):  # fmt: skip
            console.print(line, markup=False, soft_wrap=True)


def _print_table(table: Table, console: Console) -> None:
    _print(table.title, console, "bold")
    labels = _labels(table)
    columns = [column for column in table.columns if column not in labels]
    print_folded(columns, lambda shown_columns: _drawn(table, [*labels, *shown_columns]), console)
    if len(table.rows) > _ROWS:
        _print(f"… {len(table.rows) - _ROWS:,} more rows: --json and --out DIR have all", console)
    _print(" ".join(table.caption), console)


def _labels(table: Table) -> list[Column]:
    """What tells rows apart, and so stands before every part of a folded table: the texts at its beginning, after a
    single one also a count."""
    texts = list(takewhile(lambda column: column.kind == "text", table.columns))
    following = table.columns[len(texts) : len(texts) + 1]
    return [*texts, *(column for column in following if len(texts) == 1 and column.kind == "count")]


def _drawn(table: Table, columns: Sequence[Column]) -> Drawn:
    """Numbers stay whole; texts may be folded."""
    places = [table.columns.index(column) for column in columns]
    drawn_table = Drawn(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        if column.kind == "text":
            drawn_table.add_column(column.name, overflow="fold", max_width=_TEXT)
        else:
            drawn_table.add_column("\n".join(textwrap.wrap(column.name, _HEADING)), justify="right", no_wrap=True)
    for row in table.rows[:_ROWS]:
        drawn_table.add_row(*(write(row[place], table.columns[place].kind) for place in places))
    return drawn_table


def _print(text: str, console: Console, style: str | None = None) -> None:
    for line in wrapped(text, console.width) if text else ():
        console.print(line, markup=False, soft_wrap=True, style=style)
