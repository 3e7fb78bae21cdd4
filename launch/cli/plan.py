"""`stepstone plan` and `stepstone prepare`: what would run, and what jobs need before it does."""

from typing import Annotated

import typer

from launch.cli.options import File, Json, console, load_plan, print_json
from launch.text import say
from slurm.base import UsageError


def plan(
    file: File,
    as_json: Json = False,
    script: Annotated[bool, typer.Option("--script", help="Print the sbatch text of every array.")] = False,
) -> None:
    """Show what an experiment would run, train once and send. Writes and sends nothing."""
    from launch.draft import decide, request
    from launch.preflight import checks
    from launch.show import plan as plan_shown
    from launch.status import Observation
    from launch.store import Store
    from launch.submit.submitter import shown_array_size

    if as_json and script:
        raise UsageError("--json and --script do not go together; leave one out")
    plan = load_plan(file)
    remarks = checks.check(plan)
    observation = Observation(plan, Store(plan.experiment.store))
    draft = decide(plan, observation, shown_array_size(plan))
    if as_json:
        print_json(plan_shown.plan_json(draft, observation, remarks))
    elif script:
        scripts = request.scripts(draft)
        for number, text in enumerate(scripts):
            print(f"# array {number}\n{text}")
        if not scripts:
            say("no array, so no script: nothing is to be sent")
    else:
        plan_shown.plan_text(draft, observation, remarks, console())


def prepare(
    file: File,
    skip_bad_rows: Annotated[
        bool,
        typer.Option(
            "--skip-bad-rows",
            help="List malformed rows and go on. Jobs skip them too where the file says data: {skip_bad_rows: true}.",
        ),
    ] = False,
) -> None:
    """Fetch model and data sets, check them, tokenise everything once. For a login node: jobs then run offline."""
    import gc

    from launch.preflight import prepare as preparing

    plan = load_plan(file)
    gc.enable()
    track = preparing.tracker(console(stderr=True))
    for line in preparing.prepare(plan, skip_bad_rows=skip_bad_rows, track=track).lines():
        print(line)
