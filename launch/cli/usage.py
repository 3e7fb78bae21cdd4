"""`stepstone usage`: what an experiment has cost and used, and what its file may better ask for."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from launch.cli.options import File, Json, console, load_plan, print_json
from launch.text import as_typed, say
from slurm.base import UsageError

if TYPE_CHECKING:
    from launch.plan import Plan
    from launch.show.usage import Report


def usage(
    file: File,
    as_json: Json = False,
    apply: Annotated[bool, typer.Option("--apply", help="Write the advice into the file (shows it, asks).")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Write it without asking.")] = False,
) -> None:
    """Show hours by recipe and outcome, what was used, what to ask for."""
    from launch.show import usage as usage_shown
    from launch.status import Observation
    from launch.store import Store

    if yes and not apply:
        raise UsageError("--yes goes with --apply, which writes the advice into the file")
    if as_json and apply:
        raise UsageError("--json and --apply do not go together; leave one out")
    plan = load_plan(file)
    store = Store(plan.experiment.store)
    report = usage_shown.take(plan, store, Observation(plan, store))
    if as_json:
        print_json(usage_shown.record(plan, report))
    elif apply:
        _apply(plan, report, yes=yes)
    else:
        usage_shown.print_all(plan, report, console())


def _apply(plan: "Plan", report: "Report", *, yes: bool) -> None:
    """Show what would change, and change it. What is not in the file is told, as a line to paste."""
    from launch.show import usage as usage_shown
    from launch.usage import edit

    advice = report.advice
    path = plan.experiment.path
    changes = {entry.key: entry.value for entry in advice if edit.stands_in(plan.experiment.document, entry.key)}
    for entry in advice:
        if entry.key not in changes:
            say(f"not in {path.name}; write by hand: cluster: {{{entry.yaml}}}")
    if not changes:
        say(f"nothing to change in the file{'' if advice else f': {usage_shown.why_none(plan, report)}'}")
        return
    change = edit.of_cluster(path, changes)
    sys.stdout.write(change.diff())
    if not yes and not sys.stdin.isatty():
        raise UsageError(f"to change the file type: stepstone usage {as_typed(path)} --apply --yes")
    if yes or typer.confirm("change it?"):
        change.write()
        say(f"{path.name} is changed; what is queued keeps what it was sent with")
