"""What `stepstone table` prints and writes: tables to publish, in five formats, and as JSON."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from eval.tables import table
from eval.tables.latex import latex
from eval.tables.long import long_csv
from eval.tables.page import page
from eval.tables.sheet import SHEET_SCHEMA, Sheet, as_records
from launch.show.results import print_folded
from launch.text import wrapped
from slurm.base import UsageError
from slurm.base.files import write_atomic

Format = Literal["terminal", "csv", "markdown", "latex", "html"]
_SUFFIXES: dict[Format, str] = {
    "terminal": ".txt",
    "csv": ".csv",
    "markdown": ".md",
    "latex": ".tex",
    "html": ".html",
}
_WIDTH = 80  # of what is written to a file


def format_of(text: str | None, out: Path | None) -> Format:
    """The format of this name, else that of the file's name. UsageError for an unknown one."""
    for name, suffix in _SUFFIXES.items():
        if text == name or (text is None and out is not None and out.suffix == suffix):
            return name
    if text is not None:
        raise UsageError(f"--format {text}: it is {', '.join(list(_SUFFIXES)[:-1])} or {list(_SUFFIXES)[-1]}")
    if out is not None:
        raise UsageError(
            f"--out {out}: which format? its name ends in {', '.join(_SUFFIXES.values())}, or give --format"
        )
    return "terminal"


def tables_json(sheets: Sequence[Sheet]) -> dict[str, Any]:
    """The contract of `stepstone table FILE --json`: a record a cell, and what a reader must know of each table."""
    return {
        "schema": SHEET_SCHEMA,
        "tables": [
            {"title": sheet.title, "caption": list(sheet.caption), "cells": as_records(sheet)} for sheet in sheets
        ],
    }


def text_of(sheets: Sequence[Sheet], name: Format) -> str:
    """The tables in a format, as a file has them."""
    if name == "csv":
        return long_csv(sheets)
    if name == "latex":
        return latex(sheets)
    if name == "html":
        return page(sheets)
    if name == "markdown":
        return "\n".join(table.markdown_sheet(sheet) for sheet in sheets)
    console = Console(file=StringIO(), width=_WIDTH, highlight=False, no_color=True, legacy_windows=False)
    print_tables(sheets, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO, as given above
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


def print_tables(sheets: Sequence[Sheet], console: Console) -> None:
    """The tables for a terminal, folded to its width."""
    for sheet in sheets:
        console.print(sheet.title, markup=False, style="bold", soft_wrap=True)
        print_folded(sheet.columns, lambda columns, sheet=sheet: table.draw_sheet(sheet, columns), console)  # type: ignore[misc]
        caption = list(sheet.caption)
        if sheet.has_best:
            caption.insert(1, f"{table.BEST} {sheet.best_words}")
        for line in caption:
            for part in wrapped(line, console.width):
                console.print(part, markup=False, soft_wrap=True)
        if sheet is not sheets[-1]:
            console.print()


def write(text: str, out: Path) -> None:
    """What `text_of` gives to a file, whole or not at all. UsageError where it cannot be."""
    if out.is_dir():
        raise UsageError(f"--out {out}: is a folder; name the file in it")
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}")
    write_atomic(out, text)
