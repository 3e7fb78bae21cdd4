"""The commands that change the queue: `stepstone submit`, `retry`, `cancel`, `throttle`, `rehearse`."""

import gc
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from launch.cli.options import File, console, load_plan
from launch.text import as_typed, say, some
from slurm.base import UsageError, UserError

if TYPE_CHECKING:
    from launch.plan import Plan
    from launch.submit.cancel import Cancellation

Wait = Annotated[
    bool, typer.Option("--wait", help="Follow until nothing is queued or running; exit 1 if not all finished.")
]


def submit(file: File, wait: Wait = False) -> None:
    """Send what is missing: again after an edit, a crash or a failure. Sends nothing twice."""
    from launch.preflight import checks
    from launch.submit import outcome, submitter

    plan = load_plan(file)
    _say_notes(plan)
    checks.check(plan)
    checks.check_fetched(plan)
    for line in outcome.lines(submitter.submit(plan, report=say)):
        say(line)
    if wait:
        _follow(plan)


def _say_notes(plan: "Plan") -> None:
    from launch.draft import notes

    for label, line in notes.lines(plan):
        say(f"{label}: {line}")


def _follow(plan: "Plan") -> None:
    from launch.show import progress, totals
    from launch.status import Observation
    from launch.store import Store
    from launch.submit import follow

    gc.enable()
    with progress.bars(console(stderr=True)) as bars:
        went_well = follow.follow(plan, bars.say, bars.draw) if bars else follow.follow(plan, say)
        if bars and went_well:
            bars.say("every stage that is wanted is finished")
    if went_well:
        return
    observation = Observation(plan, Store(plan.experiment.store))
    for stage in plan.stages.values():
        if observation.state(stage).state == "failed":
            say(f"failed: {stage.name}: {observation.state(stage).reason}")
    for advice in totals.next_steps(observation):
        say(str(advice))
    raise UserError("not every stage is finished")


def retry(
    file: File,
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
    from launch.preflight import checks
    from launch.status import Observation
    from launch.store import Store
    from launch.submit import outcome, submitter
    from launch.submit import retry as retrying

    plan = load_plan(file)
    _say_notes(plan)
    checks.check(plan)
    checks.check_fetched(plan)
    observation = Observation(plan, Store(plan.experiment.store), max_age=0)
    failed_stages = retrying.select(plan, observation, classes or [], stages or [])
    if not failed_stages:
        say(f"nothing to retry: no failed stage fits; `stepstone status {as_typed(file)}` says where each stands")
        return
    for line in outcome.lines(submitter.submit(plan, say, only=failed_stages, force=failed_stages)):
        say(line)


def cancel(
    file: File,
    stage: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="NAME", help="Only this one and what waits for it; repeatable."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """End what is queued or runs. Finished results stay; `submit` sends the rest again."""
    from launch.submit import cancel as cancelling

    if not yes and not sys.stdin.isatty():
        raise UsageError("cancel asks first, and this is no terminal; add --yes to cancel without a question")
    plan = load_plan(file)
    cancellation = cancelling.cancel(plan, stage or [], lambda proposal: _agree(plan, proposal, yes=yes), say)
    if cancellation is None:
        say("nothing was cancelled")
    elif not cancellation.locations:
        say("nothing to cancel: none of these stages is queued or running")
    else:
        count = len(cancellation.stages) + len(cancellation.beside) + len(cancellation.outside)
        say(f"cancelled {count} stages; to send them again: stepstone submit {as_typed(file)}")


def _agree(plan: "Plan", proposal: "Cancellation", *, yes: bool) -> bool:
    from launch.draft.drafting import names

    waiting = len(proposal.stages) - proposal.running
    if proposal.stages:
        say(f"to cancel: {proposal.running} running and {waiting} waiting stages: {names(plan, proposal.stages)}")
    if proposal.beside:
        say(f"with them, in the same elements: {names(plan, proposal.beside)}")
    if proposal.outside:
        heading = "with them, of other files or of" if proposal.stages else "to cancel, of"
        say(f"{heading} this one before an edit: {some(folder.rpartition('-')[0] for folder in proposal.outside)}")
    return yes or typer.confirm("cancel them?", err=True)


def throttle(
    file: File,
    count: Annotated[
        int, typer.Argument(metavar="N", help="Running elements of all arrays; 0: no limit.", min=0, show_default=False)
    ],
) -> None:
    """Change how many elements of an experiment run at the same time; those that run go on."""
    from launch.status import Observation
    from launch.store import Store, lock
    from launch.submit import throttle as throttling

    plan = load_plan(file)
    throttling.check(plan)
    root = plan.experiment.store
    with lock.lock(root, lock.PATIENCE, say):
        for line in throttling.change(Observation(plan, Store(root), max_age=0), count or None):
            say(line)
    if (line_of_file := throttling.file_says(plan, count or None)) is not None:
        say(line_of_file)


def rehearse(
    file: File,
    local: Annotated[
        bool, typer.Option("--local", help="On this machine with local workers, whatever the file says.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the rehearsal's store also when all went well.")] = False,
) -> None:
    """Run every distinct step and target once on a few examples, through the whole path. Exit 1 where one fails."""
    from launch import experiment
    from launch.preflight import rehearse as rehearsing
    from launch.show import progress

    asked_for = experiment.load(file)
    with progress.bars(console(stderr=True)) as bars:
        report, draw = (bars.say, bars.draw) if bars else (say, None)
        rehearsal = rehearsing.rehearse(asked_for, local=local, report=report, keep=keep, draw=draw)
    for one_run in rehearsal.outcomes:
        print(one_run.line)
    if rehearsal.went_well:
        say(f"all went well: stepstone submit {as_typed(file)}")
        return
    failed_count = sum(outcome.failure is not None for outcome in rehearsal.outcomes)
    complaint = (
        f"{failed_count} of {len(rehearsal.outcomes)} failed" if failed_count else f"collect: {rehearsal.collected}"
    )
    raise UserError(f"{complaint}; mend it and type the command again. Its store: {rehearsal.plan.experiment.store}")
