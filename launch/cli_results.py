"""`stepstone collect` and `stepstone export`: what came out, for people and for other programs."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from launch.terminal import say
from slurm.base import UsageError


def collect(plan: Any, console: Any, *, as_json: bool, profile: str, average: str | None) -> None:
    """Print the table and the averages, and write the files; with `as_json` only print all rows."""
    from eval import averages
    from launch import estimate, results, sharing, show
    from launch.store import Store

    chosen = results.profile(profile)
    if average and chosen != "xtreme":
        raise UsageError(f"--average {average}: it is of the published metrics; leave out --profile {profile}")
    if average:
        averages.find(average)
    store = Store(plan.experiment.store)
    rows = results.rows(plan, store)
    if rows:
        estimate.calibrate(plan, store)
    if as_json:
        print(json.dumps(show.results_json(rows), ensure_ascii=False))
        return
    show.results_text(plan, store, rows, console, chosen, average)
    if rows:
        table = results.write(plan, store, rows, chosen, average)
        sharing.let_in(plan.experiment.cluster.share_group, store.root, [table.parent])
        say(f"written: {table.parent}/results.parquet, {table.name}")


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The experiment file.", show_default=False)],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Gets a folder per recipe and seed.", show_default=False)],
    recipe: Annotated[str | None, typer.Option(help="Only this recipe, as in the file.")] = None,
    seed: Annotated[int | None, typer.Option(help="Only this seed.")] = None,
) -> None:
    """Write the finished predictions in XTREME's submission layout."""
    from launch import experiment, submission_layout
    from launch import plan as planning

    made = planning.make(experiment.load(file))
    for folder, missing in submission_layout.write(made, out, recipe, seed):
        say(f"written: {folder}" + (f"; not finished: {missing}" if missing else ""))
