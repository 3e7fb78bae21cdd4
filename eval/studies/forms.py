"""A finding in the forms that other programs read: JSON, CSV and Markdown. Numbers are unrounded but in Markdown."""

import csv
import io
import re
from dataclasses import asdict
from typing import Any

from eval.studies.finding import Column, Figure, Finding, Kind, Matrix, Table, Value, write

SCHEMA = 1  # of `as_record`


def as_record(finding: Finding) -> dict[str, Any]:
    """Plain JSON values. Of a figure `kind` says which: `scatter`, `estimates` or `matrix`; an interval is a list of
    both ends, in percent points or whatever its column is in."""
    return {
        "study": finding.study,
        "sentence": finding.sentence,
        "tables": [asdict(table) for table in finding.tables],
        "figures": [_figure_record(figure) for figure in finding.figures],
        "limits": list(finding.limits),
    }


def _figure_record(figure: Figure) -> dict[str, Any]:
    record = {"kind": type(figure).__name__.lower()} | asdict(figure)
    if isinstance(figure, Matrix):
        record["marked"] = sorted(figure.marked)
    return record


def file_name(title: str) -> str:
    """A title as a part of a file's name."""
    return re.sub(r"[^\w.+]+", "-", title.lower().replace("'", "")).strip("-.")[:80]


def table_csv(table: Table) -> str:
    """A row a line; of an interval both ends, each in its own column. What there is none of is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name for column in table.columns for name in _names(column)])
    for row in table.rows:
        writer.writerow([
            cell for column, value in zip(table.columns, row, strict=True) for cell in _cells(value, column.kind)
        ])  # fmt: skip
    return text.getvalue()


def _names(column: Column) -> tuple[str, ...]:
    return (f"{column.name} low", f"{column.name} high") if column.kind == "interval" else (column.name,)


def _cells(value: Value, kind: Kind) -> tuple[Any, ...]:
    if kind == "interval":
        return value if isinstance(value, tuple) else ("", "")
    return ("" if value is None else value,)


def markdown(finding: Finding, question: str) -> str:
    """A section with the sentence, the tables and the limits."""
    lines = [f"## {question}", "", _plain(finding.sentence), ""]
    for table in finding.tables:
        lines += [f"**{_plain(table.title)}**", ""]
        lines.append("| " + " | ".join(_plain(column.name) for column in table.columns) + " |")
        lines.append("|" + "".join(" --- |" if column.kind == "text" else " ---: |" for column in table.columns))
        for row in table.rows:
            texts = (write(value, column.kind) for column, value in zip(table.columns, row, strict=True))
            lines.append("| " + " | ".join(map(_plain, texts)) + " |")
        lines += ["", *(_plain(line) for line in table.caption), *([""] if table.caption else [])]
    lines += [f"- {_plain(line)}" for line in finding.limits]
    return "\n".join(lines).rstrip() + "\n"


def _plain(text: str) -> str:
    """Without what Markdown would read as a sign of its own."""
    return "".join(f"\\{letter}" if letter in "\\`*_|<>[]#~" else letter for letter in text)
