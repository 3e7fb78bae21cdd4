"""The command line. Commands import what they need when they run: `--help` must not wait for torch."""

import errno
import gc
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from launch import (
    cli_cancel,
    cli_devcluster,
    cli_doctor,
    cli_gc,
    cli_models,
    cli_rehearse,
    cli_results,
    cli_retry,
    cli_tasks,
    cli_throttle,
)
from launch.terminal import say
from slurm.base import UserError

app = typer.Typer(
    help="Which English intermediate training helps which target task in which languages.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode=None,
)
app.add_typer(cli_devcluster.app, name="devcluster", help="A real Slurm on this one machine.")
app.add_typer(cli_models.app, name="models", help="Small start models to try things with.")
app.command()(cli_tasks.tasks)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The experiment file.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="For programs: JSON with a schema number on stdout.")]
Wait = Annotated[
    bool, typer.Option("--wait", help="Follow until nothing is queued or running; exit 1 if not all finished.")
]
_FULL = "make room (`stepstone gc FILE` names what is not needed), then type the command again: nothing is lost"
_CLOSED = "its owner can let a group read (`cluster: {share-group: NAME}`); nobody else writes there"
# What a file system refuses, and what to do about it. Anything else that it says is not foreseen, and shows where.
_REFUSALS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _CLOSED,
    errno.EPERM: _CLOSED,
    errno.EROFS: "it is mounted read-only here; type the command where it can be written",
    errno.EIO: "the file system has trouble; type the command again, nothing is lost",
    errno.ESTALE: "the file system has trouble; type the command again, nothing is lost",
}


def main() -> None:
    """The entry point: a UserError is one line on stderr and its exit code, never a traceback."""
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe went away: not our failure, and nothing more to say
        sys.exit(1)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror}; {_REFUSALS[error.errno]}", file=sys.stderr)
        sys.exit(1)


@app.command()
def plan(
    file: File,
    as_json: Json = False,
    script: Annotated[bool, typer.Option("--script", help="Print the sbatch text of every array.")] = False,
) -> None:
    """Show what an experiment would run, train once and send. Writes and sends nothing."""
    from launch import checks, show, submit
    from launch.states import Observation
    from launch.store import Store

    made = _plan(file)
    checks.check(made)
    seen = Observation(made, Store(made.experiment.store))
    draft = submit.draft(made, seen, submit.shown_array_size(made))
    if as_json:
        _print_json(show.plan_json(draft, seen))
    elif script:
        for number, text in enumerate(submit.scripts(draft)):
            print(f"# array {number}\n{text}")
    else:
        show.plan_text(draft, seen, _console())


@app.command()
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
    from rich.console import Console

    from launch import prepare as preparing

    made = _plan(file)
    gc.enable()
    track = preparing.tracker(Console(stderr=True, highlight=False))
    for line in preparing.prepare(made, skip_bad_rows=skip_bad_rows, track=track).lines():
        print(line)


@app.command(name="submit")
def submit_(file: File, wait: Wait = False) -> None:
    """Send what is missing: again after an edit, a crash or a failure. Sends nothing twice."""
    from launch import checks, submit

    made = _plan(file)
    checks.check(made)
    checks.check_fetched(made)
    done = submit.submit(made, report=say)
    for line in done.lines():
        say(line)
    if wait:
        _follow(made)


@app.command()
def status(
    file: File,
    as_json: Json = False,
    everything: Annotated[bool, typer.Option("--all", help="List finished and new stages too.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read every finished result again.")] = False,
    stages: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="STAGE", help="Only this one, with every attempt at it; repeatable."),
    ] = None,
) -> None:
    """Show where every stage stands, and why."""
    from launch import status_shown
    from launch.states import Observation
    from launch.store import Store

    made = _plan(file)
    store = Store(made.experiment.store)
    seen = Observation(made, store, verify=verify)
    if as_json:
        _print_json(status_shown.record(made, store, seen))
    elif stages:
        status_shown.print_history(made, store, seen, [made.find(name) for name in stages], _console())
    else:
        status_shown.print_all(made, store, seen, _console(), everything=everything)


@app.command()
def collect(
    file: File,
    as_json: Json = False,
    profile: Annotated[str, typer.Option(help="Metrics as published (xtreme), or mended (corrected).")] = "xtreme",
    average: Annotated[
        str | None, typer.Option(metavar="NAME", help="xtreme, xtreme-r or xtreme-r-f1 [those that fit the targets].")
    ] = None,
) -> None:
    """Collect every finished score: print table and averages, write results.parquet and table.md."""
    cli_results.collect(_plan(file), _console(), as_json=as_json, profile=profile, average=average)


app.command()(cli_results.export)
app.command()(cli_cancel.cancel)
app.command()(cli_retry.retry)
app.command()(cli_throttle.throttle)
app.command()(cli_rehearse.rehearse)
app.command()(cli_doctor.doctor)
app.command()(cli_gc.gc)


@app.command()
def logs(
    file: File,
    stage: Annotated[
        str, typer.Argument(metavar="STAGE", help="Its name, or the beginning of its key.", show_default=False)
    ],
) -> None:
    """Print what the job of a stage printed."""
    from launch import logs as stage_logs

    made = _plan(file)
    found = stage_logs.files(made.experiment.store, made.find(stage))
    if not found:
        raise UserError("its job has printed nothing yet; `stepstone status FILE` says where it stands")
    for path in found:
        say(f"==> {path}")
        sys.stdout.write(path.read_text(errors="replace"))


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Made where it does not exist; everything lies in it.")] = Path("demo"),
) -> None:
    """The main job on a small real model and small generated data, with local workers: about ten minutes."""
    from launch import demo as demonstration

    file = demonstration.prepare(folder, say)
    submit_(file, wait=True)
    collect(file)
    say(f"the experiment file: {file}; change it and type: stepstone submit {file}")


def _plan(file: Path) -> Any:
    from launch import experiment
    from launch import plan as planning

    gc.disable()  # a plan is large and lives as long as the command: collections would find nothing, for a second
    return planning.make(experiment.load(file))


def _follow(made: Any) -> None:
    from launch import status_shown, wait
    from launch.states import Observation
    from launch.store import Store

    gc.enable()
    if wait.follow(made, say):
        return
    seen = Observation(made, Store(made.experiment.store))
    for stage in made.stages.values():
        if seen.state(stage).state == "failed":
            say(f"failed: {stage.name}: {seen.state(stage).reason}")
    raise UserError("; ".join(["not every stage is finished", *status_shown.next_steps(seen)]))


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))  # on one line: indenting 100,000 stages takes half a minute


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)
