"""`stepstone collect` and `stepstone export`: what came out, for people and for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from launch.cli.options import File, Json, console, load_plan, print_json
from launch.text import say
from slurm.base import UsageError


def collect(
    file: File,
    as_json: Json = False,
    profile: Annotated[str, typer.Option(help="Metrics as published (xtreme), or mended (corrected).")] = "xtreme",
    average: Annotated[
        str | None, typer.Option(metavar="NAME", help="xtreme, xtreme-r or xtreme-r-f1 [those that fit the targets].")
    ] = None,
) -> None:
    """Collect every finished score: print table and averages, write results.parquet and table.md."""
    from eval.tables import averages
    from launch.estimate import cost
    from launch.results import scores, table
    from launch.show import results as results_shown
    from launch.store import Store, sharing

    plan = load_plan(file)
    metric_profile = table.profile(profile)
    if average and metric_profile != "xtreme":
        raise UsageError(f"--average {average}: it is of the published metrics; leave out --profile {profile}")
    if average:
        averages.find(average)
    store = Store(plan.experiment.store)
    rows = scores.rows(plan, store)
    if rows:
        cost.calibrate(plan, store)
    if as_json:
        print_json(results_shown.results_json(rows))
        return
    if rows:  # before anything is printed: the terminal, or the reader of a pipe, may have had enough
        path = table.write(plan, store, rows, metric_profile, average)
        sharing.let_in(plan.experiment.cluster.share_group, store.root, [path.parent])
    results_shown.results_text(plan, store, rows, console(), metric_profile, average)
    if rows:
        say(f"written: {path.parent}/results.parquet, {path.name}")


def export(
    file: File,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Gets a folder per recipe and seed.", show_default=False)],
    recipe: Annotated[str | None, typer.Option(help="Only this recipe, as in the file.")] = None,
    seed: Annotated[int | None, typer.Option(help="Only this seed.")] = None,
) -> None:
    """Write the finished predictions in XTREME's submission layout."""
    from launch.results import export as submission_layout

    last_note = ""
    for submission in submission_layout.write(load_plan(file), out, recipe, seed):
        missing = f"; not finished: {submission.missing}" if submission.missing else ""
        say(f"written: {submission.folder}{missing}")
        if submission.partial and submission.partial != last_note:
            last_note = submission.partial
            say(f"note: XTREME's scorer asks for the whole of its own test sets; {last_note}")
