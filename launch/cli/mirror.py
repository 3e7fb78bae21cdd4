"""`stepstone mirror`: training logs and scores in TensorBoard, MLflow, W&B or trackio."""

from pathlib import Path
from typing import Annotated

import typer

from launch.cli.options import File
from launch.text import as_typed, say
from slurm.base import UsageError, UserError

_INTERRUPTED = 130  # exit code, as shells have it for ctrl-C
_LOOK = {
    "tensorboard": "tensorboard --logdir {folder}",
    "mlflow": "mlflow ui --backend-store-uri {folder}/mlruns",
    "wandb": "wandb sync {folder}/wandb/offline-run-*",
    "trackio": "TRACKIO_DIR={folder} trackio show",
}


def mirror(
    file: File,
    to: Annotated[
        list[str],
        typer.Option(metavar="NAME", help="tensorboard, mlflow, wandb or trackio; repeatable.", show_default=False),
    ],
    folder: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Gets a folder for each [mirrors/ in the store].")
    ] = None,
    project: Annotated[
        str | None, typer.Option(metavar="NAME", help="What it is called there [the file's name].")
    ] = None,
    online: Annotated[
        bool, typer.Option("--online", help="To their servers, by their own settings and logins.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until every stage is finished.")] = False,
) -> None:
    """Show logs and scores in TensorBoard, MLflow, W&B, trackio."""
    from launch import experiment
    from launch.mirrors import supervising
    from launch.mirrors.sinks import Place
    from slurm.base.paths import absolute

    kinds = list(dict.fromkeys(to))
    supervising.check(kinds)
    if online and "tensorboard" in kinds:
        raise UsageError("--online: tensorboard has no server; leave it out of --to")
    asked_for = experiment.load(file)
    root = absolute(folder) if folder else asked_for.store / "mirrors"
    places = {kind: Place(root / kind, project or asked_for.name, online) for kind in kinds}
    try:
        outcomes = supervising.mirror(asked_for.path, places, follow=follow, say=say)
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    for outcome in outcomes:
        say(f"{outcome.kind}: {outcome.points:,} new points in {'its server' if online else outcome.place.folder}")
        if not online:
            say(f"  to see: {_LOOK[outcome.kind].format(folder=as_typed(outcome.place.folder))}")
    failed_count = sum(bool(outcome.failure) for outcome in outcomes)
    if failed_count:
        raise UserError(f"{failed_count} of {len(outcomes)} mirrors did not do all; typed again, the command goes on")
