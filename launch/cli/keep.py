"""`stepstone hold`, `release` and `requeue`: elements that stay in Slurm's queue."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from launch.cli.options import File, load_plan
from launch.text import as_typed, say
from slurm.base import UsageError

if TYPE_CHECKING:
    from launch.executors import Verb
    from launch.plan import Plan
    from launch.submit.keep import Keeping

Stages = Annotated[
    list[str] | None,
    typer.Option("--stage", metavar="NAME", help="Only the element of this one; repeatable."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def hold(file: File, stage: Stages = None, yes: Yes = False) -> None:
    """Keep what waits in Slurm's queue from starting, until `release`."""
    _change("hold", file, stage, yes=yes)


def release(file: File, stage: Stages = None, yes: Yes = False) -> None:
    """Let what is held start when it is its turn."""
    _change("release", file, stage, yes=yes)


def requeue(file: File, stage: Stages = None, yes: Yes = False) -> None:
    """Stop what runs and queue it again: it goes on from its checkpoint."""
    _change("requeue", file, stage, yes=yes)


def _change(verb: "Verb", file: File, stages: list[str] | None, *, yes: bool) -> None:
    from launch.submit import keep

    if not yes and not sys.stdin.isatty():
        raise UsageError(f"{verb} asks first, and this is no terminal; add --yes to {verb} without a question")
    plan = load_plan(file)
    keeping = keep.change(plan, verb, stages or [], lambda proposal: _agree(plan, proposal, yes=yes))
    if keeping is None:
        say("nothing was changed")
    elif not keeping.locations:
        say(f"nothing to {verb}: {keep.NOTHING[verb]}")
    else:
        say(f"{keep.DONE[verb]} {len(keeping.locations)} elements with {len(keeping.stages)} stages{_then(verb, file)}")


def _then(verb: "Verb", file: File) -> str:
    return f"; to let them go: stepstone release {as_typed(file)}" if verb == "hold" else ""


def _agree(plan: "Plan", proposal: "Keeping", *, yes: bool) -> bool:
    from launch.draft.drafting import names

    say(f"to {proposal.verb}: {len(proposal.locations)} elements: {names(plan, proposal.stages)}")
    beside = [key for key in proposal.beside if key in plan.stages]
    if beside:
        say(f"with them, in the same elements: {names(plan, beside)}")
    if len(beside) < len(proposal.beside):
        say(f"with them, {len(proposal.beside) - len(beside)} stages of other files")
    if (shared_line := proposal.of_others(plan)) is not None:
        say(shared_line)
    return yes or typer.confirm(f"{proposal.verb} them?", err=True)
