"""`stepstone gc`: make room in the store."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from launch.terminal import say

_LISTED = 20


def gc(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The experiment file.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; removes only with --yes.")] = False,
) -> None:
    """Show what no stage needs any more, with its size, and remove it: encoders, checkpoints, old code, caches."""
    from launch import experiment
    from launch import gc as collecting
    from launch import plan as planning
    from launch.store import Store
    from slurm.base import UsageError

    plan = planning.make(experiment.load(file))
    found = collecting.find(plan, Store(plan.experiment.store))
    if as_json:
        removed = collecting.remove(plan, Store(plan.experiment.store)) if yes else found
        print(json.dumps(collecting.to_record(removed, removed=yes), ensure_ascii=False))
        return
    if not found:
        say("nothing to remove: every file is needed, or may be")
        return
    for item in found[:_LISTED]:
        print(f"{_size(item.bytes):>10}  {item.path.relative_to(plan.experiment.store)}  {item.why}")
    if len(found) > _LISTED:
        print(f"{'':>10}  … ({len(found)} in all; --json lists them)")
    print(f"{_size(sum(item.bytes for item in found)):>10}  in {sum(item.files for item in found)} files")
    if not yes and not sys.stdin.isatty():
        raise UsageError(f"to remove them type: stepstone gc {file} --yes")
    if yes or typer.confirm("remove?"):
        removed = collecting.remove(plan, Store(plan.experiment.store))
        say(f"removed {_size(sum(item.bytes for item in removed))}; what and why: {plan.experiment.store}/gc")


def _size(count: int) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count //= 1024
    return f"{count:,} TiB"
