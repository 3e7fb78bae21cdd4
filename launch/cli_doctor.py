"""`stepstone doctor`: what must hold before an experiment is sent."""

import json
from pathlib import Path
from typing import Annotated

import typer


def doctor(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="The experiment file.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check Slurm, its limits, the store's file system, GPUs and packages; exit code 1 where something is wrong."""
    from rich.console import Console
    from rich.table import Table

    from launch import doctor as looking
    from launch import experiment

    loaded = experiment.load(file) if file else None
    lines = list(looking.look(loaded, Path.cwd()))
    if as_json:
        print(json.dumps(looking.to_record(lines), ensure_ascii=False))
    else:
        grid = Table.grid(padding=(0, 2))
        for line in lines:
            grid.add_row(line.level, line.what, line.found + (f"; {line.fix}" if line.fix else ""))
        Console(highlight=False).print(grid, markup=False)
    if any(line.level == "error" for line in lines):
        raise typer.Exit(1)
