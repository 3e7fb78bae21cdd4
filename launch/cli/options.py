"""What several commands take and do: the experiment file, `--json`, the plan that a command is about."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from launch.plan import Plan

File = Annotated[Path, typer.Argument(metavar="FILE", help="The experiment file.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="For programs: JSON with a schema number on stdout.")]


def load_plan(file: Path) -> "Plan":
    """The plan of an experiment file."""
    import gc

    from launch import experiment, plan
    from launch.cli import completion_names

    gc.disable()  # a plan is large and lives as long as the command: collections would find nothing, for a second
    new_plan = plan.make(experiment.load(file))
    completion_names.remember(new_plan)
    return new_plan


def json_text(record: Any) -> str:
    """On one line: indenting 100,000 stages takes half a minute."""
    return json.dumps(record, ensure_ascii=False) + "\n"


def print_json(record: Any) -> None:
    """The same on stdout."""
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")  # the same to a program, and nothing is lost
    print(json.dumps(record, ensure_ascii=ascii_only))


def console(*, stderr: bool = False) -> "Console":
    """rich's console, which leaves numbers and paths uncoloured."""
    from rich.console import Console

    return Console(highlight=False, stderr=stderr)
