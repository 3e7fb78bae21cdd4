"""`stepstone rehearse`: what would fail after a night in the queue, found in minutes."""

from pathlib import Path
from typing import Annotated

import typer

from launch.terminal import say
from slurm.base import UserError


def rehearse(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The experiment file.", show_default=False)],
    local: Annotated[
        bool, typer.Option("--local", help="On this machine with local workers, whatever the file says.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the rehearsal's store also when all went well.")] = False,
) -> None:
    """Run every distinct step and target once on a few examples, through the whole path. Exit 1 where one fails."""
    from launch import experiment
    from launch import rehearse as rehearsing

    done = rehearsing.rehearse(experiment.load(file), local=local, report=say, keep=keep)
    for outcome in done.outcomes:
        print(outcome.line)
    if done.went_well:
        say(f"all went well: stepstone submit {file}")
        return
    failed = sum(outcome.failure is not None for outcome in done.outcomes)
    what = f"{failed} of {len(done.outcomes)} failed" if failed else f"collect: {done.collected}"
    raise UserError(f"{what}; mend it and type the command again. Its store: {done.plan.experiment.store}")
