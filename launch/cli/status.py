"""`stepstone status`: where every stage stands, and why."""

from typing import Annotated

import typer

from launch.cli.options import File, Json, console, load_plan, print_json


def status(
    file: File,
    as_json: Json = False,
    every_stage: Annotated[bool, typer.Option("--all", help="List finished and new stages too.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read every finished result again.")] = False,
    stages: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="STAGE", help="Only this one, with every attempt at it; repeatable."),
    ] = None,
) -> None:
    """Show where every stage stands, and why."""
    from launch.show import status as status_shown
    from launch.status import Observation
    from launch.store import Store

    plan = load_plan(file)
    store = Store(plan.experiment.store)
    observation = Observation(plan, store, verify=verify)
    if as_json:
        print_json(status_shown.record(plan, store, observation))
    elif stages:
        status_shown.print_history(plan, store, observation, [plan.find(name) for name in stages], console())
    else:
        status_shown.print_all(plan, store, observation, console(), every_stage=every_stage)
