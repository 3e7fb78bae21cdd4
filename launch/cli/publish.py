"""`stepstone publish`: a finished training as a folder for the Hugging Face Hub."""

import re
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from launch.cli.options import File, load_plan
from launch.text import say, size
from slurm.base import UsageError

_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")


def publish(
    file: File,
    stage: Annotated[
        str,
        typer.Argument(
            metavar="STAGE", help="A training: its name, the beginning of its key, or its job.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.", show_default=False)],
    licence: Annotated[
        str, typer.Option("--license", metavar="ID", help="Of the weights, as the Hub calls it, such as mit.")
    ] = "unknown",
    head: Annotated[
        str | None,
        typer.Option(metavar="TASK", help="Put this task's head on it, as transformers has it.", show_default=False),
    ] = None,
    as_published: Annotated[
        bool, typer.Option("--as-published", help="Local data files are those of the data sets that they stand for.")
    ] = False,
    push: Annotated[
        str | None, typer.Option(metavar="REPO", help="Send it to the Hub too: USER/NAME; private.", show_default=False)
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="With --push: for everybody to see.")] = False,
) -> None:
    """Make a folder for the Hub of a finished training: safetensors, model card."""
    from launch.logbook import selection
    from launch.publish import Wishes, folder, hub
    from launch.status import Observation
    from launch.store import Store, submissions

    if public and push is None:
        raise UsageError("--public goes with --push REPO")
    if not _LICENCE.fullmatch(licence):
        raise UsageError(f"--license {licence}: the Hub's identifiers look like mit, apache-2.0, cc-by-sa-4.0")
    if push is not None:
        hub.check(push)
    plan = load_plan(file)
    store = Store(plan.experiment.store)
    observe = cache(lambda: Observation(plan, store))
    choice = selection.select(plan, submissions.read_all(store.root), stage, observe)
    publication = folder.write(plan, choice.stage, out, Wishes(licence, as_published, head))
    for remark in publication.remarks:
        say(f"note: {remark}")
    say(f"written: {out} ({size(publication.bytes)}); its card: {out / 'README.md'}")
    if push is not None:
        say(f"sent: {hub.push(out, push, public=public)}")
