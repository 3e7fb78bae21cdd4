"""`stepstone cancel`: end what is queued or runs, after asking."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from launch.terminal import say, some
from slurm.base import UsageError

if TYPE_CHECKING:
    from launch.cancel import Cancellation
    from launch.plan import Plan


def cancel(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The experiment file.", show_default=False)],
    stage: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="NAME", help="Only this one and what waits for it; repeatable."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """End what is queued or runs. Finished results stay; `submit` sends the rest again."""
    from launch import cancel as cancelling
    from launch import experiment
    from launch import plan as planning

    if not yes and not sys.stdin.isatty():
        raise UsageError("cancel asks first, and this is no terminal; add --yes to cancel without a question")
    made = planning.make(experiment.load(file))
    found = cancelling.cancel(made, stage or [], lambda found: _agree(made, found, yes=yes), say)
    if found is None:
        say("nothing was cancelled")
    elif not found.locations:
        say("nothing to cancel: none of these stages is queued or running")
    else:
        count = len(found.stages) + len(found.beside) + len(found.outside)
        say(f"cancelled {count} stages; to send them again: stepstone submit {file}")


def _agree(plan: "Plan", found: "Cancellation", *, yes: bool) -> bool:
    from launch.draft import names

    waiting = len(found.stages) - found.running
    if found.stages:
        say(f"to cancel: {found.running} running and {waiting} waiting stages: {names(plan, found.stages)}")
    if found.beside:
        say(f"with them, in the same elements: {names(plan, found.beside)}")
    if found.outside:
        what = "with them, of other files or of" if found.stages else "to cancel, of"
        say(f"{what} this one before an edit: {some(folder.rpartition('-')[0] for folder in found.outside)}")
    return yes or typer.confirm("cancel them?", err=True)
