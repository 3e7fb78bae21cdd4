"""`stepstone logs`: what the job of a stage printed."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from launch.cli.options import File, load_plan
from launch.text import say
from slurm.base import UserError

if TYPE_CHECKING:
    from launch.plan import Plan, Stage


def _without_a_log(plan: "Plan", stage: "Stage") -> str:
    """Why a stage that was sent has printed nothing: it has not begun, or its job is over all the same."""
    from launch.status import Observation
    from launch.store import Store

    state = Observation(plan, Store(plan.experiment.store)).state(stage)
    job = f"job {state.job}" if state.job else "its job"
    why = f": {state.reason}" if state.reason else ""
    if state.state in ("queued", "running"):
        return f"{stage.name} is {state.state} as {job}, which has printed nothing yet{why}"
    if state.state == "unknown":
        return f"{stage.name}: {job} left no log, and where it stands is not known now{why}"
    return f"{stage.name} is {state.state}, and {job} left no log{why}"


def logs(
    file: File,
    stage: Annotated[
        str, typer.Argument(metavar="STAGE", help="Its name, or the beginning of its key.", show_default=False)
    ],
) -> None:
    """Print what the job of a stage printed."""
    from launch import executors

    plan = load_plan(file)
    paths = executors.logs_of(plan.experiment.store, plan.find(stage))
    if not paths:
        raise UserError(_without_a_log(plan, plan.find(stage)))
    for path in paths:
        say(f"==> {path}")
        sys.stdout.write(path.read_text(errors="replace"))
