"""`stepstone watch`: how experiments stand, live."""

import gc
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from launch.cli.options import load_plan
from launch.text import as_typed, say
from slurm.base import UsageError

Files = Annotated[list[Path], typer.Argument(metavar="FILE…", help="Experiment files, a tab each.", show_default=False)]


def watch(files: Files) -> None:
    """Watch experiments live, in a terminal: cells, logs, curves; cancel, retry, hold."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM", "dumb") == "dumb":
        file = as_typed(files[0])
        raise UsageError(
            f"watch draws on a whole terminal, and this is none; type: stepstone status {file}"
            f" (once), or: stepstone submit {file} --wait (a line for every change)"
        )
    plans = [load_plan(file) for file in files]
    gc.collect()
    gc.freeze()  # plans live as long as the app: collections need not go through them
    gc.enable()
    # Its own variables could make Textual open a port for developers, or take another driver.
    for name in [name for name in os.environ if name.startswith("TEXTUAL")]:
        del os.environ[name]
    from launch.watch import app

    raise typer.Exit(app.run(plans, say))
