"""`stepstone status`: the matrix of an experiment, its stages one by one, and why each stands where it does."""

from typing import TYPE_CHECKING, Annotated

import typer

from launch.cli.options import File, Json, console, load_plan, print_json

if TYPE_CHECKING:
    from launch.show.stages import Filter


def status(
    file: File,
    as_json: Json = False,
    every_stage: Annotated[bool, typer.Option("--stages", help="A row for each stage.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Rows of those that failed.")] = False,
    running: Annotated[bool, typer.Option("--running", help="Rows of those that run.")] = False,
    recipe: Annotated[str | None, typer.Option(metavar="R", help="Rows of what this recipe needs.")] = None,
    target: Annotated[str | None, typer.Option(metavar="T", help="Rows of what this target needs.")] = None,
    stages: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="STAGE", help="Every attempt at this one; repeatable."),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read every finished result again.")] = False,
) -> None:
    """Show how far it is, what is stuck and why, and when it is done."""
    from launch.show import stages as stages_shown
    from launch.show import status as status_shown
    from launch.status import Observation
    from launch.store import Store

    wish = _filter(failed, running, recipe, target)
    plan = load_plan(file)
    wish.check(plan)
    store = Store(plan.experiment.store)
    observation = Observation(plan, store, verify=verify)
    named_stages = [plan.find(name) for name in stages or ()] or plan.stages.values()
    chosen_stages = [stage for stage in named_stages if wish.fits(plan, observation, stage)]
    if as_json:
        print_json(status_shown.record(plan, store, observation, chosen_stages))
    elif stages:
        stages_shown.print_history(plan, store, observation, chosen_stages, console())
    elif every_stage or wish != stages_shown.Filter():
        stages_shown.print_stages(plan, store, observation, wish, console())
    else:
        status_shown.print_all(plan, store, observation, console())


def _filter(failed: bool, running: bool, recipe: str | None, target: str | None) -> "Filter":
    from launch.show.stages import Filter

    states = [state for state, is_asked in (("failed", failed), ("running", running)) if is_asked]
    return Filter(tuple(states), recipe, target)  # type: ignore[arg-type]  # words of State
