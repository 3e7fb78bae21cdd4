"""`stepstone logs`: what the job of a stage printed, and why a stage stands where it stands."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from launch.cli.options import File, load_plan
from launch.text import as_typed, say
from slurm.base import UsageError, UserError

if TYPE_CHECKING:
    from launch.logbook.parts import Part
    from launch.logbook.selection import Selection
    from launch.plan import Plan, Stage
    from launch.status import Observation
    from launch.store import Submission

_COLLECT = "collect"  # in place of a stage: what made the table
_INTERRUPTED = 130  # exit code, as shells have it for ctrl-C


def logs(
    file: File,
    stage: Annotated[
        str | None,
        typer.Argument(
            metavar="STAGE",
            help="Its name, the beginning of its key, or its job (123_4); `collect`: what made the table last"
            " [the last that failed, else that ran].",
            show_default=False,
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the stage is over; exit code 1 where it did not finish.")
    ] = False,
    errors: Annotated[bool, typer.Option("--err", help="Only what went to stderr, where it is kept apart.")] = False,
    attempt: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Of this attempt [the last].", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Of every start of every job that it was sent in.")] = False,
    tail: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="The last N lines of each file.", show_default=False)
    ] = None,
    why: Annotated[
        bool, typer.Option("--why", help="The cause, its evidence in its surroundings, what was tried, what next.")
    ] = False,
) -> None:
    """Print what the job of a stage printed, or why it failed."""
    from launch.logbook import selection
    from launch.status import Observation
    from launch.store import Store, submissions

    _check({"--why": why, "--follow": follow, "--attempt": attempt is not None, "--all": every})
    _check({"--why": why, "--err": errors})
    _check({"--why": why, "--tail": tail is not None})
    plan = load_plan(file)
    store = Store(plan.experiment.store)
    all_submissions = submissions.read_all(store.root)
    if stage == _COLLECT:
        _check({_COLLECT: True, "--why": why, "--follow": follow, "--attempt": attempt is not None, "--all": every})
        _print_collecting(plan, all_submissions, errors=errors, tail=tail)
        return
    observe = cache(lambda: Observation(plan, store))  # asks Slurm: what lies in files is printed without it
    choice = selection.select(plan, all_submissions, stage, observe)
    if choice.location is not None and (follow or attempt is not None):
        option = "--follow" if follow else f"--attempt {attempt}"
        raise UsageError(
            f"logs: {option} goes through all jobs of a stage, and {stage} is one of them; type: stepstone logs"
            f" {as_typed(file)} {plan.word(choice.stage)} {option}"
        )
    if choice.remark:
        say(choice.remark)
    if why:
        _explain(plan, observe(), choice)
    elif follow:
        try:
            _follow(plan, choice.stage, errors=errors, tail=tail)
        except KeyboardInterrupt:
            raise typer.Exit(_INTERRUPTED) from None
    else:
        starts = selection.starts(store, all_submissions, choice, attempt=attempt, every=every, errors=errors)
        for start in starts:
            _print(start, choice.stage, tail)
        if not starts and errors:
            say(f"{choice.stage.name} has printed no error")
        elif not starts:
            raise UserError(_without_a_log(observe(), choice.stage, earlier=not every and attempt is None))


def _check(options: Mapping[str, bool]) -> None:
    """UsageError where more than one of options is given, which say different things."""
    given_options = [name for name, is_given in options.items() if is_given]
    if len(given_options) > 1:
        raise UsageError(f"logs: {' and '.join(given_options)} do not go together; leave out all but one")


def _explain(plan: "Plan", observation: "Observation", choice: "Selection") -> None:
    from launch.logbook import why

    for line in why.explain(plan, observation, choice.stage, choice.location).lines():
        print(line)


def _print_collecting(plan: "Plan", all_submissions: "Sequence[Submission]", *, errors: bool, tail: int | None) -> None:
    """What the last job, or local workers, printed when they collected, and where the results lie."""
    from launch.logbook import parts
    from launch.show import collected
    from launch.store import collects

    paths = parts.in_order(collects.last_logs(all_submissions, plan.experiment.name), errors=errors)
    for part in (part for path in paths for part in parts.parts_of(path)):
        say(f"==> {part.path}")
        _write(parts.lines(part, None, tail))
    for line in collected.lines(plan, all_submissions):
        say(line)
    if not paths:
        raise UserError("no job and no local worker has collected yet; by hand: stepstone collect")


def _print(start: "Sequence[Part]", stage: "Stage", tail: int | None) -> None:
    """What one start of a job said of a stage; all of it where it did not come to the stage."""
    from launch.logbook import parts

    folder = stage.folder if parts.came_to(start, stage.folder) else None
    for part in start:
        say(f"==> {part.path}" + (f", start {part.restart + 1}" if part.restart else ""))
        _write(parts.lines(part, folder, tail))


def _write(lines: Iterable[str]) -> None:
    last_line = "\n"
    for last_line in lines:
        sys.stdout.write(last_line)
    if not last_line.endswith("\n"):
        sys.stdout.write("\n")
    sys.stdout.flush()


def _follow(plan: "Plan", stage: "Stage", *, errors: bool, tail: int | None) -> None:
    import gc

    from launch.logbook import following

    gc.enable()
    shown_path: Path | None = None

    def write(path: Path, lines: Sequence[str]) -> None:
        nonlocal shown_path
        if path != shown_path:
            say(f"==> {path}")
            shown_path = path
        _write(lines)

    state = following.follow(plan, stage, write, say, errors=errors, last=tail)
    say(f"{stage.name} is {state.state}" + (f": {state.plain_reason}" if state.reason else ""))
    if state.state != "finished":
        raise typer.Exit(1)


def _without_a_log(observation: "Observation", stage: "Stage", *, earlier: bool) -> str:
    """Why a stage that was sent has printed nothing: it has not begun, or its job is over all the same."""
    from launch.store import attempts

    state = observation.state(stage)
    job = f"job {state.job}" if state.job else "its job"
    why = f": {state.plain_reason}" if state.reason else ""
    if earlier and attempts.attempts_of(observation.store.stage_folder(stage.folder)):
        why += "; --all prints what came before"
    if state.state in ("queued", "running"):
        return f"{stage.name} is {state.state} as {job}, which has printed nothing yet{why}"
    if state.state == "unknown":
        return f"{stage.name}: {job} left no log, and where it stands is not known now{why}"
    return f"{stage.name} is {state.state}, and {job} left no log{why}"
