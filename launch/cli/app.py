"""The command line: every command of `stepstone`, registered here, and what an error becomes at the terminal."""

import sys

from launch.cli import completion

completion.answer_from_cache()  # a shell at every Tab: before what follows is imported

# ruff: noqa: E402
import typer

from launch.cli import (
    demo,
    devcluster,
    figures,
    keep,
    logs,
    mirror,
    models,
    plan,
    publish,
    report,
    results,
    status,
    store,
    study,
    submit,
    tasks,
    usage,
    watch,
)
from launch.cli.help import Group
from launch.text import say, show_what_can_be_shown
from slurm.base import UserError
from slurm.base.errors import one_line


def _app() -> typer.Typer:
    """The order is that of `--help`."""
    app = typer.Typer(
        cls=Group,
        help="Which English intermediate training helps which target task in which languages.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=True,
        rich_markup_mode=None,
    )
    for command in (
        tasks.tasks, plan.plan, plan.prepare, submit.submit, status.status, watch.watch, usage.usage, results.collect,
        results.table, study.study, report.report, figures.figures, results.export, publish.publish, mirror.mirror,
        submit.cancel, submit.retry, submit.throttle, keep.hold, keep.release, keep.requeue, submit.rehearse,
        store.doctor, store.gc, logs.logs, demo.demo,
    ):  # fmt: skip
        app.command()(command)
    slurm_here = typer.Typer(
        cls=Group,
        help="A real Slurm on this machine (root on Debian/Ubuntu), to try things with.",
        no_args_is_help=True,
    )
    for command in (devcluster.up, devcluster.down, devcluster.status, devcluster.env):
        slurm_here.command()(command)
    app.add_typer(slurm_here, name="devcluster", help="A real Slurm on this one machine.")
    folders = typer.Typer(
        cls=Group, help="Model folders to start from, and what is made with one.", no_args_is_help=True
    )
    folders.command()(models.small)
    folders.command()(models.image_features)
    app.add_typer(folders, name="models", help="A small start model to try things with; image features.")
    return app


app = _app()


def main() -> None:
    """The entry point: a UserError is one line on stderr and its exit code, never a traceback."""
    completion.answer(lambda: typer.main.get_command(app))
    show_what_can_be_shown()
    try:
        app()
    except UserError as error:
        say(f"error: {error}")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe went away: not our failure, and nothing more to say
        sys.exit(1)
    except OSError as error:
        line = one_line(error)
        if line is None:
            raise
        say(f"error: {line}")
        sys.exit(1)
