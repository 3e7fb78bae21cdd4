"""`stepstone demo`: the main job on a small model, from nothing to a table."""

from pathlib import Path
from typing import Annotated

import typer

from launch.cli.results import collect
from launch.cli.submit import submit
from launch.text import as_typed, say


def demo(
    folder: Annotated[Path, typer.Argument(help="Made where it does not exist; everything lies in it.")] = Path("demo"),
) -> None:
    """The main job on a small real model and small generated data, with local workers: some minutes."""
    from launch.demo.demo import prepare

    file = prepare(folder, say)
    submit(file, wait=True)
    collect(file)
    say(f"the experiment file: {file}; change it and type: stepstone submit {as_typed(file)}")
