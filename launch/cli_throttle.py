"""`stepstone throttle`: how many elements of an experiment run at the same time, changed while they do."""

from pathlib import Path
from typing import Annotated

import typer

from launch.terminal import say


def throttle(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The experiment file.", show_default=False)],
    count: Annotated[
        int, typer.Argument(metavar="N", help="Running elements of all arrays; 0: no limit.", min=0, show_default=False)
    ],
) -> None:
    """Change how many elements of an experiment run at the same time; those that run go on."""
    from launch import experiment, submissions
    from launch import plan as planning
    from launch import throttle as throttling
    from launch.states import Observation
    from launch.store import Store
    from slurm.base import UserError

    made = planning.make(experiment.load(file))
    if made.experiment.cluster.chosen_executor != "slurm":
        raise UserError("throttle: it is for Slurm; local workers are set by `cluster: {workers: …}` before submit")
    root = made.experiment.store
    with submissions.lock(root, submissions.PATIENCE, say):
        for line in throttling.change(Observation(made, Store(root), max_age=0), count or None):
            say(line)
    if made.experiment.cluster.throttle != (count or None):
        said = made.experiment.cluster.throttle or "none"
        say(f"the file still says throttle: {said}; the next submit goes by the file, so change it there too")
