"""`stepstone report`: what came out, as one HTML page that can be sent to anybody."""

from pathlib import Path
from typing import Annotated

import typer

from launch.cli.options import File, load_plan
from launch.text import say


def report(
    file: File,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write it there [results/<experiment>/report.html in the store]."),
    ] = None,
) -> None:
    """Write what came out as one HTML page: answer, tables, plots, provenance."""
    from launch.report import writing

    if out is not None:
        writing.check(out)
    say(f"written: {writing.write(load_plan(file), out)}")
