"""`stepstone retry`: send the holes of an experiment again, whatever the policy of its failures says."""

from pathlib import Path
from typing import Annotated

import typer

from launch.terminal import say


def retry(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The experiment file.", show_default=False)],
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="CAUSE", help="Only failures of this cause, such as host-oom."),
    ] = None,
    stages: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="STAGE", help="Only this stage: its name, or its key's start."),
    ] = None,
) -> None:
    """Send failed stages again, and what waited for them. What is finished, queued or running stays as it is."""
    from launch import checks, experiment, submit
    from launch import plan as planning
    from launch import retry as retrying
    from launch.states import Observation
    from launch.store import Store

    made = planning.make(experiment.load(file))
    checks.check(made)
    checks.check_fetched(made)
    seen = Observation(made, Store(made.experiment.store), max_age=0)
    chosen = retrying.select(made, seen, classes or [], stages or [])
    if not chosen:
        say("nothing to retry: no failed stage fits; `stepstone status FILE` says where each stands")
        return
    done = submit.submit(made, say, only=chosen, force=chosen)
    for line in done.lines():
        say(line)
